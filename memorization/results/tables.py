"""A summary in words and tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil, log, log1p, log2

from memorization.detection.detections import WHOSE
from memorization.encoding.prompt_counts import describe_prompts
from memorization.results.columns import EZ, MAIN, RATIO, RUNS, TITLES, WBC, WITH_BASE
from memorization.results.facts import notes_of
from memorization.results.formats import Table, paragraph, plain, shown, spaced, visible
from memorization.results.records import CLASSES, EXTRACTABLE, SAID
from memorization.results.roc import RATES, TAIL
from memorization.results.summary import (
    HELD_OUT,
    MEMBERS,
    Another,
    CanarySummary,
    Counts,
    Figure,
    GroupTest,
    Rate,
    Score,
    Summary,
)
from memorization.results.verdict import BASE, FALLBACK, LEAST_CEILING

SIDES = (MEMBERS, HELD_OUT)
HEADINGS = ("", *SIDES, "difference")
CEILING = "what it would be if every generation were its own suffix, as far as it can reach"
TOO_SHORT = "what a generation can reach is too short for a run that long (stage 3, --max-new-tokens)"
UNTESTED = "cannot be tested against held-out texts: too few of as many copies"
SCORES = "How well a score tells members from held-out texts, with 95 % intervals:"
RECORDS = "Samples by what these attacks see of them, each in the first class that it is of:"
WHOSE_HEADINGS = ("own", "another's", "by chance", "shared", "in prompt", "nobody's")  # of WHOSE


def summary_text(summary: Summary) -> str:
    """A summary as plain text: what was measured, every column, the main ones by group, the verdict, the meanings."""
    facts, figures = summary.facts, summary.counts.figures.values()
    lines = [line for note in notes_of(summary) for line in paragraph(f"{note}.")]
    several = summary.generations_a_probe > 1 or summary.has_turns
    counted = "samples of which any generation does so" if several else "generations that do so"
    first, *others = dict.fromkeys(["generations", *(figure.block for figure in figures)])

    def table(block: str, title: str, *rows: list[str]) -> list[str]:
        of_block = figure_rows(figure for figure in figures if figure.block == block)
        return plain(Table(HEADINGS, [*rows, *of_block], title))

    blocks = [
        [*lines, "Memorization: what a model repeats of its training texts, and of texts held out"],
        paragraph(measured_with(summary)),
        table(first, f"Share of {counted}, in %, with its 95 % interval:", *number_rows(summary)),
        _by_copies(summary.counts),
        [*verdict_lines(summary), *how_tested(summary)],
        another_lines(summary),
        *(table(block, TITLES[block].format(scheme=facts.scheme)) for block in others),
        _score_lines(summary.scores),
        record_lines(summary),
        base_lines(summary),
        canary_lines(summary.canaries),
        _personal_lines(summary),
        _lines_without_loops(summary),
        _meanings(summary),
    ]
    return "\n".join(spaced(blocks))


def number_rows(summary: Summary) -> list[list[str]]:
    """Rows of a table: how many samples there are, and where that is another number, how many probes."""
    numbers = {"samples": summary.counts.samples} | ({"probes": summary.probes} if summary.has_turns else {})
    return [[name, *(str(of_groups[side]) for side in SIDES), ""] for name, of_groups in numbers.items()]


def figure_rows(figures: Iterable[Figure], label: str | None = None) -> list[list[str]]:
    """Rows of a table of figures: members, held-out texts, the difference; below each its ceiling, if it has one.

    label: of all rows; None: the title of each figure.
    """
    rows = []
    for figure in figures:
        cells = [*(shown(figure.groups[side]) for side in SIDES), shown(figure.difference, True)]
        rows.append([figure.title if label is None else label, *cells])
        ceilings = [figure.groups[side].ceiling for side in SIDES]
        if any(ceiling is not None and (ceiling != 1 or figure.kind == "mean") for ceiling in ceilings):
            scale = figure.groups[MEMBERS].scale
            cells = ["-" if ceiling is None else f"{scale * ceiling:.1f}" for ceiling in ceilings]
            rows.append(["  ceiling" if label is None else f"{label}, ceiling", *cells, ""])
    return rows


def _by_copies(counts: Counts) -> list[str]:
    if len(counts.samples) == 2:
        return []
    figures = [figure for name, figure in counts.figures.items() if name in MAIN]
    rows = [
        [group, str(n), *(shown(figure.groups[group]) for figure in figures)] for group, n in counts.samples.items()
    ]
    title = "The same by copies in the training set:"
    return plain(Table(["", "samples", *(figure.title for figure in figures)], rows, title))


def measured_with(summary: Summary) -> str:
    """What a summary is of, in words."""
    facts = summary.facts
    parts = [f"{summary.generations} generations ({summary.generations_a_probe} a probe)"]
    if summary.has_turns:
        samples, probes = (
            of_groups[MEMBERS] + of_groups[HELD_OUT] for of_groups in (summary.counts.samples, summary.probes)
        )
        parts.append(f"{samples} samples, {probes} probes (one a turn)")
    if facts.prompts and facts.prompts["own"] < facts.prompts["probes"]:
        parts.append(describe_prompts(facts.prompts))
    direction = "both (labels of pan)" if facts.direction == "both" else facts.direction
    parts.append(f"model {visible(facts.model)}")
    parts += [f"probe {visible(facts.probe)}"] if facts.probe not in (None, "text") else []
    parts += [f"{facts.too_short} too short to be asked for"] if facts.too_short else []
    parts += [f"profile {facts.profile}", f"direction {direction}", f"classifier {visible(facts.classifier or 'none')}"]
    return ", ".join(parts + ([f"ner_model {visible(facts.ner_model)}"] if facts.ner_model else []))


def verdict_lines(summary: Summary) -> list[str]:
    """The verdict of a summary in words."""
    if summary.verdict is None and not summary.counts.samples[HELD_OUT]:
        return paragraph("Verdict: none, as there is no control: no held-out texts, and no base model.")
    if summary.verdict is None:
        return paragraph("Verdict: none, for want of members and held-out texts to compare.")
    groups = summary.verdict.groups
    against = {control: [test for test in groups.values() if test.against == control] for control in (HELD_OUT, BASE)}
    yes = {control: sum(bool(test.evidence) for test in tests) for control, tests in against.items()}
    more, number = "members come out more often than held-out texts do, beyond chance", len(against[HELD_OUT])
    figure = summary.counts.figures[summary.verdict.column]
    alone = [name for name, test in groups.items() if test.evidence is None and figure.groups[name].value]
    if yes[HELD_OUT]:
        lines = paragraph(f"Verdict: yes, {more}{f', in {yes[HELD_OUT]} of {number} groups' * (number > 1)}.")
    elif yes[BASE]:
        lines = paragraph("Verdict: yes, members come out more often than through the base model, beyond chance.")
    elif alone and summary.counts.samples[HELD_OUT]:
        rates = "; ".join(f"{name}: {100 * (figure.groups[name].value or 0):.1f} %" for name in alone)
        remedy = "" if summary.base else "; --base-model compares them with the base model"
        lines = paragraph(f"Verdict: open. Members come out that {UNTESTED} ({rates}){remedy}.")
    elif number:
        lines = paragraph(f"Verdict: no evidence at this sample size that {more}.")
    elif summary.counts.samples[HELD_OUT]:
        lines = paragraph(f"Verdict: none, members {UNTESTED}.")
    else:
        lines = paragraph("Verdict: none, as there is no control: no held-out texts.")
    untested = UNTESTED if summary.counts.samples[HELD_OUT] else ""
    if against[BASE]:
        share = f"in {yes[BASE] or 'none'} of {len(against[BASE])} {f'that {untested}' if untested else 'groups'}"
        lines += paragraph(f"Against the base model: more often beyond chance {share}.")
    width = min(max(map(len, groups)), 24)
    for name, test in groups.items():
        outcome = _outcome(test, figure.groups[name].n, untested)
        lines += paragraph(f"  {name.ljust(width)}  {outcome}", width + 4)
    return lines


def _outcome(test: GroupTest, members: int | None, untested: str) -> str:
    """A group's line of the verdict. members: how many have a value in the column. untested: why not against held-out
    texts, if that is to be said."""
    if test.against is None or test.p is None:
        return untested or "too few members for a test"
    p = f"p = {test.p:.2g}" if test.p >= 0.0001 else "p < 0.0001"
    if test.evidence:
        outcome = f"yes ({p})"
    elif test.detectable_difference is None:
        outcome = f"no evidence ({p}); no difference, however large, would have been found with 80 % power"
    else:
        points = f"{100 * test.detectable_difference:.1f} points"
        outcome = f"no evidence ({p}); a difference of {points} would have been found with 80 % power"
    if test.against == BASE:
        return f"{untested}; against the base model: {outcome}" if untested else outcome
    return outcome if test.members == members else f"{outcome}; of {test.members} members that have such a control"


def how_tested(summary: Summary) -> list[str]:
    """How the verdict of a summary was reached; no lines without a verdict."""
    if summary.verdict is None:
        return []
    tests = summary.verdict.groups.values()
    why = ", as most members can have no own run" if summary.verdict.column == FALLBACK else ""
    if why and (reached := _within_reach(summary)) is not None and reached < LEAST_CEILING:
        why += f": {TOO_SHORT}"
    number = sum(test.against is not None for test in tests)
    controlled, split = summary.counts.samples[HELD_OUT] > 0, summary.facts.split
    condition = "under a random split" if controlled else "if fine-tuning changed nothing"
    if controlled and split and split["kind"] == "given":
        condition = "if the two sides are alike but for the training"
    sentences = [
        f"By {summary.counts.figures[summary.verdict.column].heading}, the column named in advance{why}.",
        "Members are compared with held-out samples of as many copies: permutation test, one-sided, of whole clusters "
        "of near-duplicates (Fisher's exact test where each has one sample)." * controlled,
        "Against the base model: the same samples, McNemar's exact test." * any(t.against == BASE for t in tests),
        f"Corrected by Holm for {number} {'groups' if number > 1 else 'group'}: {condition} any false yes has a chance "
        "of at most 5 %.",
        "What would have been found: if the held-out rate is at the upper end of its interval." * controlled,
    ]
    return paragraph(f"({' '.join(filter(None, sentences))})")


def _within_reach(summary: Summary) -> float | None:
    """The share of members, or an upper bound of it, whose suffix has a run longer than the span length, as far as a
    generation can reach; None where that is not known."""
    lengths = [length for length in RUNS if length <= summary.facts.span_length]
    figures = [
        summary.counts.figures[f"run_{length}"] for length in lengths if f"run_{length}" in summary.counts.figures
    ]
    ceilings = (figure.groups[MEMBERS].ceiling for figure in figures)
    return min((ceiling for ceiling in ceilings if ceiling is not None), default=None)


def another_lines(summary: Summary) -> list[str]:
    """Another's beside its chance level, and its verdict; no lines where a side has no other sample."""
    if (another := summary.another) is None:
        return []
    yes = [name for name, group in another.groups.items() if group.evidence]
    more = "one other training sample's text comes out more often than one held-out sample's"
    if yes:
        verdict = f"yes, {more}, beyond chance, from samples: {', '.join(yes)}"
    elif _within_reach(summary) == 0:
        verdict = f"cannot be told, as {TOO_SHORT}"
    else:
        verdict = f"no evidence that {more}"
    return [
        *paragraph(f"Another's: {verdict}."),
        *plain(_another_table(another)),
        *paragraph(
            f"(Samples, in %, of which a generation has a run of over {summary.facts.span_length} characters that "
            f"occurs in exactly one other sample, of {another.samples} training samples, and by chance of "
            f"{another.samples} held-out ones: the mean over all choices of so many. Permutation test, one-sided, "
            "corrected by Holm.)"
        ),
    ]


