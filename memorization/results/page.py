"""report.html: what came out, for a person to look at, in one file that fetches nothing.

The cases lie in it compressed and are drawn by page.js as they come into view. Nothing of a sample ever becomes markup:
what stands in the file as text is escaped, and the script sets text only. The file's own policy (Content-Security-
Policy) forbids every request, and every script and style but its own.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from itertools import repeat
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from memorization.detection.detections import Detection, Span
from memorization.extraction.generations import Generation
from memorization.results.audit import attacks, identities
from memorization.results.cases import ORDER, Cases, Chosen, hidden_lines
from memorization.results.columns import VERDICT, Column, score_columns
from memorization.results.comparison import tables_of
from memorization.results.formats import Table, html, spaced, visible
from memorization.results.records import CLASSES, RecordTable
from memorization.results.result import Result
from memorization.results.sample_texts import SampleText
from memorization.results.summary import HELD_OUT, MEMBERS, Estimate, Rate
from memorization.results.tables import how_scored, how_tested, meanings, measured_with, outcome_lines

HERE = Path(__file__).parent
WHOSE = {"own": 0, "another": 1, "other": 1, "shared": 2}  # CopiedRun.whose, as page.js knows it
SCORES = ("loss", "log_p_z", "extraction_strength", "min_k")  # shown with a case


def report_page(
    results: Sequence[Result],
    cases: Sequence[Cases],
    chosen: Sequence[Chosen],
    notes: Iterable[str],
    drawings: Iterable[tuple[str, bytes]],
    masked: bool = False,
) -> str:
    """The page as text. cases, chosen: of each result. drawings: (title, SVG).

    notes: what the reader must know, a paragraph each. masked: whether the texts are (redact); they may agree
    further than the originals, so that no match is marked.
    """
    several = len(results) > 1
    style, script = ((HERE / f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    figures, *scores = (table if several else table.without(1) for table in tables_of(results))
    terms = meanings(result.summary for result in results).items()
    parts = {
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "notes": "".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        "sentences": "".join(_sentence(result, several) for result in results),
        "verdicts": "".join(_verdict(result, several) for result in results),
        "measured": "".join(map(_measured, results)),
        "table": html(figures),
        "scores": "".join(_scores(table, results) for table in scores),
        "hidden": _hidden(results, chosen),
        "plots": "".join(_figure(*drawing) for drawing in drawings),
        "untested": "".join(map(_untested, results)),
        "terms": "".join(
            f"<dt>{escape(', '.join(dict.fromkeys(names)))}</dt><dd>{escape(meaning)}</dd>" for meaning, names in terms
        ),
        "data": base64.b64encode(gzip.compress(_cases(results, cases, chosen, masked), mtime=0)).decode(),
    }
    return Template((HERE / "page.html").read_text("utf-8")).substitute(parts)


def sentence(column: str, members: Estimate, held_out: Estimate) -> str:
    """What a column says of members and of held-out texts, in a sentence that anyone understands."""
    how = "in part, in words that only they hold" if column == VERDICT else "word for word"

    def share(rate: Estimate, what: str) -> str:
        low, high = rate.interval or (None, 1.0)
        if not rate.n:
            return f"there are no {what}"
        if not rate.value:
            return f"of {rate.n:,} {what} none, 0 to {100 * high:.1f} %"
        count = rate.count if isinstance(rate, Rate) else None
        return f"of {rate.n:,} {what} {count:,}, {100 * rate.value:.1f} % ({100 * (low or 0):.1f} to {100 * high:.1f})"

    comes = "comes" if isinstance(members, Rate) and members.count == 1 else "come"
    text = f"{share(members, 'members')}, {comes} back {how}; {share(held_out, 'held-out texts')}."
    return text[0].upper() + text[1:]


def _sentence(result: Result, several: bool) -> str:
    column = result.summary.verdict.column if result.summary.verdict else VERDICT
    groups = result.summary.counts.figures[column].groups
    name = f"<b>{escape(result.label)}.</b> " if several else ""
    return f'<p class="lead">{name}{escape(sentence(column, groups[MEMBERS], groups[HELD_OUT]))}</p>'


def _verdict(result: Result, several: bool) -> str:
    lines = spaced([outcome_lines(result.summary), how_tested(result.summary)])
    name = f"<h3>{escape(result.label)}</h3>" if several else ""
    return f"{name}<pre tabindex='0'>{escape(chr(10).join(lines))}</pre>"


def _measured(result: Result) -> str:
    facts: dict[str, str | None] = {"results": result.directory, "measured": measured_with(result.summary)}
    facts |= {"queries": result.summary.facts.scheme} | identities(result.manifest)
    items = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(visible(str(value)))}</dd>"
        for name, value in facts.items()
        if value
    )
    return f"<h3>{escape(result.name)}</h3><dl>{items}</dl>"


def _untested(result: Result) -> str:
    items: dict[bool | None, list[str]] = {False: [], None: [], True: []}
    for name, done, detail in attacks(result):
        items[done].append(f"<li><b>{escape(name)}</b>: {escape(detail)}</li>")
    titles = {False: "Not tested", None: "Not known", True: "Tested"}
    lists = [f"<h4>{titles[done]}</h4><ul>{''.join(each)}</ul>" for done, each in items.items() if each]
    return f"<h3>{escape(result.label)}</h3>{''.join(lists)}"


def _scores(table: Table, results: Sequence[Result]) -> str:
    explanation = " ".join(how_scored([result.summary.scores for result in results]))
    return f"<p>{escape(table.title)}</p>{html(table)}<p class='small'>{escape(explanation)}</p>"


def _figure(title: str, svg: bytes) -> str:
    source = base64.b64encode(svg).decode()
    return f'<figure><img alt="{escape(title)}" src="data:image/svg+xml;base64,{source}"></figure>'


def _hidden(results: Sequence[Result], chosen: Sequence[Chosen]) -> str:
    """What of the results is not on the page, if anything is not."""
    lines = hidden_lines([result.label for result in results], chosen)
    shown = f"<p>On this page are {'; '.join(map(escape, lines))}.</p>"
    return shown + f'<p class="small">{escape(ORDER)} --cases N shows more.</p>' if lines else ""


def _cases(results: Sequence[Result], shown: Sequence[Cases], chosen: Sequence[Chosen], masked: bool) -> bytes:
    """The cases as JSON. Spans count UTF-16 units, as the browser's strings do.

    texts: each once. total: how many cases the results have. samples: those that cases copy and that have none: run,
    id, prefix, suffix, rest. A case: run, id, turn, sample (number of the generation), name, member, copies, prefix,
    suffix, rest (what follows the suffix in a chat), generation (places in texts), exact, tokens and matched
    (characters) that match, label, copied ([start, end] in the generation, whose, holders, members, sample, [start,
    end] in that sample, length in columns), passages ([start, end], sample or null for its own, [start, end] in that
    sample, label), others (sample whose text is not here as it is indexed -> the text that is; the passages are in
    that), personal ([start, end], kind, whose), longest (of the lengths), scores, class (place in classes) and p of the
    sample (null without), map (of each scored token [where it ends in the suffix, log ratio to the base
    model], null without one).
    """
    texts: dict[str, int] = {}  # text -> its place
    scores = [column for column in score_columns(None) if column.name in SCORES]
    cases, samples = [], []
    for number, ((rows, of_samples, base), result) in enumerate(zip(shown, results, strict=True)):
        for row, of_base in zip(rows, repeat(None) if base is None else base, strict=base is not None):
            of_row = _case(row, of_samples, texts, scores, masked) | _of_record(row, result.records)
            token_map = None if of_base is None else _token_map(row.generation, of_base.generation)
            cases.append({"run": number, **of_row, "map": token_map})
        for id in sorted(of_samples.keys() - {row.generation.id for row in rows}):
            samples.append({"run": number, "id": id} | _parts(of_samples[id], texts))
    total = sum(len(one.places) + one.hidden for one in chosen)
    content = {"runs": [result.label for result in results], "total": total, "texts": list(texts)}
    content |= {"classes": CLASSES, "cases": cases, "samples": samples}
    return json.dumps(content, separators=(",", ":")).encode()


def _of_record(row: Detection, records: RecordTable) -> dict[str, Any]:
    """The class and p of a row's sample."""
    place = int(np.searchsorted(records.ids, row.generation.id))
    p = float(records.p[place])
    return {"class": int(records.classes[place]), "p": None if np.isnan(p) else p}


