"""Time and memory of the search for near-duplicates (stage 1, --near-duplicates):

    python benchmarks/near_duplicates.py --texts 100000 --num-proc 2

Texts of 150 made-up words with Zipf's frequencies; one in ten is an earlier one with 1 to 6 words changed. Tells the
time, the processor time of all processes, the peak memory of the largest, and how many of the pairs so made, and of
those with a similarity of the threshold or more, are in one cluster.
"""

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from benchmarks.scale import WORDS, vocabulary
from memorization.encoding.near_duplicates import clusters
from memorization.encoding.sample_store import store_samples
from memorization.encoding.split import find_copies
from memorization.shell.cli import Parser, run

LENGTH = 150


def main(args):
    versions = []
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "samples"
        hashes, _ = store_samples(((text, 0) for text in texts(args.texts, args.shared, args.seed, versions)), path)
        first, _ = find_copies(hashes)
        start, before = time.perf_counter(), processor()
        begin = clusters(path, first, args.threshold, args.num_proc, 3)
        seconds, used = time.perf_counter() - start, processor() - before
    peak = max(resource.getrusage(who).ru_maxrss for who in WHO) / 2**20
    print(f"{args.texts:,} texts, {args.num_proc} processes: {seconds:.1f} s, processor {used:.1f} s, {peak:.2f} GiB")
    near = [(one, other) for one, other, similarity in versions if similarity >= args.threshold]
    for what, pairs in {"made": [pair[:2] for pair in versions], "near-duplicates": near}.items():
        print(f"{what}: {sum(begin[one] == begin[other] for one, other in pairs):,} of {len(pairs):,} in one cluster")
    print(f"{len(first) - len(np.unique(begin)):,} texts begin no cluster")


WHO = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN


def processor():
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, WHO))


def texts(number, shared, seed, versions):
    """Texts one at a time; (an earlier one, its version, their similarity) is added to `versions`."""
    numbers, draw = np.random.default_rng(seed), random.Random(seed)
    words, chances = vocabulary(numbers), 1 / (np.arange(WORDS) + 2.7)
    drawn = []
    for i in range(number):
        if i % 1000 == 0:
            last = drawn
            drawn = numbers.choice(WORDS, (1000, LENGTH), p=chances / chances.sum())
        own = drawn[i % 1000]
        own[:shared] = range(shared)
        if i >= 1000 and draw.random() < 0.1:
            own = last[i % 1000].copy()
            places = draw.sample(range(LENGTH), draw.randint(1, 6))
            own[places] = numbers.integers(WORDS, size=len(places))
            one, other = ({tuple(text[k : k + 5]) for k in range(LENGTH - 4)} for text in (last[i % 1000], own))
            versions.append((i - 1000, i, len(one & other) / len(one | other)))
            drawn[i % 1000] = own
        yield " ".join(words[own])


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--shared", type=int, default=0, help="words at the beginning that all texts have in common")
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--num-proc", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    run(main, parser.parse_args())