def _another_table(another: Another) -> Table:
    rows = [
        [name, shown(group.another), shown(group.chance), f"{group.p:.2g}" if group.p >= 0.0001 else "< 0.0001"]
        for name, group in another.groups.items()
    ]
    return Table(["samples", f"of {another.samples} members", f"of {another.samples} held out", "p"], rows)


def outcome_lines(summary: Summary) -> list[str]:
    """The verdict of a summary, and what has a table of its own."""
    verdict = [*verdict_lines(summary), *another_lines(summary)]
    return spaced([verdict, record_lines(summary), base_lines(summary), canary_lines(summary.canaries)])


def base_tables(summary: Summary) -> Iterator[Table]:
    """What fine-tuning added to the main columns: of members, and of held-out texts; none without a base model."""
    for side in SIDES:
        rows = [
            [
                summary.counts.figures[name].title,
                shown(figure.groups[side]),
                shown(summary.counts.figures[name].groups[side]),
                shown(figure.difference[side], True),
            ]
            for name, figure in (summary.base or {}).items()
            if name in WITH_BASE and side in figure.difference
        ]
        if rows:
            yield Table([side, "base", "tuned", "paired difference"], rows)


def base_lines(summary: Summary) -> list[str]:
    """What fine-tuning added; no lines without a base model."""
    if summary.base is None:
        return []
    base = visible(str(summary.facts.base))
    title = paragraph(f"What fine-tuning added, the same probes through the base model {base}:")
    return spaced([title, *map(plain, base_tables(summary))])


