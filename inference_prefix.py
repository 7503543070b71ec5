"""Stage 3: continue each probe's prefix with a model, and tell how much of the suffix it reproduces.

    python inference_prefix.py --model-path ./finetuned_models/finetuned_dialogue --subset-name dialogue

Reads stage 1's probes under --tokenized-dir. Writes memorization_<dir-name>/<subset-name>/<output-name>.jsonl, one row
a generation, and beside it the published .txt listing. A killed run goes on where it was; on several GPUs:

    torchrun --nproc-per-node 4 inference_prefix.py --model-path ./finetuned_models/finetuned_dialogue
"""

if __name__ == "__main__":
    import memorization.script

import torch
from accelerate import PartialState
from tqdm import tqdm

from memorization import hub, runs
from memorization.cli import Parser, UserError, run
from memorization.encoding.canaries import read_canaries
from memorization.encoding.probes import Probes
from memorization.extraction.canaries import expose
from memorization.extraction.generation import check_model, continue_prefixes, sampling
from memorization.extraction.generations import FORMAT, Generation, write_listing
from memorization.extraction.matches import exact_match, matched_tokens, near
from memorization.extraction.scores import scores
from memorization.extraction.scoring import token_scores
from memorization.files import fingerprint
from memorization.models import load_config, load_for_generation
from memorization.results.canaries import lines, summarize
from memorization.rows import Rows


def main(args):
    if args.num_samples > 1 and not args.temperature:
        raise UserError(f"--num-samples {args.num_samples}: has no effect without sampling; add --temperature 1, say")
    probes = Probes(args.tokenized_dir, args.subset_name, args.prefix_length)
    tokenizer = matching_tokenizer(args.token_path or args.model_path, probes, "name the right one by --token-path")
    if args.base_model:
        matching_tokenizer(args.base_model, probes, "name another base model")
    for name in filter(None, (args.model_path, args.base_model)):
        check_model(name, load_config(name), tokenizer, probes.longest_prefix, args.max_new_tokens)
    canaries = read_canaries(args.tokenized_dir, args.subset_name, probes.manifest)
    state = PartialState(cpu=not torch.accelerator.is_available())
    path = runs.generations_path(args.output_dir, args.dir_name, args.subset_name, args.output_name)
    measure(args, state, probes, tokenizer, args.model_path, args.dtype, path, args.base_model, canaries=canaries)


def matching_tokenizer(name, probes, remedy):
    """The tokenizer of a name. Raises UserError for another one than the probes'."""
    tokenizer = hub.load_tokenizer(name)
    if runs.tokenizer_fingerprint(tokenizer) != probes.tokenizer:
        raise UserError(
            f"{name}: another tokenizer than the probes in {probes.path} were encoded with; encode with --tokenizer "
            f"set to it, or {remedy}"
        )
    return tokenizer


def measure(args, state, probes, tokenizer, name, dtype, path, base_model=None, tuned=None, canaries=None):
    """Write the result of the model of a name, and that of its base model beside it; return its link (main process).

    tuned: where it is the base model itself, the contents of the other one. canaries: those of the encoding.
    """
    if state.is_main_process:
        print(f"loading {name}", flush=True)
    model = load_for_generation(name, dtype, state.device)
    contents = runs.model_fingerprint(hub.directory(name))
    if contents == tuned:
        raise UserError(f"{name}: is the model itself; name by --base-model what it was before fine-tuning")
    training = runs.model_made_of(name, contents)
    strange = tuned is None and training is not None and training["encoding"] != probes.encoding
    if strange and not args.unchecked:
        raise UserError(
            f"{name}: was trained on another encoding ({training['encoding']}) than the probes in {probes.path} are of "
            f"({probes.encoding}), so members and held-out texts would be wrong; name the right ones by "
            "--tokenized-dir and --subset-name, or go on with --unchecked"
        )
    precision = str(model.dtype).removeprefix("torch.")
    made_of = {
        "model": contents,
        "encoding": probes.encoding,
        "trained_on": training and training["encoding"],
        "prefix_length": args.prefix_length,
        "max_new_tokens": args.max_new_tokens,
        "temperature": args.temperature,
        "top_k": args.top_k,
        "top_p": args.top_p,
        "num_samples": args.num_samples,
        "seed": args.seed if args.temperature else None,
        "token_scores": args.token_scores,
        "dtype": precision,
        "batch_size": args.batch_size,
        "format": FORMAT,
        "unchecked": strange,
    }
    inputs = {name: contents, str(probes.path): probes.manifest.contents}
    exposures = made_exposures = None
    if canaries:
        known = {part: made_of[part] for part in ("model", "encoding", "trained_on", "dtype", "unchecked")}
        exposures, made_exposures = expose(model, canaries, path, known, state, args, inputs)
    listing = path.with_suffix(".txt")
    keys = [(id, sample) for id in probes.ids.tolist() for sample in range(args.num_samples)]
    ranks = state.process_index, state.num_processes
    with Rows(path, "generations", Generation, made_of, keys, args.batch_size, *ranks, args.overwrite) as rows:
        state.wait_for_everyone()  # all ranks have seen what is done before any adds to it
        if state.is_main_process:
            print(rows.progress)
        hidden = not (rows.mine and state.is_main_process)
        for _, batch in tqdm(rows.mine, desc="generating", unit="batch", disable=hidden):
            rows.append(generations(model, tokenizer, probes, keys, batch, args))
        state.wait_for_everyone()
        base = None
        if base_model:
            del model  # there may be no room for both
            base = measure(args, state, probes, tokenizer, base_model, precision, runs.base_path(path), tuned=contents)
        if not state.is_main_process:
            return None
        write_listing(listing, rows, args.num_samples)  # a kill here leaves rows without a manifest, or another run's
        rows.finish(
            args,
            inputs,
            listing=fingerprint(listing),
            tokenizer=probes.tokenizer,
            training=training,
            too_short=probes.too_short,
            base=base,
            canaries=made_exposures and runs.identity(made_exposures),
        )
        report(name, rows)
        if canaries:
            print("", *lines(summarize(exposures, made_exposures)), f"wrote {runs.exposures_path(path)}", sep="\n")
    print(f"wrote {path} and {listing}")
    return runs.link(path, name, "generations")


