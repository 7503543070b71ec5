"""Stage 3: continue each probe's prefix with a model, and tell how much of the suffix it reproduces.

    python inference_prefix.py --model-path ./finetuned_models/finetuned_dialogue --subset-name dialogue

Reads stage 1's probes under --tokenized-dir. Writes memorization_<dir-name>/<subset-name>/<output-name>.jsonl, one row
a generation, and beside it the published .txt listing. A killed run goes on where it was; on several GPUs:

    torchrun --nproc-per-node 4 inference_prefix.py --model-path ./finetuned_models/finetuned_dialogue

Several adapters on one model each get a result of their own, <output-name>-<adapter>.jsonl:

    python inference_prefix.py --model-path ./llama --adapter ./lora-a ./lora-b --base-model ./llama
"""

import argparse

from memorization.extraction.exposures import Exposure
from memorization.extraction.extract import extract
from memorization.extraction.kinds import EXPOSURES, GENERATIONS
from memorization.extraction.settings import ExtractionSettings, add_extraction_arguments, add_model_arguments
from memorization.models.ranks import leave_process_group
from memorization.results.canaries import summarize_canaries
from memorization.results.tables import canary_lines
from memorization.shell.cli import Parser, UserError, run
from memorization.shell.flags import file_name
from memorization.store.locations import exposures_path
from memorization.store.manifests import read_manifest
from memorization.store.rows import read_rows


def main(args: argparse.Namespace) -> None:
    if args.num_samples > 1 and not args.temperature:
        raise UserError(f"--num-samples {args.num_samples}: has no effect without sampling; add --temperature 1, say")
    if not (args.model_path or args.adapter):
        raise UserError("--model-path is missing: name the model, or an adapter by --adapter")
    results = extract(ExtractionSettings(**vars(args)))
    leave_process_group()
    for path in results:
        if read_manifest(path, GENERATIONS).facts["canaries"] is None:
            continue
        canaries = exposures_path(path)
        exposures, manifest = read_rows(canaries, EXPOSURES, Exposure)
        print("", *canary_lines(summarize_canaries(exposures, manifest.made_of)), "", f"wrote {canaries}", sep="\n")


if __name__ == "__main__":
    parser = Parser(__doc__)
    add_model_arguments(parser, "--model-path", "--token-path")
    parser.add_argument(
        "--subset-name", type=file_name, default="dialogue", help="stage 1's --name (default: %(default)s)"
    )
    parser.add_argument(
        "--output-name", type=file_name, default="dialogue", help="name of the result (default: %(default)s)"
    )
    parser.add_argument(
        "--dir-name", type=file_name, default="finetuned_dialogue", help="its directory (default: %(default)s)"
    )
    parser.add_argument("--tokenized-dir", default="tokenized_data", help="where stage 1 wrote (default: %(default)s)")
    parser.add_argument("--output-dir", default=".", help="where memorization_<dir-name>/ goes (default: %(default)s)")
    parser.add_argument(
        "--probes", help="a file of probes with prompts of your own, in place of stage 1's (docs/extending.md)"
    )
    add_extraction_arguments(parser)
    run(main, parser.parse_args())
