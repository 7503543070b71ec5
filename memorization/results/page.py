"""report.html: what came out, for a person to look at, in one file that fetches nothing.

The cases lie in it compressed and are drawn by page.js as they come into view. Nothing of a sample ever becomes markup:
what stands in the file as text is escaped, and the script sets text only. The file's own policy (Content-Security-
Policy) forbids every request, and every script and style but its own.
"""

import base64
import gzip
import hashlib
import json
from html import escape
from pathlib import Path
from string import Template

from memorization.results import audit, base, canaries, membership, reports
from memorization.results.columns import VERDICT
from memorization.results.counts import HELD_OUT, MEMBERS
from memorization.results.evidence import scores
from memorization.results.layout import visible
from memorization.results.tables import another, heading, how_tested, made_with, verdict

HERE = Path(__file__).parent
WHOSE = {"own": 0, "another": 1, "other": 1, "shared": 2}  # Copied.whose, as page.js knows it


def page(runs, notes, drawings, masked=False):
    """The page as text. runs: reports.Runs. drawings: (title, SVG bytes).

    notes: what the reader must know, a paragraph each. masked: whether the texts are (redact); they may agree
    further than the originals, so that no match is marked.
    """
    style, script = ((HERE / f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    parts = {
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "notes": "".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        "sentences": "".join(_sentence_of(run, len(runs) > 1) for run in runs),
        "verdicts": "".join(_verdict_of(run, len(runs) > 1) for run in runs),
        "measured": "".join(map(_measured, runs)),
        "table": _table(("metric", "run", MEMBERS, HELD_OUT, "difference"), reports.blocks(runs), len(runs) > 1),
        "scores": _scores(runs),
        "plots": "".join(map(_figure, drawings)),
        "untested": "".join(map(_untested, runs)),
        "terms": "".join(f"<dt>{escape(name)}</dt><dd>{escape(meaning)}</dd>" for name, meaning in _terms(runs)),
        "data": base64.b64encode(gzip.compress(_cases(runs, masked), mtime=0)).decode(),
    }
    return Template((HERE / "page.html").read_text("utf-8")).substitute(parts)


def sentence(summary):
    """What a summary says in the column of its verdict, in a sentence that anyone understands."""
    groups, column = summary["groups"], summary["verdict"]["column"] if summary["verdict"] else VERDICT
    how = "in part, in words that only they hold" if column == VERDICT else "word for word"
    members, held_out = (groups[side].get(column) for side in (MEMBERS, HELD_OUT))
    comes = "comes" if members["count"] == 1 else "come"

    def told(cell, what):
        low, high = (f"{100 * end:.1f}" for end in cell["interval"])
        if not cell["n"]:
            return f"there are no {what}"
        if not cell["count"]:
            return f"of {cell['n']:,} {what} none, 0 to {high} %"
        return f"of {cell['n']:,} {what} {cell['count']:,}, {100 * cell['rate']:.1f} % ({low} to {high})"

    said = f"{told(members, 'members')}, {comes} back {how}; {told(held_out, 'held-out texts')}."
    return said[0].upper() + said[1:]


def _sentence_of(run, several):
    named = f"<b>{escape(run.label)}.</b> " if several else ""
    return f'<p class="lead">{named}{escape(sentence(run.summary))}</p>'


def _verdict_of(run, several):
    lines = [*verdict(run.summary), *another(run.summary), *base.lines(run.summary, heading)]
    lines += [*canaries.lines(run.summary["canaries"]), *how_tested(run.summary)]
    named = f"<h3>{escape(run.label)}</h3>" if several else ""
    return f"{named}<pre tabindex='0'>{escape(chr(10).join(lines))}</pre>"


def _measured(run):
    known = {"results": run.directory, "measured": made_with(run.summary)}
    known |= {"queries": run.summary["facts"]["scheme"]} | audit.identities(run.manifest)
    told = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(visible(str(value)))}</dd>"
        for name, value in known.items()
        if value
    )
    return f"<h3>{escape(run.name)}</h3><dl>{told}</dl>"


def _untested(run):
    items = {True: [], False: [], None: []}
    for name, done, detail in audit.attacks(run):
        items[done].append(f"<li><b>{escape(name)}</b>: {escape(detail)}</li>")
    titles = {False: "Not tested", None: "Not known", True: "Tested"}
    lists = [f"<h4>{title}</h4><ul>{''.join(items[done])}</ul>" for done, title in titles.items() if items[done]]
    return f"<h3>{escape(run.label)}</h3>{''.join(lists)}"


def _scores(runs):
    found = reports.score_blocks(runs)
    if not found:
        return ""
    head = ["score", "run", *membership.headings(reports.resolved_rates(runs))[1:]]
    explained = " ".join(membership.explained([run.summary["scores"] for run in runs]))
    return (
        f"<p>{escape(reports.SCORES)}</p>{_table(head, found, len(runs) > 1)}<p class='small'>{escape(explained)}</p>"
    )


