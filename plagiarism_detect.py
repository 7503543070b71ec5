"""Stage 5: align each generation with its ten best candidates; label it and count.

    python plagiarism_detect.py --filedir ./memorization_finetuned_dialogue/dialogue/dialogue.jsonl \\
        --type gpt-neo-small --dataset dialogue --index-xsuffix dialogue_suffix --paraphrase-model none

Writes <type>/<dataset>/detections.jsonl (one row a generation), result.json and result.txt. A killed run goes on where
it was; `torchrun --nproc-per-node 4 plagiarism_detect.py ...` shares the work among processes. Given pairs of texts,
without an index or a model:

    python plagiarism_detect.py --pairs pairs.jsonl --profile pan --output alignments.jsonl
"""

from pathlib import Path

from tqdm import tqdm

from memorization.alignment import PROFILES
from memorization.cli import Parser, UserError, run
from memorization.detection.detect import BATCH, detect
from memorization.detection.pairs import run_pairs
from memorization.extraction.listing import read_generations
from memorization.files import fingerprints, manifest_path, write_json, write_text
from memorization.results import tables
from memorization.retrieval import add_index_arguments, open_index
from memorization.rows import Rows, run_key


def main(args):
    if args.pairs:
        return run_pairs(args.pairs, args.output, args.profile, args.jobs)
    for flag in ("filedir", "type", "index_xsuffix"):
        if not getattr(args, flag):
            raise UserError(f"--{flag.replace('_', '-')} is needed; --help shows a command that works")
    rows, sources = read_generations(args.filedir, args.probes, f"tokenized_data/{args.dataset}_prefix.json")
    index = open_index(args)
    index.check()
    directions = ["pan", "paper"] if args.direction == "both" else [args.direction]

    from accelerate import PartialState  # imports torch, which --pairs does without

    state = PartialState(cpu=not has_accelerator())
    result = Path(args.output_dir) / args.type / args.dataset / "detections.jsonl"
    classifier = None if args.paraphrase_model == "none" else args.paraphrase_model
    index_manifest = manifest_path(Path(args.indexes) / args.index_xsuffix)
    inputs = fingerprints([*sources, index_manifest, *([classifier] if classifier else [])])
    settings = {name: getattr(args, name) for name in ("profile", "direction", "paraphrase_model")}
    key = run_key({**settings, "index": index.where}, inputs)
    ids = [row["id"] for row in rows]
    detections = Rows(result, key, ids, BATCH, state.process_index, state.num_processes)
    state.wait_for_everyone()  # all ranks have seen what is done before any adds to it
    if state.is_main_process:
        print(f"{detections.progress}; searching {index.where}")
    mine = detections.mine
    classify = load_classifier(classifier, state.device) if classifier and mine else None
    hidden = not (mine and state.is_main_process)
    with tqdm(total=sum(len(batch) for _, batch in mine), desc="detecting", disable=hidden) as bar:
        for _, batch in mine:
            part = rows[batch.start : batch.stop]
            detections.append(detect(part, index, args.profile, directions, classify))
            bar.update(len(part))
    state.wait_for_everyone()
    if not state.is_main_process:
        return None

    finished = detections.finish(args, inputs, index=index.where)
    summary = {"profile": args.profile, "direction": directions[0], "paraphrase_model": classifier}
    summary |= tables.summarize(finished)
    summary["without_scan"] = tables.summarize(finished, "label_without_scan")
    summary["first_label"] = tables.summarize(finished, "first_label")
    published = finished
    if args.direction == "both":
        published = [{**row, **row["paper"]} for row in finished]
        summary["paper"] = tables.summarize(published)
    write_json(result.with_name("result.json"), summary)
    counts = tables.published_counts(published)
    write_text(result.with_name("result.txt"), tables.published_line(counts))
    print(tables.table(summary))
    print(f"\nwrote {result}, result.json and result.txt")
    return None


def has_accelerator():
    import torch

    return torch.accelerator.is_available()


def load_classifier(name, device):
    from memorization.detection.paraphrase import ParaphraseClassifier

    return ParaphraseClassifier(name, device).probabilities


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--filedir", "-filedir", help="generations: stage 3's .jsonl, or a published .txt listing")
    parser.add_argument("--type", "-type", help="the model's name, first directory of the output")
    parser.add_argument("--dataset", "-dataset", default="dialogue", help="second directory (default: %(default)s)")
    add_index_arguments(parser)
    parser.add_argument("--probes", help="stage 1's probes (default: tokenized_data/<dataset>_prefix.json)")
    parser.add_argument("--output-dir", default=".", help="where <type>/<dataset>/ goes (default: %(default)s)")
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
    parser.add_argument("--pairs", help="align the pairs of texts of this .jsonl file (- is standard input) instead")
    parser.add_argument("--output", default="-", help="of --pairs (default: -, standard output)")
    parser.add_argument("--jobs", type=int, default=1, help="processes of --pairs (default: %(default)s)")
    run(main, parser.parse_args())
