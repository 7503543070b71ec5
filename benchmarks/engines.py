"""Throughput of stage 3's engines beside plain transformers, and the share of what the machine could do at most:

    python benchmarks/engines.py --model ./smollm2 --batch-sizes 8 32
    python benchmarks/engines.py --random 32x4096 --dtype bfloat16 --vllm ~/vllm/bin/python

All ask the same model (a directory, or a random Llama of so many layers of such a width) for the same probes of made-up
tokens: the log probabilities of suffixes, and as many greedy tokens, of which none is as in the suffix. Plain: one pass
with logits of the suffixes, and `generate`, in batches of the batch size. transformers: the engine of this process,
given as many texts at a time as it asks for. vLLM: our engine by it, in a process of the Python that --vllm names, or
of this one where vLLM is installed here.

The limit of the scores is the arithmetic of the pass: 2 x the weights that a token goes through, over the matrix
multiplications that the machine does a second. That of the tokens is, for each step with all probes of the row at once,
the longer of the arithmetic and of reading weights and cache once from memory. Both rates are measured first; attention
is left out. Times are wall-clock times, on a CPU with --threads 1 processor time, which other work on the machine
changes least.
"""

import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from memorization.extraction.engine import DecodingSettings, Prompt
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.models.loading import load_config, load_for_generation
from memorization.shell.cli import Parser, UserError, run
from memorization.shell.parallel import batches

DEVICE = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
TEXTS = 32  # that the plain pass reads at a time: their logits are to fit into memory
HEADER = (
    "| batch | probes | engine | scores, probes/s | of the limit | tokens, probes/s | of the limit | both, probes/s |"
    " beside plain |\n|---:|---:|---|" + "---:|" * 6
)


class Plain:
    """What one would write with transformers."""

    def __init__(self, model, ends, decoding, batch_size):
        self.model, self.batch_size, self.new_tokens = model, batch_size, decoding.max_new_tokens

    @torch.inference_mode()
    def score(self, probes):
        scores = []
        for part in batches(probes, TEXTS):
            ids = torch.tensor([probe["prefix_ids"] + probe["suffix_ids"] for probe in part], device=DEVICE)
            number = len(part[0]["suffix_ids"])
            logits = self.model(input_ids=ids, logits_to_keep=number + 1, use_cache=False).logits[:, :-1].float()
            scores += logits.log_softmax(-1).gather(-1, ids[:, -number:, None])[..., 0].tolist()
        return scores

    @torch.inference_mode()
    def generate(self, prompts):
        ids = torch.tensor([prompt.probe["prefix_ids"] for prompt in prompts], device=DEVICE)
        flags = {"max_new_tokens": self.new_tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        output = self.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **flags)
        return output[:, ids.shape[1] :].tolist()


def main(args):
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as directory:
        if args.random:
            args.model = directory
            save_random(directory, *map(int, args.random.split("x")), args.dtype)
        if not args.model:
            raise UserError("--model is missing: name a directory, or a size by --random, as 24x2048")
        if args.only:
            print(json.dumps(measure(args.only, args)))
            return
        config = load_config(args.model).get_text_config()
        flops, bandwidth = measured_rates(getattr(torch, args.dtype))
        seconds = {"vLLM": of_vllm(args)} if args.vllm or find_spec("vllm") else {}
        seconds = {name: measure(name, args) for name in ("plain", "transformers")} | seconds
    weights = weights_of(config)
    print(
        f"{sum(weights) / 1e6:.0f} million weights in matrices, {args.dtype}, {args.prefix_length} + {args.new_tokens} "
        f"tokens; {torch.cuda.get_device_name() if DEVICE.type == 'cuda' else f'{torch.get_num_threads()} cores'}: "
        f"{flops / 1e12:.3g} TFLOP/s, {bandwidth / 1e9:.3g} GB/s\n\n{HEADER}"
    )
    for batch_size in args.batch_sizes:
        number = max(batch_size, args.probes)
        bounds = limits(weights, config, number, flops, bandwidth, args)
        plain = sum(seconds["plain"][str(batch_size)])
        for name, of_batches in seconds.items():
            taken = of_batches[str(batch_size)]
            cells = [f"{number / t:.3g} | {limit / t:.0%}" for t, limit in zip(taken, bounds, strict=True)]
            total = sum(taken)
            row = [batch_size, number, name, *cells, f"{number / total:.3g}", f"{plain / total:.2f}"]
            print(f"| {' | '.join(map(str, row))} |")
    if "vLLM" not in seconds:
        print("\nvLLM is not installed here: name the Python of its environment by --vllm")


def of_vllm(args):
    """What `measure` returns, from a process that leaves its memory when it ends."""
    own = ["--only", "vLLM", "--model", args.model, "--dtype", args.dtype, "--probes", args.probes]
    own += ["--prefix-length", args.prefix_length, "--new-tokens", args.new_tokens, "--batch-sizes", *args.batch_sizes]
    own += ["--threads", args.threads] if args.threads else []
    command = [args.vllm or sys.executable, __file__, *own]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError("vLLM failed; its message stands above")
    return json.loads(done.stdout.splitlines()[-1])