def resolved_rates(scores: Iterable[Mapping[str, Score]]) -> list[str]:
    """The rates of false positives that any score of several summaries resolves."""
    every = [score for of_summary in scores for score in of_summary.values()]
    return [rate for rate in map("{:g}".format, RATES) if any(score.tpr[rate] for score in every)]


def score_table(labelled: Sequence[tuple[str, Mapping[str, Score]]]) -> Table:
    """The scores of several summaries, (label, scores), one score after the other."""
    rates = resolved_rates(scores for _, scores in labelled)
    rows: dict[str, list[list[str]]] = {}
    for label, scores in labelled:
        for score in scores.values():
            tpr = (shown(cell) if (cell := score.tpr[rate]) else "not resolvable" for rate in rates)
            rows.setdefault(score.heading, []).append([score.heading, label, area(score), *tpr])
    columns = ["score", "run", "AUC", *(f"TPR at {100 * float(rate):g} % FPR" for rate in rates)]
    return Table(columns, [row for of_score in rows.values() for row in of_score], SCORES, True)


def _score_lines(scores: Mapping[str, Score]) -> list[str]:
    if not scores:
        return []
    table = score_table([("", scores)]).without(1)._replace(grouped=False)
    return [*plain(table._replace(columns=["", *table.columns[1:]])), *how_scored([scores])]


