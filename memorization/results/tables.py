"""What stage 5 finds in all: as JSON, as a table in plain text of at most 80 columns, and the published counters."""

from collections import Counter

import numpy as np

from memorization.encoding.prompt_counts import describe_prompts
from memorization.results import base as base_model
from memorization.results import canaries as of_canaries
from memorization.results import evidence, membership
from memorization.results.columns import (
    ALARMS,
    MAIN,
    RUNS,
    calibrated,
    columns,
    label_columns,
    without_loops,
)
from memorization.results.counts import HELD_OUT, MEMBERS, collect, grouped, tally
from memorization.results.layout import estimate, grid, paragraph, visible
from memorization.results.notes import notes
from memorization.results.others import Others, beside_chance, items
from memorization.results.personal import Personal, lines_of
from memorization.results.verdict import BASE, FALLBACK, LEAST_CEILING, verdict_column
from memorization.results.verdict import verdict as verdict_of

CEILING = "what it would be if every generation were its own suffix, as far as it can reach"
COUNTERS = ("verbatim", "paraphrase", "paraphrase_low", "idea", "none")
TOO_SHORT = "what a generation can reach is too short for a run that long (stage 3, --max-new-tokens)"
UNTESTED = "cannot be tested against held-out texts: too few of as many copies"


def summarize(rows, facts, base=None, canaries=None):
    """What result.json holds of detections (any iterable): facts, columns, groups, difference, verdict.

    facts: what made them, JSON-ready: span_length, direction, classifier (None without), and what the table is to name
    (profile, model, unchecked, base, and scheme, that of evidence); samples and clusters, how many distinct ones are
    members and held out. Columns, groups and difference are those of counts.tally. Under without_scan and first_label,
    and under paper with direction both, stands the same tally of the labels without the span scan, by the published
    rule, and in direction paper. The verdict has column, the one that decides (verdict.verdict_column), and groups, of
    verdict.verdict: members by copies and all; it is None without members or what to compare them with. another is
    others.Others.measure, another_personal the same of items of personal data. Under without_loops stands the same
    tally without generations that repeat themselves; personal is personal.Personal.counts, scores membership.measure.
    base: detections of the same probes through the base model, or None; under base stands base.compare, and the scores
    have the ratio to it. canaries: of canaries.summarize, or None.
    """
    classifier, direction = facts["classifier"], "paper" if facts["direction"] == "paper" else "pan"
    every = columns(facts["span_length"], facts["loop_repeats"], classifier, direction, bool(facts["ner_model"]))
    tables = {
        "": every + evidence.columns(),
        "without_loops": [without_loops(column, facts["loop_repeats"]) for column in every if column.name != "loop"],
        "without_scan": label_columns(lambda row: row.labels.label_without_scan, classifier, direction),
        "first_label": label_columns(lambda row: row.labels.first_label, classifier, direction),
    }
    if facts["direction"] == "both":
        tables["paper"] = label_columns(lambda row: row.paper.label, classifier, "paper")
    others, personal, of_others = Others(), Personal(), Others(items)
    scores = evidence.scores(classifier)
    limited = [column for column in every if column.ceiling]
    of_tables = [column for of_table in tables.values() for column in of_table]
    ceilings = [column._replace(value=column.ceiling) for column in limited]
    watched = others.watch(of_others.watch(personal.watch(rows)))
    probes = collect(watched, [*of_tables, *scores, *ceilings])
    groups, values = grouped(probes), iter(probes.values)
    _, clusters = np.unique(probes.clusters, return_inverse=True)
    of_scores, of_ceilings = np.split(probes.values[len(of_tables) :], [len(scores)])
    of_scores = dict(zip((column.name for column in scores), of_scores, strict=True))
    summary = {"facts": facts, "generations": probes.generations, "generations_a_probe": probes.generations_a_probe}
    for name, of_table in tables.items():
        measured = [(column, next(values)) for column in of_table]
        if classifier and not name:
            measured.append(surest(of_scores["paraphrase"], groups[HELD_OUT]))
        counted = tally(groups, measured, clusters)
        summary |= {name: counted} if name else counted
    add_ceilings(summary["groups"], groups, limited, of_ceilings)
    summary["base"] = None
    if base is not None:
        of_base = collect(base, [*tables[""], *(score for score in scores if score.name == "loss")])
        if not np.array_equal(of_base.ids, probes.ids):
            raise ValueError("the base model's detections are of other probes")
        tuned = probes.values[: len(tables[""])]
        summary["base"] = base_model.compare(groups, tables[""], tuned, of_base.values[:-1], clusters)
        with np.errstate(invalid="ignore"):  # of two infinities
            of_scores[evidence.RATIO.name] = of_scores["loss"] - of_base.values[-1]
        scores = [*scores, evidence.RATIO]
    reasons = facts.get("not_computed", {})
    summary["facts"] = facts | {"not_computed": not_computed([*tables[""], *scores], reasons)}
    summary["scores"] = membership.measure(scores, of_scores.values(), probes.member, clusters)
    summary["verdict"] = None
    cells = {column["name"]: summary["groups"][MEMBERS][column["name"]] for column in summary["columns"]}
    decides = verdict_column({name: cell["ceiling"] for name, cell in cells.items() if "ceiling" in cell})
    number = [column.name for column in every].index(decides)
    sides = [(groups[side] & ~np.isnan(probes.values[number])).any() for side in (MEMBERS, HELD_OUT)]
    if sides[0] and (sides[1] or base is not None):
        before = None if base is None else of_base.values[number]
        summary["verdict"] = {"column": decides, "groups": verdict_of(groups, probes, probes.values[number], before)}
    summary["another"] = others.measure(probes.ids, probes.member, clusters, facts["clusters"])
    summary["personal"] = personal.counts()
    summary["another_personal"] = of_others.measure(probes.ids, probes.member, clusters, facts["clusters"])
    summary["canaries"] = canaries
    return summary


