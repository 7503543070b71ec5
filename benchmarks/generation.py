"""Speed of stage 3's greedy decoding beside plain batched `generate` of transformers:

    python benchmarks/generation.py --model 8x512 --batches 4

A random GPT-Neo of so many layers of such a width. Its probes' suffixes are made up, so that it reproduces none of
them, or half of them are what it generates itself. Plain: every prefix continued by `generate`, in batches of the same
size, and the pass over the suffixes without which there are no scores. Ours: the pass, and what it did not verify
decoded; in half precision, where nothing is verified, both one after the other. Ideal: as many times as fast as there
are tokens to each that is not verified; of both: if so much of `generate` were saved and the pass were as it is. Where
generate gives other tokens, rounding decided between two that are nearly tied; the right ones are those of the text
alone, read anew for each token. On a CPU with --threads 1 the times are processor time, which other work on the
machine changes least, else wall-clock time; the best of --rounds. A GPU is taken if there is one, and its peak memory
told.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from memorization.extraction.decoding import is_exact, next_token
from memorization.extraction.engine import DecodingSettings, Prompt
from memorization.extraction.matches import matched_tokens
from memorization.extraction.teacher_forcing import token_scores
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.shell.cli import Parser, run

EOS = 0


def main(args):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)
    with torch.device(device):
        model = make(*map(int, args.model.split("x")), args.vocabulary, args.prefix_length + args.new_tokens).to(dtype)
    rng = np.random.default_rng(0)
    shape = args.batches * args.batch_size
    prefixes, made_up = (
        rng.integers(1, args.vocabulary, (shape, length)).tolist() for length in (args.prefix_length, args.new_tokens)
    )
    peak = {}

    def clock():
        if device == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if device == "cpu" and args.threads == 1 else time.perf_counter()

    def timed(work, *columns):
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        begin = clock()
        generated = work(*columns)
        taken = clock() - begin
        if device == "cuda":
            peak[work.__name__] = torch.cuda.max_memory_allocated() / 2**30
        return generated, taken

    def in_batches(work, *columns):
        starts = range(0, shape, args.batch_size)
        return [one for i in starts for one in work(*(column[i : i + args.batch_size] for column in columns))]

    def plain():
        return in_batches(lambda ids: generate(model, ids, args.new_tokens), prefixes)

    def once(suffixes):
        return in_batches(lambda *batch: token_scores(model, *batch), prefixes, suffixes)

    def ours(suffixes):
        engine = TransformersEngine(model, [EOS], DecodingSettings(args.new_tokens), args.batch_size)
        probes = [
            {"prefix_ids": prefix, "suffix_ids": suffix} for prefix, suffix in zip(prefixes, suffixes, strict=True)
        ]
        generations = []
        for start in range(0, shape, engine.batch_size):
            batch = probes[start : start + engine.batch_size]
            scores = engine.score(batch)
            generations += engine.generate([Prompt(probe, 0, one) for probe, one in zip(batch, scores, strict=True)])
        return generations

    wanted = plain()
    half = [ids if i % 2 and ids else made_up[i] for i, ids in enumerate(wanted)]
    ours(half)  # as often as plain: what libraries make ready at first use is no part of the time
    best, same = {}, {}
    for _ in range(args.rounds):
        _, plainly = timed(plain)
        for name, suffixes in (("none", made_up), ("half", half)):
            (_, scored), (generated, own) = timed(once, suffixes), timed(ours, suffixes)
            best[name] = np.minimum(best.get(name, np.inf), (plainly, scored, own))
            others = [i for i in range(shape) if generated[i] != wanted[i]] if is_exact(model) else []
            same[name] = (
                shape - sum(generated[i] != alone(model, prefixes[i], args.new_tokens) for i in others),
                len(others),
            )
    weights = sum(weight.numel() for weight in model.parameters())
    where = torch.cuda.get_device_name() if device == "cuda" else device
    print(f"{weights / 1e6:.0f} million weights, {args.dtype}, {shape} probes, batches of {args.batch_size}, {where}\n")
    head = "generate | pass | ours | of generate | ideal | of both | its ideal | right tokens | other than generate"
    print(f"| reproduced | {head} |\n|---|{'---:|' * 9}")
    tokens = sum(map(len, wanted))
    for (name, (plainly, scored, own)), suffixes in zip(best.items(), (made_up, half), strict=True):
        left = tokens - sum(map(matched_tokens, wanted, suffixes))
        print(
            f"| {name} | {plainly:.1f} s | {scored:.1f} s | {own:.1f} s | {plainly / own:.2f} | {tokens / left:.2f} "
            f"| {(plainly + scored) / own:.2f} | {(plainly + scored) / (scored + plainly * left / tokens):.2f} "
            f"| {same[name][0]} of {shape} | {same[name][1]} |"
        )
    if peak:
        print(f"\nmemory: generate {peak['plain']:.1f} GiB, pass {peak['once']:.1f} GiB, ours {peak['ours']:.1f} GiB")


def make(layers, width, vocabulary, length):
    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_layers=layers,
        num_heads=max(1, min(16, width // 64)),
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


def alone(model, prefix, new_tokens):
    ids = list(prefix)
    while len(ids) < len(prefix) + new_tokens and (token := next_token(model, ids)) != EOS:
        ids.append(token)
    return ids[len(prefix) :]


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--model", default="8x512", help="layers x width (default: %(default)s)")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--prefix-length", type=int, default=50)
    parser.add_argument("--new-tokens", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    run(main, parser.parse_args())
