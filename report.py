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

import argparse
from pathlib import Path

from memorization.results.gate import add_gate_arguments, print_outcomes
from memorization.results.report import ReportSettings, read_report, write_report
from memorization.shell.cli import Parser, run


def main(args: argparse.Namespace) -> int:
    paths = [Path(result) for result in args.results]
    settings = ReportSettings(
        results=[path.parent if path.name in ("detections.jsonl", "result.json") else path for path in paths],
        output=Path(args.output).resolve() if args.output else None,
        attention=tuple(map(Path, args.attention)),
        limits=tuple(args.fail_above),
        redact=args.redact,
        cases=args.cases,
    )
    report = read_report(settings)
    print(report.text(), end="")
    if settings.output:
        print(f"\nwrote {', '.join(write_report(report, settings.output, settings.redact))} in {args.output}")
        for line in report.hidden():
            print(line)
    return print_outcomes("report.py", report.outcomes)


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
    add_gate_arguments(parser)
    run(main, parser.parse_args())