def _table(head, blocks, several):
    """An HTML table. blocks: (title, rows of label and cells); a title stands once, beside its first row.

    several: whether there are several runs; the label of a single one is left out.
    """
    rows = []
    for title, block in blocks:
        for place, cells in enumerate(block):
            first = f'<th scope="rowgroup" rowspan="{len(block)}">{escape(title)}</th>' if not place else ""
            rest = "".join(f"<td>{escape(cell)}</td>" for cell in cells[not several :])
            rows.append(f"<tr>{first}{rest}</tr>")
    shown = head if several else [head[0], *head[2:]]
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in shown)
    head = f"<thead><tr>{columns}</tr></thead>"
    return f'<div class="wide" tabindex="0"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _figure(drawing):
    title, svg = drawing
    source = base64.b64encode(svg).decode()
    return f'<figure><img alt="{escape(title)}" src="data:image/svg+xml;base64,{source}"></figure>'


def _terms(runs):
    told = {}
    for run in runs:
        for column in (*run.summary["columns"], *run.summary["scores"].values()):
            if column["meaning"]:
                told.setdefault(column["meaning"], []).append(column["heading"])
    return [(", ".join(dict.fromkeys(names)), meaning) for meaning, names in told.items()]


def _cases(runs, masked):
    """The cases as JSON. Spans count UTF-16 units, as the browser's strings do.

    texts: each once. A case: run, id, sample (number of the generation), member, copies, prefix, suffix, generation
    (places in texts), exact, tokens and matched (characters) that match, label, copied ([start, end] in the generation,
    whose, holders, members, sample, [start, end] in that sample, length in columns), passages ([start, end], sample or
    null for its own, [start, end] in its suffix, label), others (sample -> the text of its suffix), personal ([start,
    end], kind, whose), longest (of the lengths), scores.
    """
    texts, cases = {}, []
    evidence = [score for score in scores(None) if score.name in ("loss", "log_p_z", "extraction_strength", "min_k")]

    def place(text):
        return texts.setdefault(text, len(texts))

    for number, run in enumerate(runs):
        whole = {row.generation.id: row.generation.prefix + row.generation.suffix for row in run.rows}
        for row in run.rows:
            probe = row.generation
            generation, suffix = _Units(probe.text), _Units(probe.suffix)
            given = {one.id: one.text for one in row.candidates if one.text is not None}
            common = next(
                (at for at, pair in enumerate(zip(probe.text, probe.suffix, strict=False)) if pair[0] != pair[1]),
                min(len(probe.text), len(probe.suffix)),
            )
            case = {"run": number, "id": probe.id, "sample": probe.sample}
            case |= {"member": probe.member, "copies": probe.duplicates}
            case |= {"prefix": place(probe.prefix), "suffix": place(probe.suffix), "generation": place(probe.text)}
            case |= {"exact": probe.exact_match, "tokens": probe.matched_tokens, "label": row.labels.label}
            case["matched"] = generation.at(common) if probe.matched_tokens and not masked else 0
            case["copied"] = [
                [
                    *generation.span(found.generation_span),
                    WHOSE[found.whose(probe.cluster)],
                    found.holders,
                    found.members,
                    found.sample,
                    *(_Units(whole[found.sample]).span(found.sample_span) if found.sample in whole else (0, 0)),
                    found.length,
                ]
                for found in row.copied
            ]
            case["passages"] = [
                [*generation.span(found.generation_span), None, *suffix.span(found.candidate_span), found.label]
                for found in row.own.passages
            ] + [
                [
                    *generation.span(found.generation_span),
                    found.candidate,
                    *_Units(given[found.candidate]).span(found.candidate_span),
                    found.label,
                ]
                for found in row.labels.passages
                if found.candidate != probe.id
            ]
            case["others"] = {id: place(text) for id, text in given.items() if id != probe.id}
            case["personal"] = [
                [*generation.span(item.generation_span), item.kind, item.whose] for item in row.personal
            ]
            case["longest"] = max((found.length for found in row.copied), default=0)
            case["scores"] = {
                score.heading: round(value, 3)
                for score in evidence
                if isinstance(value := score.value(row), float) and abs(value) < float("inf")
            }
            cases.append(case)
    content = {"runs": [run.label for run in runs], "texts": list(texts), "cases": cases}
    return json.dumps(content, separators=(",", ":")).encode()


class _Units:
    """Places in a text as UTF-16 counts them."""

    def __init__(self, text):
        self.text, self.plain = text, text.isascii() or max(text) <= "\uffff"

    def at(self, place):
        return place if self.plain else place + sum(character > "\uffff" for character in self.text[:place])

    def span(self, span):
        return [self.at(span[0]), self.at(span[1])]


def _hash(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
