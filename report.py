"""Any number of results of stage 5 side by side: members, held-out texts, their difference, the verdict.

    python report.py results/gpt-neo-small/dialogue --output report

A RESULT is a directory that stage 5 wrote, or the detections.jsonl or result.json in it. Runs are named by what differs
between them. With --output the directory gets summary.csv, summary.md, summary.tex, leaks.txt (the members that come
out, generation and own sample one above the other) and plots/, each as SVG, PDF and PNG with its points as CSV:

    python report.py results/prefix_10/dialogue results/prefix_50/dialogue --output report
"""

if __name__ == "__main__":
    import memorization.script

from pathlib import Path

from memorization.cli import Parser, UserError, run
from memorization.detection.detections import Detection
from memorization.files import locked, replacing
from memorization.results import drawing, plots, reports
from memorization.results.evidence import scheme
from memorization.results.layout import paragraph, visible
from memorization.results.leaks import HEAD, leaks
from memorization.results.tables import summarize
from memorization.rows import base_rows, read_rows
from memorization.runs import read_manifest

WRITTEN = {"summary.csv", "summary.md", "summary.tex", "leaks.txt", "plots"}
STATED = ("profile", "direction", "span_length", "loop_repeats", "unchecked")  # of what made a result
LONGEST = 48  # characters of a name that fits into a table


def main(args):
    paths = [Path(result) for result in args.results]
    paths = [path.parent if path.name in ("detections.jsonl", "result.json") else path for path in paths]
    output = Path(args.output).resolve() if args.output else None
    if output and output.exists() and (not output.is_dir() or {path.name for path in output.iterdir()} - WRITTEN):
        raise UserError(f"{output}: holds other things than a report; name another directory")
    manifests = [read_manifest(path / "detections.jsonl", "detections") for path in paths]
    names = reports.names(manifests, [visible(str(path)) for path in paths])
    labels = names if max(map(len, names)) <= LONGEST else [f"run {number}" for number in range(1, len(names) + 1)]
    runs = []
    for path, name, label in zip(paths, names, labels, strict=True):
        rows, manifest = read_rows(path / "detections.jsonl", "detections", Detection)
        facts = {name: manifest.made_of[name] for name in STATED} | {"samples": manifest.facts["samples"]}
        classifier = manifest.made_of["classifier"] and manifest.arguments["paraphrase_model"]
        facts |= {"model": manifest.arguments["type"], "classifier": classifier}
        facts |= {"ner_model": manifest.arguments.get("ner_model"), "held_out": manifest.facts.get("held_out")}
        link, generations = manifest.facts["base"], manifest.facts["generations"]
        facts |= {"base": link and link["model"], "scheme": generations and scheme(generations)}
        base = base_rows(path / "detections.jsonl", manifest, Detection)
        summary = summarize(rows, facts, base, manifest.facts["canaries"])
        runs.append(reports.Run(name, label, visible(str(path)), summary, rows, manifest))
    notes = []
    data = reports.encodings(manifests)
    if len(set(data)) > 1:
        which = ", ".join(f"{label} {(one or 'unknown')[:12]}" for label, one in zip(labels, data, strict=True))
        notes = paragraph(f"Not of the same data or split, so members and held-out texts differ (encoding: {which}).")
    if unknown := [label for label, one in zip(labels, manifests, strict=True) if one.facts["training"] is None]:
        notes += paragraph(f"Nothing is known of the model's training in {'; '.join(unknown)}.")
    if any(run.summary["generations_a_probe"] > 1 for run in runs):
        notes += paragraph("Of several generations a probe: a share counts the probes of which any does so.")
    print(reports.text(runs, notes), end="")
    if output:
        leaked = [HEAD, *(leaks(run.name, run.rows, run.summary["facts"]["span_length"]) for run in runs)]
        files = {
            "summary.csv": reports.comma_separated(runs),
            "summary.md": reports.markdown(runs, notes),
            "summary.tex": reports.latex(runs, notes),
            "leaks.txt": "\n\n".join(leaked),
        }
        for plot in plots.plots(runs):
            files |= {f"plots/{plot.name}.{format}": drawn for format, drawn in drawing.draw(plot).items()}
            files[f"plots/{plot.name}.csv"] = plots.comma_separated(plot)
        with locked(output), replacing(output, directory=True) as temporary:
            temporary.mkdir()
            for name, content in files.items():
                (temporary / name).parent.mkdir(exist_ok=True)
                data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
                (temporary / name).write_bytes(data)
        count = sum(name.endswith(".svg") for name in files)
        tables = ", ".join(name for name in files if "/" not in name)
        print(f"\nwrote {tables}{f' and {count} plots' if count else ''} in {args.output}")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("results", nargs="+", metavar="RESULT", help="a directory of stage 5, or a file in it")
    parser.add_argument(
        "--output", metavar="DIR", help="write summary.csv, .md, .tex, leaks.txt and plots/ there, replacing them"
    )
    run(main, parser.parse_args())