def _token_map(tuned: Generation, base: Generation) -> list[list[float]] | None:
    """Of each scored token where it ends in the suffix and its log ratio to the base model; None where that is not
    known."""
    if not (tuned.scores and base.scores and len(tuned.scores.lengths) and len(base.scores.log_probs)):
        return None
    suffix, ends = _Units(tuned.suffix), np.cumsum(tuned.scores.lengths, dtype=np.int64).tolist()
    with np.errstate(invalid="ignore"):  # of two infinities
        shifts = np.nan_to_num(tuned.scores.log_probs - base.scores.log_probs).clip(-99, 99).round(2)
    return [[suffix.at(end), shift] for end, shift in zip(ends, shifts.tolist(), strict=True)]


def _parts(sample: SampleText, texts: dict[str, int]) -> dict[str, int]:
    """Where the parts of a sample are in the texts, as of the case of its first turn."""
    begin, end = sample.suffixes[0]
    parts = {"prefix": sample.text[:begin], "suffix": sample.text[begin:end], "rest": sample.text[end:]}
    return {name: texts.setdefault(text, len(texts)) for name, text in parts.items()}


def _case(
    row: Detection, samples: dict[int, SampleText], texts: dict[str, int], scores: Sequence[Column], masked: bool
) -> dict[str, Any]:
    probe = row.generation
    generation, own, begin = _Units(probe.text), _Units(samples[probe.id].text), len(probe.prefix)
    others = {one.id: one.text for one in row.candidates if one.text is not None and one.id != probe.id}
    indexed = {id: _Units(text) for id, text in others.items() if id not in samples or samples[id].document != text}
    common = next(
        (at for at, pair in enumerate(zip(probe.text, probe.suffix, strict=False)) if pair[0] != pair[1]),
        min(len(probe.text), len(probe.suffix)),
    )

    def place(text: str) -> int:
        return texts.setdefault(text, len(texts))

    def in_sample(id: int, span: Span) -> list[int]:
        """Where a span of a sample's text lies, [0, 0] where that is not shown."""
        may_be_shown = id in samples and id not in indexed and span[1] <= len(samples[id].text)
        return _Units(samples[id].text).span(span) if may_be_shown else [0, 0]

    def in_candidate(id: int, span: Span) -> list[list[int]]:
        """Where a span of a candidate's document lies, in one part or several."""
        return [indexed[id].span(span)] if id in indexed else [in_sample(id, one) for one in samples[id].in_text(span)]

    return {
        "id": probe.id,
        "turn": probe.turn,
        "sample": probe.sample,
        "name": samples[probe.id].name(probe.id, probe.turn),
        "member": probe.member,
        "copies": probe.duplicates,
        "prefix": place(probe.prefix),
        "suffix": place(probe.suffix),
        "rest": place(samples[probe.id].text[begin + len(probe.suffix) :]),
        "generation": place(probe.text),
        "exact": probe.exact_match,
        "tokens": probe.matched_tokens,
        "label": row.labels.label,
        "matched": generation.at(common) if probe.matched_tokens and not masked else 0,
        "copied": [
            [
                *generation.span(run.generation_span),
                WHOSE[run.whose(probe.cluster)],
                run.holders,
                run.members,
                run.sample,
                *in_sample(run.sample, run.sample_span),
                run.length,
            ]
            for run in row.copied
        ],
        "passages": [
            [
                *generation.span(one.generation_span),
                None,
                *own.span((begin + one.candidate_span[0], begin + one.candidate_span[1])),
                one.label,
            ]
            for one in row.own.passages
        ]
        + [
            [*generation.span(one.generation_span), one.candidate, *span, one.label]
            for one in row.labels.passages
            if one.candidate in others
            for span in in_candidate(one.candidate, one.candidate_span)
        ],
        "others": {id: place(text.text) for id, text in indexed.items()},
        "personal": [[*generation.span(item.generation_span), item.kind, item.whose] for item in row.personal],
        "longest": max((run.length for run in row.copied), default=0),
        "scores": {
            score.heading: round(value, 3)
            for score in scores
            if isinstance(value := score.value(row), float) and abs(value) < float("inf")
        },
    }


class _Units:
    """Places in a text as UTF-16 counts them."""

    def __init__(self, text: str) -> None:
        self.text, self.plain = text, text.isascii() or max(text) <= "\uffff"

    def at(self, place: int) -> int:
        return place if self.plain else place + sum(character > "\uffff" for character in self.text[:place])

    def span(self, span: Span) -> list[int]:
        return [self.at(span[0]), self.at(span[1])]


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
