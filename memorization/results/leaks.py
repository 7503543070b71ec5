"""What came out, to be read: members whose own text the model repeats, the longest run first."""

import textwrap

from memorization.results.layout import WIDTH, paragraph, visible

HEAD = """\
Members of which the model repeats a long run of words, the longest first; of
several generations the one with the longest. The run stands between \u27e6 and \u27e7;
control characters are escaped.
"""


def leaks(name, rows, span_length):
    """The section of a run, as text. rows: its detections. span_length: characters that a run must be over."""
    longest = {}
    members = [row for row in rows if row.member]
    for row in members:
        if row.own.run is not None and row.own.run.characters > span_length:
            best = longest.get(row.id)
            if best is None or row.own.run.characters > best.own.run.characters:
                longest[row.id] = row
    total = len({row.id for row in members})
    title = f"{name}: {len(longest)} of {total} members, with a run of more than {span_length} characters"
    parts = ["\n".join([*paragraph(title), "=" * WIDTH]) + "\n"]
    for number, row in enumerate(sorted(longest.values(), key=lambda row: (-row.own.run.characters, row.id)), 1):
        run = row.own.run
        copies = f"{row.duplicates} {'copy' if row.duplicates == 1 else 'copies'}"
        exact = ", exact match" if row.exact_match else ""
        parts.append(f"\n{number}. sample {row.id}, {copies}, a run of {run.characters} characters{exact}\n")
        parts.append(_block("prefix", visible(row.prefix)))
        parts.append(_block("generation", _marked(row.generation, run.generation_span)))
        parts.append(_block("own sample, after the prefix", _marked(row.suffix, run.suffix_span)))
    return "".join(parts)


def _marked(text, span):
    start, end = span
    return f"{visible(text[:start])}\u27e6{visible(text[start:end])}\u27e7{visible(text[end:])}"


def _block(title, text):
    lines = textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join([f"  {title}:", *lines]) + "\n"
