"""What came out, to be read: members whose own text, or personal data in it, the model repeats."""

import textwrap

from memorization.results.layout import WIDTH, paragraph, visible

HEAD = """\
Members of which the model repeats a long run of words, the longest first; of
several generations the one with the longest. The run stands between \u27e6 and \u27e7.
Then those of which it says personal data alone, in that place. Control
characters are escaped.
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
    return "".join([*parts, *_personal(members, longest)])


def _personal(members, shown):
    """Parts of the section: members that are not shown yet of which the model says personal data of their own."""
    most = {}
    for row in members:
        own = [item for item in row.personal if item.whose == "own"]
        if own and row.id not in shown and len(own) > len(most.get(row.id, (row, []))[1]):
            most[row.id] = row, own
    if most:
        yield "\n" + "\n".join(paragraph(f"Personal data alone, of {len(most)} more members:")) + "\n"
    for row, own in sorted(most.values(), key=lambda each: (-len(each[1]), each[0].id)):
        kinds = ", ".join(dict.fromkeys(item.kind for item in own))
        yield f"\n- sample {row.id}, {row.duplicates} {'copy' if row.duplicates == 1 else 'copies'}: {kinds}\n"
        yield _block("prefix", visible(row.prefix))
        yield _block("generation", _marked(row.generation, *(item.generation_span for item in own)))
        yield _block("own sample, after the prefix", visible(row.suffix))


def _marked(text, *spans):
    """The text with marks around the spans, which are in order and apart."""
    parts, at = [], 0
    for start, end in spans:
        parts += [visible(text[at:start]), "\u27e6", visible(text[start:end]), "\u27e7"]
        at = end
    return "".join([*parts, visible(text[at:])])


def _block(title, text):
    lines = textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join([f"  {title}:", *lines]) + "\n"