def area(score: Score) -> str:
    """The area under the ROC curve of a score as text, from 0 to 1."""
    low, high = score.auc.interval or (None, None)
    return f"{score.auc.rate:.2f} [{low:.2f}, {high:.2f}]"


def how_scored(scores: Sequence[Mapping[str, Score]]) -> list[str]:
    """How the scores of several summaries are to be read; no lines without scores."""
    every = [score for of_summary in scores for score in of_summary.values()]
    if not every:
        return []
    least = min(score.n[1] for score in every)
    more = ", ".join(f"{100 * rate:g} % takes {1 / rate:,.0f}" for rate in RATES if least * rate < 1)
    missing = f" Not resolvable with {least} held-out texts: {more}." if more else ""
    unbounded = {
        rate: score.n[1]
        for score in every
        for rate, cell in score.tpr.items()
        if cell and cell.interval and cell.interval[0] is None
    }
    for rate, held_out in unbounded.items():
        missing += f" [-, ...]: no lower bound at {100 * float(rate):g} % from {held_out} held-out samples"
        missing += f", it takes {ceil(log(TAIL) / log1p(-float(rate)))} that are no near-duplicates."
    without = any("loss" in of_summary and RATIO.name not in of_summary for of_summary in scores)
    unbased = f" {EZ.heading}, {WBC.heading}, {RATIO.heading}: they need stage 3's --base-model." if without else ""
    return paragraph(
        "(AUC: how often a member scores higher than a held-out text; 0.5 is chance. TPR at 1 % FPR: the share of "
        f"members over the 99th percentile of held-out texts.{missing}{unbased} An AUC near 0.5 says that this score "
        "does not see who was a member, not that nothing is memorized.)"
    )


def record_lines(summary: Summary) -> list[str]:
    """How many records are of each class; no lines without samples."""
    recognition, rows = summary.records.recognition, []
    for group, classes in summary.records.classes.items():
        if n := summary.counts.samples[group]:
            rows.append([group, str(n), *map(str, classes.values())])
    if not rows:
        return []
    named = [summary.counts.figures[name].heading for name in SAID if name in summary.counts.figures]
    sentences = [f"Said: {', '.join(named)}; extractable: within 10,000 queries, with a chance of 50 %, if not said."]
    if EXTRACTABLE not in summary.counts.figures:
        sentences.append("What is extractable was not measured.")
    if recognition.reason:
        sentences.append(f"No record could be recognized: {recognition.reason}.")
    else:
        heading = summary.scores[str(recognition.score)].heading
        share = f"{recognition.recognized:,} of {recognition.members:,} members are found at 5 % false discoveries"
        sentences.append(
            f"Recognizable: neither, but told by {heading}, the score named in advance, from {recognition.held_out:,} "
            f"held-out samples (near-duplicates counted once). {share}, said and extractable ones among them"
            + (f" (p at most {recognition.cut:.2g})." if recognition.cut else ".")
        )
        if recognition.least > 1:
            surer = f"{recognition.least:,} members are surer than all of them"
            sentences.append(f"With so few held-out samples none is found unless {surer}.")
    sentences.append("Not seen by these attacks is no proof that a record is not known.")
    table = Table(["", "samples", *CLASSES[:-1], "not seen"], rows, RECORDS)
    return [*plain(table), *paragraph(f"({' '.join(sentences)})")]