def not_computed(columns, reasons):
    """dict reason -> headings of the columns without values for it. reasons: field of a generation -> reason."""
    headings = {}
    for column in columns:
        for field, reason in reasons.items():
            if column.needs == field or column.needs.startswith(f"{field}."):
                headings.setdefault(reason, {})[column.heading] = None
    return {reason: [*of_reason] for reason, of_reason in headings.items()}


def add_ceilings(cells, groups, columns, values):
    """Add its ceiling to the cell of each column in each group: the mean of its values, which are those of probes."""
    for column, of_probes in zip(columns, values, strict=True):
        for name, mask in groups.items():
            here = of_probes[mask & ~np.isnan(of_probes)]
            if column.name in cells[name] and len(here):
                cells[name][column.name]["ceiling"] = float(here.mean())


def surest(scores, held_out):
    """(column, values) of the paraphrases surer than held-out ones. scores: of probes; held_out: which they are."""
    others = np.sort(scores[held_out])[::-1]
    threshold = max(0.5, others[int(ALARMS * len(others))]) if len(others) else 0.5
    return calibrated(threshold), np.where(scores > threshold, 1.0, 0.0)


class Published:
    """The published counters: first labels of members, in direction paper if both were asked for.

    Repeated prefixes are counted once. Rows are watched as they pass by.
    """

    def __init__(self):
        self._first = {}

    def watch(self, rows):
        for row in rows:
            if row.generation.member:
                self._first.setdefault(row.generation.prefix, (row.paper or row.labels).first_label)
            yield row

    def line(self):
        """The five counters in a line; where no classifier was asked, the unverified ones are a sixth."""
        counts = Counter(self._first.values())
        names = COUNTERS + (("unverified",) if counts["unverified"] else ())
        return " ".join(f"{name}: {counts[name]}" for name in names) + "\n"


