"""Stage 3: continue each probe's prefix with a model, and tell how much of the suffix it reproduces.

    python inference_prefix.py --model-path ./finetuned_models/finetuned_dialogue --subset-name dialogue

Reads stage 1's probes under --tokenized-dir. Writes memorization_<dir-name>/<subset-name>/<output-name>.jsonl, one row
a probe, and beside it the published .txt listing. A killed run goes on where it was; on several GPUs:

    torchrun --nproc-per-node 4 inference_prefix.py --model-path ./finetuned_models/finetuned_dialogue
"""

from pathlib import Path

import torch
from accelerate import PartialState
from datasets import load_from_disk
from tqdm import tqdm
from transformers import AutoConfig

from memorization import hub
from memorization.cli import Parser, UserError, run
from memorization.encoding.probes import read_probes
from memorization.extraction.generation import check_context, continue_prefixes
from memorization.extraction.listing import write_listing
from memorization.extraction.matches import exact_match, matched_tokens
from memorization.files import fingerprints, read_manifest
from memorization.hub import load_tokenizer
from memorization.models import load_for_generation
from memorization.rows import Rows, run_key
from memorization.runs import tokenizer_fingerprint


def main(args):
    for flag, least in {"batch_size": 1, "max_new_tokens": 1, "temperature": 0, "top_k": 0}.items():
        if getattr(args, flag) < least:
            raise UserError(f"--{flag.replace('_', '-')} {getattr(args, flag):g}: must be at least {least}")
    if not 0 < args.top_p <= 1:
        raise UserError(f"--top-p {args.top_p:g}: must be over 0 and at most 1")
    tokenized = Path(args.tokenized_dir)
    prefix_ids = tokenized / f"tokenized_{args.subset_name}_prefix"
    texts = tokenized / f"{args.subset_name}_prefix.json"
    probes = read_probes(texts)
    manifest = read_manifest(prefix_ids)
    tokens = load_from_disk(str(prefix_ids))
    if tokens["id"][:] != [probe["id"] for probe in probes]:
        raise UserError(f"{prefix_ids} and {texts} hold different probes; run encode_dialogue.py again")

    tokenizer = load_tokenizer(args.token_path or args.model_path)
    if tokenizer_fingerprint(tokenizer) != manifest["tokenizer"]:
        raise UserError(
            f"{args.token_path or args.model_path}: another tokenizer than the probes in {prefix_ids} were encoded "
            "with; encode with --tokenizer set to it, or name the right one by --token-path"
        )
    config = hub.load(AutoConfig.from_pretrained, args.model_path, "a model configuration")
    check_context(config, max(map(len, tokens["prefix_ids"])), args.max_new_tokens)

    result = Path(args.output_dir) / f"memorization_{args.dir_name}" / args.subset_name / f"{args.output_name}.jsonl"
    settings = ("max_new_tokens", "batch_size", "dtype", "temperature", "top_k", "top_p", "seed")
    inputs = fingerprints([args.model_path, prefix_ids, texts])
    key = run_key({name: getattr(args, name) for name in settings}, inputs)
    state = PartialState(cpu=not torch.accelerator.is_available())
    ids = [probe["id"] for probe in probes]
    rows = Rows(result, key, ids, args.batch_size, state.process_index, state.num_processes)
    state.wait_for_everyone()  # all ranks have seen what is done before any adds to it
    if state.is_main_process:
        print(rows.progress)
    model = load_for_generation(args.model_path, args.dtype, state.device) if rows.mine else None
    hidden = not (rows.mine and state.is_main_process)
    for n, positions in tqdm(rows.mine, desc="generating", unit="batch", disable=hidden):
        batch = tokens[positions.start : positions.stop]
        torch.manual_seed(args.seed + n)
        generations = continue_prefixes(
            model,
            batch["prefix_ids"],
            args.max_new_tokens,
            tokenizer.eos_token_id,
            args.temperature,
            args.top_k,
            args.top_p,
        )
        rows.append(
            {
                **probes[i],
                "generation": tokenizer.decode(generation, skip_special_tokens=True),
                "generation_ids": generation,
                "matched_tokens": matched_tokens(generation, suffix),
                "exact_match": exact_match(generation, suffix, args.max_new_tokens),
            }
            for i, generation, suffix in zip(positions, generations, batch["suffix_ids"], strict=True)
        )
    state.wait_for_everyone()
    if not state.is_main_process:
        return
    finished = rows.finish(args, inputs, tokenizer=manifest["tokenizer"])
    write_listing(result.with_suffix(".txt"), {row["id"]: row["generation"] for row in finished})
    for name, member in {"members": True, "non-members": False}.items():
        side = [row for row in finished if row["member"] == member]
        if side:
            exact = sum(row["exact_match"] for row in side)
            mean = sum(row["matched_tokens"] for row in side) / len(side)
            print(f"{name}: {exact} of {len(side)} reproduced exactly, {mean:.1f} tokens matched on average")
    print(f"wrote {result} and {result.with_suffix('.txt')}")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--model-path", required=True, help="the causal LM: path or hub name")
    parser.add_argument("--token-path", help="its tokenizer: path or hub name (default: --model-path)")
    parser.add_argument(
        "--subset-name", "--subset_name", default="dialogue", help="stage 1's --name (default: %(default)s)"
    )
    parser.add_argument(
        "--output-name", "--output_name", default="dialogue", help="name of the result (default: %(default)s)"
    )
    parser.add_argument(
        "--dir-name", "--dir_name", default="finetuned_dialogue", help="directory of the result (default: %(default)s)"
    )
    parser.add_argument("--tokenized-dir", default="tokenized_data", help="where stage 1 wrote (default: %(default)s)")
    parser.add_argument("--output-dir", default=".", help="where memorization_<dir-name>/ goes (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=100, help="tokens of a generation (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="probes at a time (default: %(default)s)")
    parser.add_argument(
        "--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto", help="auto: the checkpoint's"
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default: %(default)s)")
    parser.add_argument("--top-k", type=int, default=0, help="sample among the k likeliest tokens; 0: all (default)")
    parser.add_argument(
        "--top-p", type=float, default=1.0, help="sample among the likeliest that sum to p (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=5, help="of the sampling (default: %(default)s)")
    run(main, parser.parse_args())