def canary_lines(canaries: CanarySummary | None) -> list[str]:
    """What canaries tell; no lines without."""
    if canaries is None:
        return []
    rows = []
    for name, group in canaries.groups.items():
        planted, control = ([shown(side.exposure), shown(side.extracted)] for side in (group.planted, group.control))
        rows.append([name, str(group.pairs), *planted, f">= {group.epsilon.bound:.2f}", f"{group.epsilon.most:.2f}"])
        rows.append(["- controls", "", *control, "", ""])
    last = [*canaries.groups.values()][-1]  # of all
    estimated = last.planted.estimated + last.control.estimated
    bits = canaries.digits * log2(10)
    explanation = (
        f"Exposure: {bits:.1f} bits at most, {canaries.chance:.2f} on average of what is not known"
        f"{f'; {estimated} estimated' if estimated else ''}. Extracted: greedy decoding gives the secret, by chance 1 "
        f"in {10**canaries.digits:,}. Epsilon: a lower bound, delta {canaries.delta:g}, with "
        f"{100 * canaries.confidence:g} % confidence in each line, of putting one canary with its copies in the place "
        "of another; at most: what so many pairs could show."
    )
    title = "Canaries: random secrets planted in the training set, and controls kept out of it:"
    table = Table(["", "pairs", "exposure, bits", "extracted, %", "epsilon", "at most"], rows, title)
    unchecked = ["UNCHECKED: the model was not trained with these canaries"] if canaries.unchecked else []
    return [*unchecked, *plain(table), *paragraph(f"({explanation})")]


def _personal_lines(summary: Summary) -> list[str]:
    """Items of personal data by kind; no lines without."""
    if not summary.personal:
        return []
    rows = [
        [f"{kind}, {side}", *(str(counts[whose]) for whose in WHOSE)]
        for kind, sides in summary.personal.items()
        for side, counts in sides.items()
        if summary.counts.samples[side]
    ]
    names = "" if summary.facts.ner_model else " (names were not looked for: no --ner-model)"
    title = (
        f"Personal data in the generations, in items{names}. Own: in its own sample, behind the prompt. Another's: in "
        "exactly one other training cluster; by chance: in exactly one held-out one. Shared: in several others. "
        "Nobody's: in no sample."
    )
    lines = plain(Table(["", *WHOSE_HEADINGS], rows, title))
    if summary.another_personal:
        lines.append("Samples, in %, with an item that occurs in exactly one other sample, as for runs above:")
        lines += plain(_another_table(summary.another_personal))
    return lines


def _lines_without_loops(summary: Summary) -> list[str]:
    """The main columns without generations that repeat themselves; no lines where none does."""
    loops = [summary.counts.figures["loop"].groups[side] for side in SIDES]
    counts = [loop.count for loop in loops if isinstance(loop, Rate)]
    if not any(counts):
        return []
    figures = (figure for name, figure in summary.without_loops.figures.items() if name in MAIN)
    of_held_out = f", {counts[1]} of held-out texts" if summary.counts.samples[HELD_OUT] else ""
    title = f"Without loops ({counts[0]} of members{of_held_out}):"
    return plain(Table(HEADINGS, figure_rows(figures), title))


def meanings(summaries: Iterable[Summary]) -> dict[str, list[str]]:
    """Each meaning of columns and scores -> the headings that have it."""
    headings: dict[str, list[str]] = {}
    for summary in summaries:
        figures: list[Figure | Score] = [*summary.counts.figures.values(), *summary.scores.values()]
        for figure in figures:
            if figure.meaning:
                headings.setdefault(figure.meaning, []).append(figure.heading)
    return headings


def _meanings(summary: Summary) -> list[str]:
    lines = []
    for meaning, headings in (meanings([summary]) | {CEILING: ["ceiling"]}).items():
        name = ", ".join(headings) if len(headings) < 5 else f"{headings[0]} to {headings[-1]}"
        lines += paragraph(f"{name}: {meaning}", 4)
    return lines
