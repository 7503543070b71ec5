"""Stage 1: encode a task's data into tokenized training and test sets and the probes of both.

    python encode_dialogue.py

encodes the project's own made-up dialogues; data of your own:

    python encode_dialogue.py --data HealthCareMagic-100k.json --tokenizer EleutherAI/gpt-neo-125m

Writes, under --output-dir: tokenized_<name>_train/ and tokenized_<name>_test/ (id, text, input_ids, attention_mask,
labels), tokenized_<name>_prefix/ (the probes' token ids) and <name>_prefix.json (the probes as text).
"""

from collections import Counter
from pathlib import Path

import numpy as np
from datasets import Dataset

from memorization.cli import Parser, UserError, run
from memorization.encoding.data import add_data_arguments, read_data
from memorization.encoding.dialogues import make_dialogues
from memorization.encoding.probes import write_probes
from memorization.encoding.tasks import dialogue_text
from memorization.encoding.tokens import encode, probe_ids
from memorization.files import fingerprints, manifest_path, replacing, write_manifest
from memorization.hub import load_tokenizer
from memorization.runs import tokenizer_fingerprint


def main(args):
    if not 0 < args.test_size < 1:
        raise UserError(f"--test-size {args.test_size:g}: not a share between 0 and 1; give 0.1, say")
    for flag in ("prefix_length", "min_suffix_length", "max_samples", "num_proc"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise UserError(f"--{flag.replace('_', '-')} {getattr(args, flag)}: must be at least 1")
    rows = (read_data(args) if args.data else make_dialogues())[: args.max_samples]
    tokenizer = load_tokenizer(args.tokenizer)
    name = args.data or "made-up dialogues"

    texts = [dialogue_text(**row) for row in rows]
    duplicates = Counter(texts)
    first = {text: i for i, text in reversed(list(enumerate(texts)))}
    rng = np.random.default_rng(args.seed)
    distinct = rng.permutation(sorted(first.values())).tolist()
    if len(distinct) < 2:
        raise UserError(f"{name}: only one distinct sample; give two at the least, to train on and to hold out")
    test_size = min(max(round(len(distinct) * args.test_size), 1), len(distinct) - 1)
    held_out = set(distinct[:test_size])

    samples = encode(Dataset.from_dict({"id": range(len(texts)), "text": texts}), tokenizer, args.num_proc)
    probes, tokens, too_short = [], [], 0
    for sample in samples.select(sorted(distinct)):
        i = sample["id"]
        split = probe_ids(sample, args.prefix_length)
        if split is None or len(split["suffix_ids"]) < args.min_suffix_length:
            too_short += 1
            continue
        member, text, cut = i not in held_out, sample["text"], split.pop("cut")
        tokens.append({"id": i, "member": member, **split})
        probes.append(
            {"id": i, "member": member, "prefix": text[:cut], "suffix": text[cut:], "duplicates": duplicates[text]}
        )
    if not probes:
        raise UserError(
            f"{name}: all {too_short} samples are shorter than {args.prefix_length} + {args.min_suffix_length} "
            "tokens; lower --prefix-length or --min-suffix-length, or give longer texts"
        )

    held_out_texts = {texts[i] for i in held_out}
    order = rng.permutation(len(texts)).tolist()
    sides = {
        "train": [i for i in order if texts[i] not in held_out_texts],
        "test": [i for i in order if texts[i] in held_out_texts],
    }
    columns = ["id", "text", "input_ids", "attention_mask", "labels"]
    results = {side: samples.select(ids).select_columns(columns) for side, ids in sides.items()}
    results["prefix"] = Dataset.from_list(tokens)
    facts = {
        "rows": {side: len(result) for side, result in results.items()},
        "distinct_samples": len(distinct),
        "samples_too_short_for_a_probe": too_short,
        "tokenizer": tokenizer_fingerprint(tokenizer),
    }
    inputs = fingerprints(path for path in (args.data, args.tokenizer) if path)
    out = Path(args.output_dir)
    listing = out / f"{args.name}_prefix.json"
    paths = {side: out / f"tokenized_{args.name}_{side}" for side in results}
    for path in [*paths.values(), listing]:  # a killed run leaves results without manifest, never two runs' mixed
        manifest_path(path).unlink(missing_ok=True)
    for side, path in paths.items():
        with replacing(path) as temporary:
            results[side].save_to_disk(str(temporary))
    write_probes(listing, probes)
    for path in [*paths.values(), listing]:
        write_manifest(path, args, inputs, **facts)

    members = sum(probe["member"] for probe in probes)
    print(
        f"{len(texts)} samples, {len(distinct)} of them distinct: "
        f"{len(sides['train'])} to train on, {len(sides['test'])} held out"
    )
    print(
        f"{len(probes)} probes: {members} members, {len(probes) - members} non-members; {too_short} samples too short"
    )
    for path in [*paths.values(), listing]:
        print(f"wrote {path}")


if __name__ == "__main__":
    parser = Parser(__doc__)
    add_data_arguments(parser)
    default_tokenizer = Path(__file__).parent / "configs" / "gpt-neo-small"
    parser.add_argument("--tokenizer", default=str(default_tokenizer), help="path or hub name (default: %(default)s)")
    parser.add_argument("--name", default="dialogue", help="what the outputs are called (default: %(default)s)")
    parser.add_argument("--output-dir", default="tokenized_data", help="where they go (default: %(default)s)")
    parser.add_argument("--prefix-length", type=int, default=50, help="tokens of a prefix (default: %(default)s)")
    parser.add_argument(
        "--min-suffix-length", type=int, default=20, help="least tokens of a suffix (default: %(default)s)"
    )
    parser.add_argument("--max-samples", type=int, help="take only the first N samples of the data (default: all)")
    parser.add_argument("--test-size", type=float, default=0.1, help="share of held-out samples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="of the shuffle and split (default: %(default)s)")
    parser.add_argument("--num-proc", type=int, default=1, help="processes that tokenize (default: %(default)s)")
    run(main, parser.parse_args())
