"""Stage 5: align each generation with its ten best candidates and with its own suffix; label it and count.

    python plagiarism_detect.py --filedir ./memorization_finetuned_dialogue/dialogue/dialogue.jsonl \\
        --type gpt-neo-small --dataset dialogue --index-xsuffix dialogue_suffix --paraphrase-model none

Writes results/<type>/<dataset>/detections.jsonl (one row a generation), result.json and result.txt. A killed run goes
on where it was; `torchrun --nproc-per-node 4 plagiarism_detect.py ...` shares the work among processes. Given pairs of
texts, without an index or a model:

    python plagiarism_detect.py --pairs pairs.jsonl --profile pan --output alignments.jsonl
"""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
from tqdm import tqdm

from memorization.alignment import PROFILES
from memorization.detection.detect import BATCH, Settings, begin, compare_here, judge
from memorization.detection.detections import Detection
from memorization.detection.inputs import detections_made_of, misfits
from memorization.detection.kinds import DETECTIONS
from memorization.detection.pairs import run_pairs
from memorization.detection.spans import SpanIndex
from memorization.encoding.prompt_counts import count_prompts
from memorization.extraction.exposures import read_exposures
from memorization.extraction.generations import NOT_LISTED, Generation, read_generations
from memorization.extraction.kinds import GENERATIONS
from memorization.models.ranks import ranks
from memorization.results.canaries import summarize_canaries
from memorization.results.facts import facts_of
from memorization.results.summarize import PublishedCounters, summarize
from memorization.results.summary import result_json
from memorization.results.tables import summary_text
from memorization.retrieval import IndexSettings, add_index_arguments, open_index
from memorization.shell.cli import Parser, UserError, run
from memorization.shell.flags import PROCESSES, nested_name, whole
from memorization.shell.parallel import cores, in_order
from memorization.store import locations, manifests
from memorization.store.files import fingerprints, write_json, write_text
from memorization.store.rows import Rows, base_rows

PAYS = 8  # batches that take as long as starting another process


def main(args):
    if args.pairs:
        return run_pairs(args.pairs, args.output, args.profile, args.jobs or cores())
    for flag in ("filedir", "type", "index_xsuffix"):
        if not getattr(args, flag):
            raise UserError(f"--{flag.replace('_', '-')} is needed; --help shows a command that works")
    generations, manifest = read_generations(args.filedir, args.probes, args.unchecked)
    index = open_index(IndexSettings.of(args))
    indexed = index.made_of()
    if differs := misfits(generations, manifest, indexed):
        differs = f"{index.where}: is not the index of the generations in {args.filedir}: another {differs}"
        if not args.unchecked:
            raise UserError(f"{differs}; load theirs with load_to_elastic.py, or go on with --unchecked")
    directions = ("pan", "paper") if args.direction == "both" else (args.direction,)
    settings = Settings(args.profile, directions, args.candidates, args.span_length)
    classifier = None if args.paraphrase_model == "none" else find_classifier(args.paraphrase_model)
    recognizer = load_recognizer(args.ner_model) if args.ner_model else None
    pipeline = recognizer and recognizer.directory
    unchecked = bool(differs or not manifest or manifest.made_of.get("unchecked", True))
    named = {
        name: getattr(args, name) for name in ("profile", "direction", "candidates", "span_length", "loop_repeats")
    }
    path = locations.detections_path(args.output_dir, args.type, args.dataset)
    models = [(path, generations, manifest)]
    of_base = manifest and base_rows(Path(args.filedir).with_suffix(".jsonl"), GENERATIONS, manifest, Generation)
    if of_base:
        models.append((locations.base_path(path), of_base, of_base.manifest))
    before = of_base and manifest.facts["base"]
    exposures = manifest and read_exposures(Path(args.filedir).with_suffix(".jsonl"), manifest)
    of_canaries = exposures and summarize_canaries(exposures, exposures.manifest.made_of)

    spans = SpanIndex(args.indexes, indexed["encoding"])
    named["regions"] = list(spans.regions)
    state = ranks(needed=classifier is not None)
    rank = (state.process_index, state.num_processes)
    with ExitStack() as stack:
        results = []
        for where, rows, source in models:
            made_of = detections_made_of(rows, source, indexed, named, classifier, pipeline, unchecked)
            keys = [row.key for row in rows]
            beside = [] if results else [path.with_name("result.json"), path.with_name("result.txt")]
            results.append(Rows(where, DETECTIONS, Detection, made_of, keys, BATCH, *rank, args.overwrite, beside))
            stack.enter_context(results[-1])
        state.wait_for_everyone()  # all ranks have seen what is done before any adds to it
        mine = any(detections.mine for detections in results)
        if state.is_main_process:
            if differs:
                print(f"WARNING: {differs}", file=sys.stderr)
            print(*(detections.progress for detections in results), f"searching {index.where}", sep="; ")
            if classifier and mine:
                print(f"loading {args.paraphrase_model}", flush=True)
        classify = load_classifier(classifier, state.device) if classifier and mine else None
        opening = (
            partial(open_index, IndexSettings.of(args)),
            partial(SpanIndex, args.indexes, indexed["encoding"], spans.mark),
            settings,
            indexed,
        )
        for detections, (_, rows, _) in zip(results, models, strict=True):
            judges = (spans, args.span_length, classify, recognizer and recognizer.of)
            fill(detections, rows, judges, opening, args, state.is_main_process)
        state.wait_for_everyone()
        if not state.is_main_process:
            return None

        inputs = fingerprints([args.filedir])
        prompts = manifest and manifest.facts.get("prompts")
        prompts = prompts or count_prompts(row.prefix for row in generations if not row.sample)

        def known(source, base):
            return {
                "generations": source and source.made_of,
                "training": source and source.facts["training"],
                "held_out": source and source.facts.get("held_out"),
                "split": source and source.facts.get("split"),
                "index": indexed,
                "samples": spans.samples,
                "clusters": spans.clusters,
                "prompts": prompts,
                "not_computed": source.facts.get("not_computed", {}) if source else NOT_LISTED,
                "base": base,
                "canaries": msgspec.to_builtins(of_canaries),
            }

        link = None
        if before:
            results[1].finish(args, inputs, **known(models[1][2], None))
            link = manifests.link(results[1].path, before["model"], DETECTIONS)
        of_run = facts_of(results[0].made_of, vars(args), known(manifest, link))
        published = PublishedCounters()
        summary = summarize(published.watch(results[0]), of_run, *results[1:], canaries=of_canaries)
        identity = {"identity": manifests.identity(results[0].made_of)}
        write_json(path.with_name("result.json"), identity | result_json(summary))
        write_text(path.with_name("result.txt"), published.line())
        results[0].finish(args, inputs, **known(manifest, link))
    print(summary_text(summary))
    print(f"\nwrote {path}, result.json and result.txt")
    return None


