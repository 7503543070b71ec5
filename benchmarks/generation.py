"""Speed of stage 3's greedy decoding beside plain batched `generate` of transformers:

    python benchmarks/generation.py --model 8x512 --batches 4

A random GPT-Neo of so many layers of such a width. Its probes' suffixes are made up, so that it reproduces none of
them, or half of them are what it generates itself. Plain: every prefix continued by `generate`, in batches of the same
size, and the pass over the suffixes without which there are no scores. Ours: the pass, and what it did not verify
decoded. Ideal: as many times as fast as there are tokens to each that is not verified. On a CPU with --threads 1 the
times are processor time, which other work on the machine changes least, else wall-clock time.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from memorization.cli import Parser, run
from memorization.extraction.decoding import continued
from memorization.extraction.generation import rounding
from memorization.extraction.matches import matched_tokens
from memorization.extraction.scoring import token_scores

EOS = 0


def main(args):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(args.threads)
    model = make(*map(int, args.model.split("x")), args.vocabulary, args.prefix_length + args.new_tokens).to(device)
    rng = np.random.default_rng(0)
    shape = args.batches * args.batch_size
    prefixes, made_up = (
        rng.integers(1, args.vocabulary, (shape, length)).tolist() for length in (args.prefix_length, args.new_tokens)
    )

    def clock():
        if device == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if device == "cpu" and args.threads == 1 else time.perf_counter()

    def timed(work):
        begin = clock()
        found = work()
        return found, clock() - begin

    def in_batches(work, *columns):
        starts = range(0, shape, args.batch_size)
        return [one for i in starts for one in work(*(column[i : i + args.batch_size] for column in columns))]

    def ours(suffixes):
        batches = in_batches(lambda *batch: [batch], prefixes, suffixes)
        return [ids for _, of in continued(model, batches, args.new_tokens, EOS, args.batch_size) for ids in of]

    plainly = lambda ids: generate(model, ids, args.new_tokens)  # noqa: E731
    plainly(prefixes[: args.batch_size])
    rounding(model)
    wanted = in_batches(plainly, prefixes)
    half = [ids if i % 2 and ids else made_up[i] for i, ids in enumerate(wanted)]
    weights = sum(weight.numel() for weight in model.parameters())
    print(f"{weights / 1e6:.0f} million weights, {shape} probes, batches of {args.batch_size}, {device}\n")
    print("| reproduced | generate | pass | ours | of generate | of both | ideal | same tokens |\n|---|" + "---:|" * 7)
    for name, suffixes in (("none", made_up), ("half", half)):
        best = [np.inf] * 3
        for _ in range(args.rounds):
            _, plain = timed(lambda: in_batches(plainly, prefixes))
            _, once = timed(
                lambda suffixes=suffixes: in_batches(lambda *b: token_scores(model, *b), prefixes, suffixes)
            )
            found, own = timed(lambda suffixes=suffixes: ours(suffixes))
            best = np.minimum(best, (plain, once, own))
        plain, once, own = best
        verified = sum(map(matched_tokens, wanted, suffixes))
        tokens = sum(map(len, wanted))
        same = sum(one == other for one, other in zip(found, wanted, strict=True))
        print(
            f"| {name} | {plain:.1f} s | {once:.1f} s | {own:.1f} s | {plain / own:.2f} | {(plain + once) / own:.2f} "
            f"| {tokens / (tokens - verified):.2f} | {same} of {shape} |",
            flush=True,
        )


def make(layers, width, vocabulary, length):
    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_layers=layers,
        num_heads=max(1, width // 64),
        attention_types=[[["global", "local"], layers // 2]],
        max_position_embeddings=length,
        bos_token_id=EOS,
        eos_token_id=EOS,
    )
    return GPTNeoForCausalLM(config).eval()


@torch.inference_mode()
def generate(model, prefixes, new_tokens):
    """What transformers makes of prefixes of one length, greedy, as lists of token ids."""
    ids = torch.tensor(prefixes, device=model.device)
    flags = {"max_new_tokens": new_tokens, "do_sample": False, "eos_token_id": EOS, "pad_token_id": EOS}
    rows = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **flags)[:, ids.shape[1] :].tolist()
    return [row[: row.index(EOS)] if EOS in row else row for row in rows]


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--model", default="8x512", help="layers x width (default: %(default)s)")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--prefix-length", type=int, default=50)
    parser.add_argument("--new-tokens", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    run(main, parser.parse_args())
