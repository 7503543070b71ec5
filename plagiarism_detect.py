"""Stage 5: align each generation with its ten best candidates and with its own suffix; label it and count.

    python plagiarism_detect.py --filedir ./memorization_finetuned_dialogue/dialogue/dialogue.jsonl \\
        --type gpt-neo-small --dataset dialogue --index-xsuffix dialogue_suffix --paraphrase-model none

Writes results/<type>/<dataset>/detections.jsonl (one row a generation), result.json and result.txt. A killed run goes
on where it was; `torchrun --nproc-per-node 4 plagiarism_detect.py ...` shares the work among processes. Given pairs of
texts, without an index or a model:

    python plagiarism_detect.py --pairs pairs.jsonl --profile pan --output alignments.jsonl
"""

if __name__ == "__main__":
    import memorization.script

import sys

from tqdm import tqdm

from memorization import runs
from memorization.alignment import PROFILES
from memorization.cli import Parser, UserError, run
from memorization.detection.detect import BATCH, detect
from memorization.detection.detections import Detection
from memorization.detection.inputs import detections_made_of, misfits
from memorization.detection.pairs import run_pairs
from memorization.extraction.generations import read_generations
from memorization.files import fingerprints, write_json, write_text
from memorization.results import tables
from memorization.retrieval import add_index_arguments, open_index
from memorization.rows import Rows


def main(args):
    if args.pairs:
        return run_pairs(args.pairs, args.output, args.profile, args.jobs)
    for flag in ("filedir", "type", "index_xsuffix"):
        if not getattr(args, flag):
            raise UserError(f"--{flag.replace('_', '-')} is needed; --help shows a command that works")
    generations, manifest = read_generations(args.filedir, args.probes, args.unchecked)
    index = open_index(args)
    indexed = index.made_of()
    if differs := misfits(generations, manifest, indexed):
        differs = f"{index.where}: is not the index of the generations in {args.filedir}: another {differs}"
        if not args.unchecked:
            raise UserError(f"{differs}; load theirs with load_to_elastic.py, or go on with --unchecked")
    directions = ["pan", "paper"] if args.direction == "both" else [args.direction]
    classifier = None if args.paraphrase_model == "none" else find_classifier(args.paraphrase_model)
    known = manifest.made_of if manifest else {}
    unchecked = bool(differs or known.get("unchecked", True))
    settings = {name: getattr(args, name) for name in ("profile", "direction", "span_length")}
    made_of = detections_made_of(generations, manifest, indexed, settings, classifier, unchecked)

    from accelerate import PartialState  # imports torch, which --pairs does without

    state = PartialState(cpu=not has_accelerator())
    path = runs.detections_path(args.output_dir, args.type, args.dataset)
    keys = [(row.id, row.sample) for row in generations]
    ranks = (state.process_index, state.num_processes)
    with Rows(path, "detections", Detection, made_of, keys, BATCH, *ranks, args.overwrite) as detections:
        state.wait_for_everyone()  # all ranks have seen what is done before any adds to it
        if state.is_main_process:
            if differs:
                print(f"WARNING: {differs}", file=sys.stderr)
            print(f"{detections.progress}; searching {index.where}")
        mine = detections.mine
        if classifier and mine and state.is_main_process:
            print(f"loading {args.paraphrase_model}", flush=True)
        classify = load_classifier(classifier, state.device) if classifier and mine else None
        hidden = not (mine and state.is_main_process)
        with tqdm(total=sum(len(batch) for _, batch in mine), desc="detecting", disable=hidden) as bar:
            for _, batch in mine:
                part = generations[batch.start : batch.stop]
                detections.append(detect(part, index, args.profile, directions, args.span_length, classify))
                bar.update(len(part))
        state.wait_for_everyone()
        if not state.is_main_process:
            return None

        facts = {"model": args.type, "classifier": classifier and args.paraphrase_model, "unchecked": unchecked}
        facts["trained_on"] = known.get("trained_on")  # an encoding; None: nothing is known of the model's training
        summary = {"identity": runs.identity(made_of), **tables.summarize(detections, settings | facts)}
        write_json(path.with_name("result.json"), summary)
        write_text(path.with_name("result.txt"), tables.published_line(tables.published_counts(detections)))
        detections.finish(
            args,
            fingerprints([args.filedir]),
            generations=manifest and manifest.made_of,
            training=manifest and manifest.facts["training"],
            index=indexed,
        )
    print(tables.table(summary))
    print(f"\nwrote {path}, result.json and result.txt")
    return None


def has_accelerator():
    import torch

    return torch.accelerator.is_available()


def find_classifier(name):
    from memorization.detection.paraphrase import directory

    return directory(name)


def load_classifier(name, device):
    from memorization.detection.paraphrase import ParaphraseClassifier

    return ParaphraseClassifier(name, device).probabilities


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--filedir", "-filedir", help="generations: stage 3's .jsonl, or a published .txt listing")
    parser.add_argument("--type", "-type", help="the model's name, first directory of the result")
    parser.add_argument("--dataset", "-dataset", default="dialogue", help="second directory (default: %(default)s)")
    add_index_arguments(parser)
    parser.add_argument("--probes", help="stage 1's <name>_prefix.json, for a listing without the .jsonl beside it")
    parser.add_argument("--output-dir", default="results", help="where <type>/<dataset>/ goes (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace the result of another run")
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="go on with generations and an index that are not of one run; every table says so",
    )
    parser.add_argument(
        "--paraphrase-model",
        default="textattack/roberta-base-MRPC",
        help="paraphrase classifier: path, hub name, or none (default: %(default)s)",
    )
    parser.add_argument("--profile", choices=PROFILES, default="paper", help="parameters (default: %(default)s)")
    parser.add_argument(
        "--direction",
        choices=["pan", "paper", "both"],
        default="pan",
        help="pan: the generation is the suspicious text; paper: the training text is, as published (default: pan)",
    )
    parser.add_argument(
        "--span-length",
        type=int,
        default=50,
        help="a copied run of more characters makes a generation verbatim (default: %(default)s)",
    )
    parser.add_argument("--pairs", help="align the pairs of texts of this .jsonl file (- is standard input) instead")
    parser.add_argument("--output", default="-", help="of --pairs (default: -, standard output)")
    parser.add_argument("--jobs", type=int, default=1, help="processes of --pairs (default: %(default)s)")
    run(main, parser.parse_args())
