"""Stage 5: align each generation with its ten best candidates and with its own suffix; label it and count.

    python plagiarism_detect.py --filedir ./memorization_finetuned_dialogue/dialogue/dialogue.jsonl \\
        --type gpt-neo-small --dataset dialogue --index-xsuffix dialogue_suffix --paraphrase-model none

Writes results/<type>/<dataset>/detections.jsonl (one row a generation), result.json and result.txt. A killed run goes
on where it was; `torchrun --nproc-per-node 4 plagiarism_detect.py ...` shares the work among processes. Given pairs of
texts, without an index or a model:

    python plagiarism_detect.py --pairs pairs.jsonl --profile pan --output alignments.jsonl
"""

import argparse
from functools import partial
from pathlib import Path

from memorization.alignment.pair_files import run_pairs
from memorization.detection.run_detection import DetectionRun, DetectionSettings, add_detection_arguments
from memorization.models.ranks import leave_process_group
from memorization.results.result_files import write_result
from memorization.results.tables import summary_text
from memorization.retrieval import IndexSettings, add_index_arguments, open_index
from memorization.shell.cli import Parser, UserError, run
from memorization.shell.flags import nested_name
from memorization.shell.parallel import cores
from memorization.store.locations import detections_path


def main(args: argparse.Namespace) -> None:
    if args.pairs:
        return run_pairs(args.pairs, args.output, args.profile, args.jobs or cores())
    for flag in ("filedir", "type", "index_xsuffix"):
        if not getattr(args, flag):
            raise UserError(f"--{flag.replace('_', '-')} is needed; --help shows a command that works")
    result = detections_path(args.output_dir, args.type, args.dataset)
    settings = DetectionSettings.of(args, generations=Path(args.filedir), result=result, probes=args.probes)
    with DetectionRun(settings, partial(open_index, IndexSettings.of(args))) as detections:
        detections.detect()
        if detections.is_main:
            print(summary_text(write_result(detections, vars(args))))
            print(f"\nwrote {settings.result}, result.json and result.txt")
    leave_process_group()
    return None


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--filedir", "-filedir", help="generations: stage 3's .jsonl, or a published .txt listing")
    parser.add_argument("--type", "-type", type=nested_name, help="the model's name, first directory of the result")
    parser.add_argument(
        "--dataset", "-dataset", type=nested_name, default="dialogue", help="second directory (default: %(default)s)"
    )
    add_index_arguments(parser)
    parser.add_argument("--probes", help="stage 1's <name>_prefix.json, for a listing without the .jsonl beside it")
    parser.add_argument("--output-dir", default="results", help="where <type>/<dataset>/ goes (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace the result of another run")
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="go on with generations and an index that are not of one run; every table says so",
    )
    add_detection_arguments(parser)
    parser.add_argument("--pairs", help="align the pairs of texts of this .jsonl file (- is standard input) instead")
    parser.add_argument("--output", default="-", help="of --pairs (default: -, standard output)")
    run(main, parser.parse_args())