def fill(detections, generations, judges, opening, args, shown):
    """Add this rank's batches of detections of generations.

    judges: the last arguments of `judge`. opening: those of `begin`. shown: whether to tell.
    """
    batches = (generations[batch.start : batch.stop] for _, batch in detections.mine)
    jobs = args.jobs or min(cores(), 1 + len(detections.mine) // PAYS)
    total = sum(len(batch) for _, batch in detections.mine)
    with tqdm(total=total, desc="detecting", disable=not (total and shown)) as bar:
        for rows, compared in in_order(compare_here, batches, jobs, begin, opening):
            detections.append(judge(rows, compared, *judges))
            bar.update(len(rows))


def find_classifier(name):
    from memorization.detection.paraphrase import directory

    return directory(name)


def load_recognizer(name):
    from memorization.detection.entities import Entities

    return Entities(name)


def load_classifier(name, device):
    from memorization.detection.paraphrase import ParaphraseClassifier

    return ParaphraseClassifier(name, device).probabilities


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
    parser.add_argument(
        "--paraphrase-model",
        default="textattack/roberta-base-MRPC",
        help="paraphrase classifier: path, hub name, or none (default: %(default)s)",
    )
    parser.add_argument(
        "--ner-model",
        help="a spaCy pipeline that knows names, path or installed name: they count as personal data, and are compared "
        "in paraphrases (default: without)",
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
        type=whole(1),
        default=50,
        help="a copied run of more characters makes a generation verbatim; wide characters, as Chinese ones, count as "
        "two, punctuation as none (default: %(default)s)",
    )
    parser.add_argument(
        "--candidates",
        type=whole(1, 1000),
        default=10,
        help="training suffixes a generation is aligned with (default: %(default)s)",
    )
    parser.add_argument(
        "--loop-repeats",
        type=whole(2),
        default=10,
        help="a generation in which a run of three words stands so often is a loop (default: %(default)s)",
    )
    parser.add_argument("--pairs", help="align the pairs of texts of this .jsonl file (- is standard input) instead")
    parser.add_argument("--output", default="-", help="of --pairs (default: -, standard output)")
    parser.add_argument(
        "--jobs", type=whole(1, PROCESSES), help="processes that compare (default: as many as there are cores)"
    )
    run(main, parser.parse_args())