def table(summary):
    """A summary as plain text: what was measured, every column, the main ones by group, the verdict, the meanings."""
    facts, groups, columns = summary["facts"], summary["groups"], summary["columns"]
    lines = [line for note in notes(facts) for line in paragraph(f"{note}.")]
    lines += ["Memorization: what a model repeats of its training texts, and of texts held out", ""]
    counted = "generations that do so"
    if summary["generations_a_probe"] > 1:
        counted = "probes of which any generation does so"
    lines += [*paragraph(made_with(summary)), "", f"Share of {counted}, in %, with its 95 % interval:", ""]
    sides = [groups[MEMBERS], groups[HELD_OUT]]
    head = [["", MEMBERS, HELD_OUT, "difference"], ["probes", *(str(side["n"]) for side in sides), ""]]
    blocks = {}
    for column in columns:
        name = column["name"]
        change = summary["difference"].get(name)
        cells = [*(estimate(side[name]) for side in sides), estimate(change, True) if change else "-"]
        blocks.setdefault(column["block"], []).append([heading(column), *cells])
        blocks[column["block"]] += [["  ceiling", *cells] for cells in ceilings(column, groups)]
    lines += grid([*head, *blocks.pop("generations", [])])
    main = [column for column in columns if column["name"] in MAIN]
    if len(groups) > 2:
        body = [["", "probes", *map(heading, main)]]
        for name, group in groups.items():
            body.append([name, str(group["n"]), *(estimate(group[column["name"]]) for column in main)])
        lines += ["", *paragraph("The same by copies in the training set:"), "", *grid(body)]
    lines += ["", *verdict(summary), *how_tested(summary), "", *another(summary), ""]
    for name, block in blocks.items():
        lines += [*paragraph(evidence.TITLES[name].format(scheme=facts["scheme"])), "", *grid([head[0], *block]), ""]
    lines += [*membership.lines(summary["scores"]), *base_model.lines(summary, heading)]
    lines += [
        *of_canaries.lines(summary["canaries"]),
        *lines_of(summary["personal"], summary["another_personal"], facts["ner_model"]),
        *unlooped(summary),
    ]
    headings = {}
    for column in (*columns, *summary["scores"].values()):
        headings.setdefault(column["meaning"], []).append(column["heading"])
    headings[CEILING] = ["ceiling"]
    for meaning, named in headings.items():
        lines += [] if not meaning else paragraph(f"{_together(named)}: {meaning}", 4)
    return "\n".join(lines)


def ceilings(column, groups):
    """The cells of a column's ceiling (members, held out, no difference) as a list, empty where it bounds nothing."""
    cells = [groups[side][column["name"]].get("ceiling") for side in (MEMBERS, HELD_OUT)]
    if set(cells) == {None} or (set(cells) <= {None, 1.0} and column["kind"] != "mean"):
        return []
    scale = 1 if column["kind"] == "mean" else 100
    return [[*("-" if cell is None else f"{scale * cell:.1f}" for cell in cells), ""]]


def within_reach(summary):
    """The share of members whose suffix has, as far as a generation can reach, a run longer than the span length, or at
    the most so many; None where that is not known."""
    known = [length for length in RUNS if length <= summary["facts"]["span_length"]]
    cells = [summary["groups"][MEMBERS].get(f"run_{length}", {}).get("ceiling") for length in known]
    return min((cell for cell in cells if cell is not None), default=None)


def _together(headings):
    return ", ".join(headings) if len(headings) < 5 else f"{headings[0]} to {headings[-1]}"


def unlooped(summary):
    """The main columns without generations that repeat themselves, as lines; none where there are none."""
    loops = [group["loop"]["count"] for group in (summary["groups"][side] for side in (MEMBERS, HELD_OUT))]
    if not any(loops):
        return []
    groups, change = summary["without_loops"]["groups"], summary["without_loops"]["difference"]
    body = [["", MEMBERS, HELD_OUT, "difference"]]
    for column in summary["without_loops"]["columns"]:
        name = column["name"]
        if name in MAIN:
            cells = [estimate(groups[side][name]) for side in (MEMBERS, HELD_OUT)]
            body.append([heading(column), *cells, estimate(change[name], True) if name in change else "-"])
    said = f"Without loops ({loops[0]} of members, {loops[1]} of held-out texts):"
    return [*paragraph(said), *grid(body), ""]


def made_with(summary):
    """What a summary is of, in words."""
    facts = dict(summary["facts"])
    if facts["direction"] == "both":
        facts["direction"] = "both (labels of pan)"
    made = [f"{summary['generations']} generations ({summary['generations_a_probe']} a probe)"]
    if (prompts := facts.get("prompts")) and prompts["own"] < prompts["probes"]:
        made.append(describe_prompts(prompts))
    usual = {"probe": (None, "text"), "ner_model": (None,)}
    shown = ("model", "probe", "profile", "direction", "classifier", "ner_model")
    shown = [name for name in shown if facts.get(name) not in usual.get(name, ())]
    return ", ".join(made + [f"{name} {visible(str(facts[name] or 'none'))}" for name in shown if name in facts])


def heading(column):
    """What a column is called in a table."""
    return column["heading"] + (", mean" if column["kind"] in ("mean", "fraction") else "")


