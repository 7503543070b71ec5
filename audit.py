"""What has a model memorized of its training data? All stages on a model that exists, from files to a page.

    python audit.py --model ./qwen-tuned --train-data train.jsonl --held-out-data heldout.jsonl --output audit

The data's columns say what it is: chats or texts; the first lines that are printed say what it is taken for. Writes
OUTPUT/report/report.html, a page to look at, with tables, plots and audit.json beside it; the encoding, generations,
index and detections lie in OUTPUT too. A killed audit goes on where it was. --dry-run says what it would do and how
long it may take. --fail-above COLUMN=RATE makes it a gate before a release, with exit status 1:

    python audit.py --model ./qwen-tuned --train-data train.jsonl --held-out-data heldout.jsonl \\
        --members 2000 --held-out 2000 --fail-above own=0.01 --redact

On several GPUs, each with the whole model:

    torchrun --nproc-per-node 4 audit.py --model ./qwen-tuned --train-data train.jsonl --held-out-data heldout.jsonl
"""

import argparse

from memorization.auditing.dry_run import describe_plan
from memorization.auditing.run_audit import closing_lines, run_audit
from memorization.auditing.settings import add_audit_arguments, audit_settings
from memorization.models.ranks import leave_process_group, ranks
from memorization.results.gate import print_outcomes
from memorization.shell.cli import Parser, UserError, run


def main(args: argparse.Namespace) -> int:
    settings = audit_settings(args)
    if settings.dry_run and ranks(needed=False).num_processes > 1:
        raise UserError("--dry-run: takes one process; give the command without a launcher")
    if settings.dry_run:
        print(*describe_plan(settings), sep="\n")
        return 0
    report = run_audit(settings)
    leave_process_group()
    if report is None:
        return 0
    page = f"page: {settings.output / 'report' / 'report.html'}"
    print("", *closing_lines(report), "", page, *report.hidden(), sep="\n")
    return print_outcomes("audit.py", report.outcomes)


if __name__ == "__main__":
    parser = Parser(__doc__)
    add_audit_arguments(parser)
    run(main, parser.parse_args())
