"""Run the detector over a PAN text-alignment corpus: detections, quality by folder and over all, pairs a second.

    python benchmarks/pan_corpus.py pan13-train --profile pan --output pan.jsonl --jobs 2

CORPUS is the unpacked directory: susp/, src/, and folders that each have `pairs` and an XML of true cases a pair.
Measures: Potthast et al. 2010, macro. --plain N (with one job) also runs the plain dictionary version on every so
manyth pair, N in all, and prints how many times as fast ours was on the corpus, each document analysed once.
"""

import json
import multiprocessing
import re
import sys
import time
from functools import cache, partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pan_measures import Tally
from tqdm import tqdm

from memorization.alignment import PROFILES, align, prepare
from memorization.shell.cli import Parser, UserError, run
from memorization.store.files import replacing

FEATURE = re.compile(r'<feature\s[^>]*name="plagiarism"[^>]*>')
NUMBER = re.compile(r'(this|source)_(offset|length)="(\d+)"')


def read_pairs(corpus):
    """(folder, suspicious name, source name) of each pair."""
    folders = sorted(path.parent for path in corpus.glob("*/pairs"))
    if not folders:
        raise UserError(f"{corpus}: no folder with a file `pairs`; name the unpacked corpus directory")
    return [(folder.name, *line.split()) for folder in folders for line in (folder / "pairs").read_text().splitlines()]


def truth(corpus, folder, suspicious, source):
    """The true cases of a pair."""
    text = (corpus / folder / f"{Path(suspicious).stem}-{Path(source).stem}.xml").read_text(encoding="utf-8")
    cases = []
    for feature in FEATURE.findall(text):
        at = {side + what: int(number) for side, what, number in NUMBER.findall(feature)}
        spans = [(at[side + "offset"], at[side + "offset"] + at[side + "length"]) for side in ("this", "source")]
        cases.append(tuple(spans))
    return cases


def read_text(path):
    return path.read_bytes().decode("utf-8")


@cache
def document(path):
    return prepare(read_text(path))


def detect(corpus, profile, pair):
    _, suspicious, source = pair
    return align(document(corpus / "susp" / suspicious), document(corpus / "src" / source), profile)


def plain_speed(corpus, profile, pairs, detected):
    """Pairs per second of processor time of the plain version, and how many results are as found."""
    from memorization.alignment import reference

    start, same = time.process_time(), 0
    for pair, ours in zip(tqdm(pairs, unit="pair", disable=None), detected, strict=True):
        texts = read_text(corpus / "susp" / pair[1]), read_text(corpus / "src" / pair[2])
        kind, passages = reference.align(*texts, *map(reference.split_sentences, texts), PROFILES[profile])
        same += (kind, sorted(passages)) == ours
    return len(pairs) / (time.process_time() - start), same


def main(args):
    pairs, corpus = read_pairs(args.corpus), args.corpus
    align("compile this", "compile this", args.profile)
    start, start_process = time.perf_counter(), time.process_time()
    work = partial(detect, corpus, args.profile)
    with replacing(args.output) as temporary, multiprocessing.Pool(args.jobs) as pool:
        results = pool.imap(work, pairs, 32) if args.jobs > 1 else map(work, pairs)
        detected = list(tqdm(results, total=len(pairs), unit="pair", disable=None))
        seconds, process = time.perf_counter() - start, time.process_time() - start_process
        with temporary.open("w", encoding="utf-8") as file:
            for (folder, suspicious, source), (kind, passages) in zip(pairs, detected, strict=True):
                row = {"type": folder, "susp": suspicious, "src": source, "kind": kind, "det": passages}
                file.write(json.dumps(row) + "\n")
    tallies = {"all": Tally()}
    for pair, (_, passages) in zip(pairs, detected, strict=True):
        for name in (pair[0], "all"):
            tallies.setdefault(name, Tally()).add(truth(corpus, *pair), passages)
    print(f"{'':28}plagdet   recall  precision  granularity")
    for name in sorted(tallies):
        print(f"{name:26}{' '.join(f'{value:9.4f}' for value in tallies[name].score())}")
    print(f"{len(pairs)} pairs, {len(pairs) / seconds:.0f} pairs/s with {args.jobs} jobs; detections in {args.output}")
    if args.plain:
        step, ours = max(1, len(pairs) // args.plain), len(pairs) / process
        speed, same = plain_speed(corpus, args.profile, pairs[::step], detected[::step])
        print(f"processor time: ours {ours:.0f} pairs/s, plain {speed:.1f}, ratio {ours / speed:.1f}")
        print(f"same result on {same} of {len(pairs[::step])}")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--profile", choices=PROFILES, default="pan")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--plain", type=int, default=0, metavar="N", help="time the plain version on N pairs (0: not)")
    arguments = parser.parse_args()
    if arguments.plain and arguments.jobs > 1:
        parser.error("--plain compares single processes; leave out --jobs")
    run(main, arguments)