def generations(model, tokenizer, probes, keys, batch, args):
    """The rows of a batch, a range of positions in keys."""
    n = args.num_samples
    first = batch.start // n
    nearby = probes[first : (batch.stop - 1) // n + 1]
    batch_probes = [nearby[i // n - first] for i in batch]
    batch_keys = keys[batch.start : batch.stop]
    draw = sampling(batch_keys, args.seed, args.temperature, args.top_k, args.top_p) if args.temperature else ()
    prefixes = [probe["prefix_ids"] for probe in batch_probes]
    continued = continue_prefixes(model, prefixes, args.max_new_tokens, tokenizer.eos_token_id, draw)
    scored = scores_of(
        model, tokenizer, [p for p, (_, sample) in zip(batch_probes, batch_keys, strict=True) if not sample], args
    )
    for (_, sample), probe, ids in zip(batch_keys, batch_probes, continued, strict=True):
        yield Generation(
            id=probe["id"],
            sample=sample,
            member=probe["member"],
            duplicates=probe["duplicates"],
            prefix=probe["prefix"],
            suffix=probe["suffix"],
            generation=decode(tokenizer, ids),
            generation_ids=ids,
            matched_tokens=matched_tokens(ids, probe["suffix_ids"]),
            exact_match=exact_match(ids, probe["suffix_ids"], args.max_new_tokens),
            near=near(ids, probe["suffix_ids"], args.max_new_tokens),
            scores=None if sample else scored[probe["id"]],
        )


def scores_of(model, tokenizer, probes, args):
    """dict id -> Scores of probes, from one pass over as much of their suffixes as is generated."""
    suffixes = [probe["suffix_ids"][: args.max_new_tokens] for probe in probes]
    prefixes = [probe["prefix_ids"] for probe in probes]
    passed = token_scores(model, prefixes, suffixes, args.temperature or 1.0, args.top_k, args.top_p) if probes else []
    return {
        probe["id"]: scores(tokens, decode(tokenizer, suffix), args.token_scores)
        for probe, suffix, tokens in zip(probes, suffixes, passed, strict=True)
    }


def decode(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def report(name, rows):
    print(f"{name}:")
    counts = {True: [0, 0, 0], False: [0, 0, 0]}  # generations, exact matches, matched tokens
    for row in rows:
        for i, value in enumerate((1, row.exact_match, row.matched_tokens)):
            counts[row.member][i] += value
    for name, (number, exact, tokens) in zip(("members", "non-members"), counts.values(), strict=True):
        if number:
            print(f"{name}: {exact} of {number} reproduced exactly, {tokens / number:.1f} tokens matched on average")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--model-path", required=True, help="the causal LM: path or hub name")
    parser.add_argument("--token-path", help="its tokenizer: path or hub name (default: --model-path)")
    parser.add_argument(
        "--base-model", help="the model before fine-tuning: the same with it, to compare: path or hub name"
    )
    parser.add_argument("--subset-name", default="dialogue", help="stage 1's --name (default: %(default)s)")
    parser.add_argument("--output-name", default="dialogue", help="name of the result (default: %(default)s)")
    parser.add_argument("--dir-name", default="finetuned_dialogue", help="its directory (default: %(default)s)")
    parser.add_argument("--tokenized-dir", default="tokenized_data", help="where stage 1 wrote (default: %(default)s)")
    parser.add_argument("--output-dir", default=".", help="where memorization_<dir-name>/ goes (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace the result of another run")
    parser.add_argument(
        "--unchecked", action="store_true", help="go on with probes that the model was not trained with"
    )
    parser.add_argument("--prefix-length", type=int, default=50, help="tokens of a prefix (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=100, help="tokens of a generation (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="generations at a time (default: %(default)s)")
    parser.add_argument(
        "--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto", help="auto: the checkpoint's"
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default: %(default)s)")
    parser.add_argument("--top-k", type=int, default=0, help="sample among the k likeliest tokens; 0: all (default)")
    parser.add_argument(
        "--top-p", type=float, default=1.0, help="sample among the likeliest that sum to p (default: %(default)s)"
    )
    parser.add_argument(
        "--token-scores", action="store_true", help="keep the log probability of every token of a suffix"
    )
    parser.add_argument("--num-samples", type=int, default=1, help="generations of a probe (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="of the sampling (default: %(default)s)")
    run(main, parser.parse_args())
