"""What came out, to be read: members whose own text, or personal data in it, the model repeats."""

from collections.abc import Iterator, Mapping, Sequence

from memorization.detection.detections import CopiedRun, Detection, PersonalItem, Span
from memorization.extraction.generations import Generation
from memorization.results.cases import Cases, LeakingMembers
from memorization.results.formats import WIDTH, paragraph, visible, wrapped
from memorization.results.sample_texts import SampleText

HEAD = """\
Members of which the model repeats a long run of words, the longest first; of
several generations the one with the longest run. Wide characters, such as
Chinese ones, count as two, punctuation as none. The run is between \u27e6 and \u27e7.
Then members that come back exactly, but without such a run, and members of
which only personal data comes back, marked alike. Control characters are
escaped.
"""


def leaks(name: str, cases: Cases, leaking: LeakingMembers, span_length: int) -> str:
    """The section of a run. name: of the run. span_length: that a run of words must be longer than.

    A member is in it if and only if a copied run is of its own sample or of its cluster alone (the table counts it as
    own, or as shared where others hold all of it too), or if it is an exact match, or if personal data of its own comes
    out. Those that are shown have such a row among the cases; of the others the number is given.
    """
    longest: dict[int, tuple[Detection, CopiedRun]] = {}
    members, samples = [row for row in cases.rows if row.generation.member], cases.samples
    for row in members:
        sample = row.generation.id
        for run in row.copied:
            is_own = run.sample == sample or run.whose(row.generation.cluster) == "own"
            if is_own and (sample not in longest or run.length > longest[sample][1].length):
                longest[sample] = row, run
    others = [row for row in members if row.generation.id not in leaking.run]
    exact = {row.generation.id: row for row in reversed(others) if row.generation.exact_match}
    exact_alone, shared = leaking.exact - leaking.run, leaking.run - leaking.own
    title = (
        f"{name}: {len(leaking.run)} of {len(leaking.every)} members, with a run of more than {span_length} characters"
    )
    title += _not_shown(len(leaking.run) - len(longest))
    if shared:
        title += f"; {len(shared)} of them say only what other samples hold too (shared)"
    if exact_alone:
        title += f"; {len(exact_alone)} more come back exactly, as far as their generation reaches, without such a run"
        title += _not_shown(len(exact_alone) - len(exact))
    parts = ["\n".join([*paragraph(title), "=" * WIDTH]) + "\n"]
    ordered = sorted(longest.values(), key=lambda pair: (-pair[1].length, pair[0].generation.id))
    for number, (row, run) in enumerate(ordered, 1):
        generation, in_suffix, suffix = row.generation, [], row.generation.suffix
        remarks = (", exact match" if generation.exact_match else "") + (", shared" if generation.id in shared else "")
        if run.sample == generation.id:
            start, end = (max(place - len(generation.prefix), 0) for place in run.sample_span)
            if end > len(suffix):
                suffix, remarks = samples[generation.id].text[len(generation.prefix) :], f"{remarks}, of a later turn"
            in_suffix = [(start, end)] if end <= len(suffix) else []
        else:
            remarks += f", in its near-duplicate {run.sample}"
        parts.append(f"\n{number}. {_title(generation, samples)}, a run of {run.length} characters{remarks}\n")
        parts.append(_texts(generation, [run.generation_span], suffix, in_suffix))
    for row in sorted(exact.values(), key=lambda row: (-(row.generation.matched_tokens or 0), row.generation.id)):
        generation, tokens = row.generation, row.generation.matched_tokens
        of_tokens = f" of {tokens} tokens" if tokens else ""  # they are not known of a text alone
        parts.append(f"\n- {_title(generation, samples)}, exact match{of_tokens}\n")
        parts.append(_texts(generation, [item.generation_span for item in _own_items(row)], generation.suffix))
    alone = [row for row in others if row.generation.id not in leaking.exact]
    return "".join([*parts, *_personal(alone, samples, len(leaking.personal - leaking.run - leaking.exact))])


def _not_shown(number: int) -> str:
    return f", {number} of which are not shown" if number else ""


def _personal(members: Sequence[Detection], samples: Mapping[int, SampleText], total: int) -> Iterator[str]:
    """Parts of the section: members of which personal data alone comes back, in the generation with the most of it.

    total: how many there are, shown or not.
    """
    most: dict[int, tuple[Generation, list[PersonalItem]]] = {}
    for row in members:
        generation, own = row.generation, _own_items(row)
        if len(own) > len(most.get(generation.id, (generation, []))[1]):
            most[generation.id] = generation, own
    if total:
        title = f"Personal data alone, of {total} more members{_not_shown(total - len(most))}:"
        yield "\n" + "\n".join(paragraph(title)) + "\n"
    for generation, own in sorted(most.values(), key=lambda pair: (-len(pair[1]), pair[0].id)):
        yield f"\n- {_title(generation, samples)}: {', '.join(dict.fromkeys(item.kind for item in own))}\n"
        yield _texts(generation, [item.generation_span for item in own], generation.suffix)


def _own_items(row: Detection) -> list[PersonalItem]:
    return [item for item in row.personal if item.whose == "own"]


def _title(generation: Generation, samples: Mapping[int, SampleText]) -> str:
    name, copies = samples[generation.id].name(generation.id, generation.turn), generation.duplicates
    return f"{name}, {copies} {'copy' if copies == 1 else 'copies'}"


def _texts(generation: Generation, in_generation: Sequence[Span], suffix: str, in_suffix: Sequence[Span] = ()) -> str:
    """The prefix, the generation and the suffix, or all that follows the prefix, with marks around spans."""
    return (
        _block("prefix", visible(generation.prefix))
        + _block("generation", _marked(generation.text, in_generation))
        + _block("own sample, after the prefix", _marked(suffix, in_suffix))
    )


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
