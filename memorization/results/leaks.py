"""What came out, to be read: members whose own text, or personal data in it, the model repeats."""

from collections.abc import Iterable, Iterator, Sequence

from memorization.detection.detections import Copied, Detection, Personal, Span
from memorization.results.formats import WIDTH, paragraph, visible, wrapped

HEAD = """\
Members of which the model repeats a long run of words, the longest first; of
several generations the one with the longest. Wide characters, as Chinese ones,
count as two, punctuation as none. The run stands between \u27e6 and \u27e7.
Then those that come back exactly, but without such a run, and those of which
it says personal data alone, in that place. Control characters are escaped.
"""


def leaks(name: str, rows: Iterable[Detection], span_length: int) -> str:
    """The section of a run. name: of the run. span_length: that a run of words must be longer than.

    A member is in it if and only if a copied run is of its own sample or of its cluster alone (the table counts it as
    own, or as shared where others hold all that it says), or if it is an exact match.
    """
    longest: dict[int, tuple[Detection, Copied]] = {}
    own = set()
    members = [row for row in rows if row.member]
    for row in members:
        for run in row.copied:
            is_own = run.whose(row.cluster) == "own"
            if run.sample == row.id or is_own:
                if row.id not in longest or run.length > longest[row.id][1].length:
                    longest[row.id] = row, run
                if is_own:
                    own.add(row.id)
    exact = {row.id: row for row in reversed(members) if row.exact_match and row.id not in longest}
    total = len({row.id for row in members})
    title = f"{name}: {len(longest)} of {total} members, with a run of more than {span_length} characters"
    if len(own) < len(longest):
        title += f"; {len(longest) - len(own)} of them say only what other samples hold too (shared)"
    if exact:
        title += f"; {len(exact)} more come back exactly, as far as their generation reaches, without such a run"
    parts = ["\n".join([*paragraph(title), "=" * WIDTH]) + "\n"]
    ordered = sorted(longest.values(), key=lambda pair: (-pair[1].length, pair[0].id))
    for number, (row, run) in enumerate(ordered, 1):
        remarks = (", exact match" if row.exact_match else "") + ("" if row.id in own else ", shared")
        in_suffix = []
        if run.sample == row.id:
            start, end = (max(place - len(row.prefix), 0) for place in run.sample_span)
            in_suffix = [(start, end)]
        else:
            remarks += f", in its near-duplicate {run.sample}"
        parts.append(f"\n{number}. sample {row.id}, {_copies(row)}, a run of {run.length} characters{remarks}\n")
        parts.append(_texts(row, [run.generation_span], in_suffix))
    for row in sorted(exact.values(), key=lambda row: (-(row.matched_tokens or 0), row.id)):
        parts.append(f"\n- sample {row.id}, {_copies(row)}, exact match of {row.matched_tokens} tokens\n")
        parts.append(_texts(row, [item.generation_span for item in _own_items(row)]))
    return "".join([*parts, *_personal([row for row in members if row.id not in longest and row.id not in exact])])


def _personal(members: Sequence[Detection]) -> Iterator[str]:
    """Parts of the section: members that the model says personal data of; of several generations that with the most."""
    most: dict[int, tuple[Detection, list[Personal]]] = {}
    for row in members:
        own = _own_items(row)
        if own and len(own) > len(most.get(row.id, (row, []))[1]):
            most[row.id] = row, own
    if most:
        yield "\n" + "\n".join(paragraph(f"Personal data alone, of {len(most)} more members:")) + "\n"
    for row, own in sorted(most.values(), key=lambda pair: (-len(pair[1]), pair[0].id)):
        kinds = ", ".join(dict.fromkeys(item.kind for item in own))
        yield f"\n- sample {row.id}, {_copies(row)}: {kinds}\n"
        yield _texts(row, [item.generation_span for item in own])


def _own_items(row: Detection) -> list[Personal]:
    return [item for item in row.personal if item.whose == "own"]


def _texts(row: Detection, in_generation: Sequence[Span], in_suffix: Sequence[Span] = ()) -> str:
    """The prefix, the generation and the suffix of a detection, with marks around spans."""
    return (
        _block("prefix", visible(row.prefix))
        + _block("generation", _marked(row.generation, in_generation))
        + _block("own sample, after the prefix", _marked(row.suffix, in_suffix))
    )


def _copies(row: Detection) -> str:
    return f"{row.duplicates} {'copy' if row.duplicates == 1 else 'copies'}"


def _marked(text: str, spans: Sequence[Span]) -> str:
    """The text with marks around the spans, which are in order and apart."""
    parts, at = [], 0
    for start, end in spans:
        parts += [visible(text[at:start]), "\u27e6", visible(text[start:end]), "\u27e7"]
        at = end
    return "".join([*parts, visible(text[at:])])


def _block(title: str, text: str) -> str:
    lines = wrapped(text, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join([f"  {title}:", *lines]) + "\n"
