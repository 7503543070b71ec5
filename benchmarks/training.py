"""Speed of stage 2: samples padded to the block, in batches of one length, and packed, side by side in one run:

    python benchmarks/training.py --texts dialogues.json --model 4x256

A random GPT-Neo of so many layers of such a width takes optimizer steps on real dialogues (--texts: a JSON list with
instruction, input and output) or on made-up ones of as various lengths, cut at the block size. Counted are the tokens
of samples, not of padding. Padded: each batch to the block size, as published; random: to its longest sample; grouped:
the same, in batches of much the same length; packed: rows of the block size, of as many samples as go in. On a CPU with
--threads 1 the times are processor time, which other work on the machine changes least, else wall-clock time.
"""

import sys
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from datasets import Dataset
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from memorization.models.hub import load_tokenizer
from memorization.shell.cli import Parser, run
from memorization.store.files import read_json
from memorization.training.length_grouping import LengthGroupedSampler
from memorization.training.packing import Packs, collate_packs
from memorization.training.token_blocks import IGNORED, Blocks, collate


def main(args):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(args.threads)
    ids = tokenized(args.texts) if args.texts else made_up()
    blocks = Blocks(Dataset.from_dict({"input_ids": ids, "labels": ids}), args.block_size)
    lengths, packs, size = blocks.lengths, Packs(blocks, seed=0), args.batch_size
    print(f"{len(blocks)} samples of {lengths.mean():.0f} tokens on average, blocks of {args.block_size}, {device}")
    model, optimizer = None, None

    def to_block(batch, pad_token_id):
        batch = collate(batch, pad_token_id)
        missing = args.block_size - batch["labels"].shape[1]
        fills = {"input_ids": pad_token_id, "attention_mask": 0, "labels": IGNORED}
        return {name: torch.nn.functional.pad(part, (0, missing), value=fills[name]) for name, part in batch.items()}

    def clock():
        if device == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if device == "cpu" and args.threads == 1 else time.perf_counter()

    def speed(samples, order, collate):
        """Tokens a second of as many steps as were asked for."""
        begin, tokens = clock(), 0
        for step in range(args.steps):
            batch = collate([samples[i] for i in order[step * size : (step + 1) * size]], pad_token_id=0)
            tokens += int(
                batch["attention_mask"].sum() if "attention_mask" in batch else (batch["input_ids"] > 0).sum()
            )
            loss = model(**{name: part.to(device) for name, part in batch.items()}, use_cache=False).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return tokens / (clock() - begin)

    model = make(*map(int, args.model.split("x")), args.block_size).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    at_random, of_packs = (np.random.default_rng(0).permutation(len(samples)).tolist() for samples in (blocks, packs))
    ways = {
        "padded to the block": partial(speed, blocks, at_random, to_block),
        "random": partial(speed, blocks, at_random, collate),
        "grouped": partial(speed, blocks, list(LengthGroupedSampler(lengths, size, seed=0)), collate),
        "packed": partial(speed, packs, of_packs, collate_packs),
    }
    if args.steps * size > min(len(blocks), len(packs)):
        sys.exit(f"only {len(packs)} packs: lower --steps or --batch-size")
    speeds = {way: [] for way in ways}
    for _ in range(args.rounds + 1):  # the first warms up
        for way, measure in ways.items():
            speeds[way].append(measure())
    print("\n| | tokens/s | of padded |\n|---|---:|---:|")
    for way in ways:
        best = max(speeds[way][1:])
        print(f"| {way} | {best:,.0f} | {best / max(speeds['padded to the block'][1:]):.2f} |")


def tokenized(path):
    """Token ids of the texts of a JSON list of dialogues, by the small tokenizer."""
    tokenizer = load_tokenizer(ROOT / "configs" / "gpt-neo-small")
    texts = [" ".join(filter(None, row.values())) for row in read_json(path, list[dict[str, str]])]
    return [[token + 1 for token in ids] for ids in tokenizer(texts)["input_ids"]]  # 0 pads


def made_up(count=4000):
    """Token ids of samples whose lengths are spread as those of real dialogues are."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(1, 2048, length).tolist() for length in rng.lognormal(5.4, 0.5, count).clip(20, 2000).astype(int)
    ]


def make(layers, width, block_size):
    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=2049,
        hidden_size=width,
        num_layers=layers,
        num_heads=max(1, width // 64),
        attention_types=[[["global", "local"], layers // 2]],
        max_position_embeddings=block_size,
    )
    return GPTNeoForCausalLM(config).train()


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--texts", help="JSON list of dialogues (default: made-up lengths)")
    parser.add_argument("--model", default="4x256", help="layers x width (default: %(default)s)")
    parser.add_argument("--block-size", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    run(main, parser.parse_args())