def measure(name, args):
    """By batch size, the seconds of an engine for (scores, tokens) of all probes."""
    decoding = DecodingSettings(args.new_tokens)
    vocabulary = load_config(args.model).get_text_config().vocab_size
    ends = [vocabulary - 1]  # an end that hardly ever comes
    length = args.prefix_length + args.new_tokens
    if name == "vLLM":
        from memorization.extraction.vllm_engine import VllmEngine
        from memorization.extraction.vllm_models import load_llm

        model, kind = load_llm(args.model, args.dtype, length), VllmEngine
    else:
        model = load_for_generation(args.model, args.dtype, DEVICE)
        kind = {"plain": Plain, "transformers": TransformersEngine}[name]
    rng = np.random.default_rng(0)
    texts = rng.integers(3, vocabulary - 1, (max(args.probes, *args.batch_sizes), length)).tolist()
    keys = {"turn": 0, "source_ids": []}
    cut = args.prefix_length
    probes = [{"id": i, "prefix_ids": ids[:cut], "suffix_ids": ids[cut:], **keys} for i, ids in enumerate(texts)]

    def ask(engine, some):
        """(seconds of the scores, of the tokens)."""
        begin = clock()
        scores = engine.score(some)
        middle = clock()
        engine.generate([Prompt(probe, 0, one) for probe, one in zip(some, scores, strict=True)])
        return middle - begin, clock() - middle

    ask(kind(model, ends, DecodingSettings(4), 2), probes[:2])  # what is made ready at first use
    seconds = {}
    for batch_size in args.batch_sizes:
        engine = kind(model, ends, decoding, batch_size)
        parts = batches(probes[: max(batch_size, args.probes)], engine.batch_size)
        seconds[str(batch_size)] = np.sum([ask(engine, part) for part in parts], axis=0).tolist()
        print(f"{name}, batch {batch_size}: {seconds[str(batch_size)]} s", file=sys.stderr, flush=True)
    return seconds


def clock():
    if DEVICE.type != "cpu":
        torch.accelerator.synchronize()
    return time.process_time() if DEVICE.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter()


def weights_of(config):
    """The weights that every token goes through in matrices, and those of the output layer, of a Llama."""
    width, head = config.hidden_size, config.head_dim or config.hidden_size // config.num_attention_heads
    attention = 2 * width * head * (config.num_attention_heads + config.num_key_value_heads)
    layer = attention + 3 * width * config.intermediate_size
    return config.num_hidden_layers * layer, config.vocab_size * width


def limits(weights, config, number, flops, bandwidth, args):
    """The least seconds for (scores, tokens) of so many probes."""
    layers, output = weights
    prefix, new, size = args.prefix_length, args.new_tokens, getattr(torch, args.dtype).itemsize
    scores = 2 * number * (layers * (prefix + new - 1) + output * new) / flops
    head = config.head_dim or config.hidden_size // config.num_attention_heads
    cache = 2 * config.num_hidden_layers * config.num_key_value_heads * head * size  # bytes of a token
    tokens = 2 * number * (layers * prefix + output) / flops
    for step in range(1, new):
        read = (layers + output) * size + number * cache * (prefix + step)
        tokens += max(2 * number * (layers + output) / flops, read / bandwidth)
    return scores, tokens


def measured_rates(dtype):
    """(operations a second of matrix multiplications, bytes a second that are read from memory), the best of some."""
    size, length = (2048, 2**26) if DEVICE.type == "cpu" else (8192, 2**30)
    one, other = torch.randn(2, size, size, device=DEVICE).to(dtype)
    long = torch.ones(length, device=DEVICE)

    def best(work):
        work()
        times = []
        for _ in range(7):
            begin = clock()
            work()
            times.append(clock() - begin)
        return min(times)

    return 2 * size**3 / best(lambda: one @ other), 4 * length / best(long.sum)


def save_random(directory, layers, width, dtype):
    """A Llama with random weights, as those of 7 billion are built."""
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=width,
        intermediate_size=width * 43 // 16 // 64 * 64,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 128),
        max_position_embeddings=2048,
        dtype=dtype,
    )
    torch.manual_seed(0)
    with DEVICE:
        LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(directory)


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--model", help="a Llama: its directory")
    parser.add_argument("--random", metavar="LAYERSxWIDTH", help="or a random one: 24x2048 is 1.3 billion, 32x4096 7")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32, 256])
    parser.add_argument("--probes", type=int, default=64, help="of a row, if its batch is not larger")
    parser.add_argument("--prefix-length", type=int, default=50)
    parser.add_argument("--new-tokens", type=int, default=100, help="also of the suffixes that are scored")
    parser.add_argument("--threads", type=int, help="of a CPU (default: as many as there are cores)")
    parser.add_argument("--vllm", metavar="PYTHON", help="the Python of an environment with vLLM")
    parser.add_argument("--only", help="print the seconds of this engine alone, as JSON")
    run(main, parser.parse_args())
