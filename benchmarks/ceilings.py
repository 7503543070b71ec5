"""How many samples of real data could be seen to come out: the ceiling of own runs, with and without near-duplicates.

    python benchmarks/ceilings.py --encode encode_qa.py --data squad.json --flags "--probe target --prefix-length 1"

Encodes the data twice, with near-duplicates kept together and without, builds the span index, and tells the share of
members and held-out samples of which the true suffix (its first 100 tokens) has a run over 50 that is their own. No
model is asked.
"""

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from memorization.detection.copied_runs import SpanIndex
from memorization.detection.span_index import build
from memorization.encoding.probes import Probes
from memorization.models.hub import load_tokenizer
from memorization.shell.cli import Parser, UserError, run
from memorization.shell.parallel import cores
from memorization.store.locations import span_index_path

NEW_TOKENS, SPAN_LENGTH = 100, 50


def main(args):
    print(
        "| near-duplicates | in clusters | members | own > 50 | held out | own > 50 |\n|---|---:|---:|---:|---:|---:|"
    )
    for rule in ("none", "0.8"):
        with tempfile.TemporaryDirectory() as work:
            command = [sys.executable, args.encode, "--data", *args.data, "--output-dir", work, "--name", "data"]
            command += ["--tokenizer", args.tokenizer, "--near-duplicates", rule, *shlex.split(args.flags or "")]
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if ended.returncode:
                raise UserError(ended.stderr.splitlines()[-1])
            probes = Probes(work, "data")
            total = probes.manifest.rows
            build(span_index_path(work, probes.encoding), probes.samples(), probes.encoding, total, cores())
            own = ceilings(probes, SpanIndex(work, probes.encoding), args.tokenizer)
        sizes = np.unique(probes.clusters, return_counts=True)[1]
        cells = [rule, f"{sizes[sizes > 1].sum():,} in {(sizes > 1).sum():,}"]
        for side in (probes.members, ~probes.members):
            cells += [f"{side.sum():,}", f"{100 * own[side].mean():.1f} %"]
        print(f"| {' | '.join(cells)} |", flush=True)


def ceilings(probes, spans, tokenizer):
    """Whether the true suffix of each probe has an own run, bool."""
    tokenizer, own = load_tokenizer(tokenizer), []
    for probe in probes[:]:
        reach = len(tokenizer.decode(probe["suffix_ids"][:NEW_TOKENS], skip_special_tokens=True))
        suffix = probe["suffix"]
        _, copied, _ = spans.copied(suffix[:reach], probe["id"], probe["prefix"], suffix, SPAN_LENGTH)
        own.append(any(one.whose(probe["cluster"]) == "own" for one in copied))
    return np.array(own)


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--encode", default="encode_dialogue.py", help="stage 1's script (default: %(default)s)")
    parser.add_argument("--data", nargs="+", required=True, help="files as the script reads them")
    parser.add_argument("--flags", help="further flags of the script, in one text")
    parser.add_argument(
        "--tokenizer", default=str(ROOT / "configs" / "gpt-neo-small"), help="path or hub name (default: %(default)s)"
    )
    run(main, parser.parse_args())
