"""Any number of results of stage 5 side by side: members, held-out texts, their difference, the verdict.

    python report.py results/gpt-neo-small/dialogue --output report

A RESULT is a directory that stage 5 wrote, or the detections.jsonl or result.json in it. Runs are named by what differs
between them. With --output the directory gets summary.csv, summary.md, summary.tex, leaks.txt (the members that come
out, generation and own sample one above the other), audit.json (for machines), plots with their data, and report.html,
a page to look at:

    python report.py results/prefix_10/dialogue results/prefix_50/dialogue --output report

As the last step before a release, this exits with status 1 where more may come out than that, and shows no text:

    python report.py results/gpt-neo-small/dialogue --output report --redact --fail-above exact_match=0.01
"""

import sys
from pathlib import Path

from tqdm import tqdm

from memorization.detection.detections import Detection, check_rows
from memorization.detection.kinds import DETECTIONS
from memorization.results import audit, differences, drawing, gate, plots, redact, reports
from memorization.results.attention import heat_maps
from memorization.results.facts import facts
from memorization.results.layout import paragraph, visible
from memorization.results.leaks import HEAD, leaks
from memorization.results.notes import together
from memorization.results.page import page
from memorization.results.tables import summarize
from memorization.shell.cli import Parser, run
from memorization.store.directories import building, check_ours
from memorization.store.files import locked
from memorization.store.manifests import read_manifest
from memorization.store.rows import base_rows, read_rows


def main(args):
    paths = [Path(result) for result in args.results]
    paths = [path.parent if path.name in ("detections.jsonl", "result.json") else path for path in paths]
    output = Path(args.output).resolve() if args.output else None
    if output:
        check_ours(output, "report")
    manifests = [read_manifest(path / "detections.jsonl", DETECTIONS) for path in paths]
    names = differences.names(manifests, [visible(str(path)) for path in paths])
    labels = differences.labels(manifests, names)
    runs = []
    for path, name, label in zip(paths, names, labels, strict=True):
        rows, manifest = read_rows(path / "detections.jsonl", DETECTIONS, Detection)
        base = base_rows(path / "detections.jsonl", DETECTIONS, manifest, Detection)
        check_rows(path / "detections.jsonl", rows, base, manifest)
        of_run = facts(manifest.made_of, manifest.arguments, manifest.facts)
        summary = summarize(rows, of_run, base, manifest.facts["canaries"])
        rows = redact.redacted(rows, tuple(manifest.made_of["regions"])) if args.redact else rows
        runs.append(reports.Run(name, label, visible(str(path)), summary, rows, manifest))
    notes = together([(run.label, run.summary["facts"]) for run in runs])
    data = differences.encodings(manifests)
    if len(set(data)) > 1:
        which = ", ".join(f"{label} {(one or 'unknown')[:12]}" for label, one in zip(labels, data, strict=True))
        notes.append(f"Not of the same data or split, so members and held-out texts differ (encoding: {which}).")
    if any(run.summary["generations_a_probe"] > 1 for run in runs):
        notes.append("Of several generations a probe: a share counts the probes of which any does so.")
    outcomes = gate.outcomes(args.fail_above, runs)
    studies = [heat_maps(study, [run.manifest.made_of["generations"] for run in runs]) for study in args.attention]
    print(reports.text(runs, notes), end="")
    if output:
        head = HEAD + redact.NOTE if args.redact else HEAD
        told = ["\n".join(line for note in notes for line in paragraph(note))] if notes else []
        leaked = [head, *told, *(leaks(run.name, run.rows, run.summary["facts"]["span_length"]) for run in runs)]
        files = {
            "summary.csv": reports.comma_separated(runs),
            "summary.md": reports.markdown(runs, notes),
            "summary.tex": reports.latex(runs, notes),
            "leaks.txt": "\n\n".join(leaked),
            "audit.json": audit.document(runs, outcomes),
        }
        drawings = []
        for plot in tqdm(plots.plots(runs), "draw", unit="plot", disable=None):
            formats = drawing.draw(plot)
            drawings.append((plot.title, formats["svg"]))
            files[f"plots/{plot.name}.csv"] = plots.comma_separated(plot)
            files |= {f"plots/{plot.name}.{kind}": content for kind, content in formats.items()}
        drawings += [(title, svg.encode()) for study in studies for title, svg in study]
        files["report.html"] = page(runs, notes, drawings, args.redact)
        with locked(output), building(output, "report") as (temporary, _):
            (temporary / "plots").mkdir()
            for name, content in files.items():
                content = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
                (temporary / name).write_bytes(content)
        written = sorted({name.partition("/")[0] for name in files})
        print(f"\nwrote {', '.join(written)} in {args.output}")
    if not outcomes:
        return 0
    status, line = gate.said(outcomes)
    print(f"report.py: {line}" if status else f"\n{line}", file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("results", nargs="+", metavar="RESULT", help="a directory of stage 5, or a file in it")
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="write the report there: report.html, plots, summary.csv, .md, .tex, leaks.txt, audit.json",
    )
    parser.add_argument(
        "--attention",
        metavar="DIR",
        action="append",
        default=[],
        help="show on the page what attention_analysis.py wrote there; may be given several times",
    )
    parser.add_argument(
        "--fail-above",
        metavar="[excess:]COLUMN=RATE",
        action="append",
        default=[],
        type=gate.limit,
        help="exit with status 1 if, in any run, the 95 %% interval of members, with excess: that of members less "
        "held-out texts, ends over this rate, a fraction (exact_match=0.01 is 1 %%); COLUMN is a share by its name in "
        "summary.csv; may be given several times",
    )
    parser.add_argument(
        "--redact",
        action="store_true",
        help="show of each word in the texts its first and last letters only, of personal data its kind",
    )
    run(main, parser.parse_args())