def verdict(summary):
    """The verdict of a summary in words, as lines."""
    if summary["verdict"] is None:
        return paragraph("Verdict: none, for want of members and held-out texts to compare.")
    column, groups = summary["verdict"]["column"], summary["verdict"]["groups"]
    tested = {against: [test for test in groups.values() if test["against"] == against] for against in (HELD_OUT, BASE)}
    yes = {against: sum(test["evidence"] for test in tests) for against, tests in tested.items()}
    more, number = "members come out more often than held-out texts do, beyond chance", len(tested[HELD_OUT])
    if yes[HELD_OUT]:
        lines = paragraph(f"Verdict: yes, {more}{f', in {yes[HELD_OUT]} of {number} groups' * (number > 1)}.")
    elif number:
        lines = paragraph(f"Verdict: no evidence at this sample size that {more}.")
    else:
        lines = paragraph(f"Verdict: none, members {UNTESTED}.")
    if tested[BASE]:
        groups_of = f"in {yes[BASE] or 'none'} of {len(tested[BASE])} that {UNTESTED}"
        lines += paragraph(f"Against the base model: more often beyond chance {groups_of}.")
    room = min(max(map(len, groups)), 24)
    for name, test in groups.items():
        said = _outcome(test, summary["groups"][name][column]["n"])
        lines += paragraph(f"  {name.ljust(room)}  {said}", room + 4)
    return lines


def _outcome(test, members):
    """One group's line of the verdict. members: how many the column says something of."""
    if test["against"] is None:
        return UNTESTED
    p = f"p = {test['p']:.2g}" if test["p"] >= 0.0001 else "p < 0.0001"
    if test["evidence"]:
        said = f"yes ({p})"
    elif test["detectable_difference"] is None:
        said = f"no evidence ({p}); no difference, however large, would have been found with 80 % power"
    else:
        points = f"{100 * test['detectable_difference']:.1f} points"
        said = f"no evidence ({p}); a difference of {points} would have been found with 80 % power"
    if test["against"] == BASE:
        return f"{UNTESTED}; against the base model: {said}"
    return said if test["members"] == members else f"{said}; of {test['members']} members that have such a control"


def another(summary):
    """Another's beside its chance level, and its verdict, as lines; none where a side has no other sample."""
    if (found := summary["another"]) is None:
        return []
    number, groups = found["samples"], found["groups"]
    yes = [name for name, group in groups.items() if group["evidence"]]
    more = "one other training sample's text comes out more often than one held-out sample's"
    said = f"yes, {more}, beyond chance, from probes: {', '.join(yes)}" if yes else f"no evidence that {more}"
    if not yes and within_reach(summary) == 0:
        said = f"cannot be told, as {TOO_SHORT}"
    return [
        *paragraph(f"Another's: {said}."),
        *beside_chance(found),
        *paragraph(
            f"(Probes, in %, that say a run of over {summary['facts']['span_length']} characters which exactly one "
            f"other sample holds, of {number} training samples, and by chance of {number} held-out ones: the mean over "
            "all choices of so many. Permutation test, one-sided, corrected by Holm.)"
        ),
    ]


def how_tested(summary):
    """How the verdict of a summary was reached, as lines; none without a verdict."""
    if summary["verdict"] is None:
        return []
    name, tests = summary["verdict"]["column"], summary["verdict"]["groups"].values()
    (column,) = (column for column in summary["columns"] if column["name"] == name)
    why = ", as most members can have no own run" if name == FALLBACK else ""
    if why and (reached := within_reach(summary)) is not None and reached < LEAST_CEILING:
        why += f": {TOO_SHORT}"
    groups = sum(test["against"] is not None for test in tests)
    lines = [
        f"By {column['heading']}, the column named in advance{why}. Members are compared with held-out samples of as",
        "many copies: permutation test, one-sided, of whole clusters of near-duplicates (Fisher's exact test where",
        "each has one sample).",
        "Against the base model: the same probes, McNemar's exact test." * any(t["against"] == BASE for t in tests),
        f"Corrected by Holm for {groups} {'groups' if groups > 1 else 'group'}: under a random split any false yes has",
        "a chance of at most 5 %. What would have been found: if the held-out rate is at the upper end of its",
        "interval.",
    ]
    return paragraph(f"({' '.join(filter(None, lines))})")
