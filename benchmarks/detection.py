"""Time and memory of stage 5, by its parts: 10,000 generations beside 100,000 documents.

    python benchmarks/detection.py --texts dialogues.json

Documents of 150 words and generations of 60 are made of the sentences of real answers (JSON rows with an `output`), so
that each generation has ten candidates and copies from several samples; without --texts of made-up words. A tenth of
the samples is held out. No classifier, embedded index. Stage 4's span index is built; then stage 5 is run as from the
shell, with one process and with all cores, and once more here, part by part.
"""

import sys
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import msgspec

from benchmarks.retrieval import make
from benchmarks.scale import resources
from memorization.detection import detect, span_index
from memorization.detection.copied_runs import SpanIndex
from memorization.extraction.generations import Generation, read_generations, write_listing
from memorization.extraction.kinds import GENERATIONS
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.shell.cli import Parser, run
from memorization.shell.parallel import cores
from memorization.store.files import fingerprint
from memorization.store.locations import span_index_path
from memorization.store.manifests import write_manifest

ENCODING, NAME = "0123456789abcdef", "detection-benchmark"
HELD_OUT = 10  # one sample in so many


def main(args):
    args.directory.mkdir(parents=True, exist_ok=True)
    documents, generations = make(args)
    path = write(args.directory, documents, generations)
    indexes = args.directory / "indexes"
    members = ((str(i), text) for i, text in enumerate(documents) if i % HELD_OUT)
    EmbeddedIndex(indexes, NAME).load(members, {"encoding": ENCODING, "prefix_length": 1}, total=len(documents))
    samples = ((i, bool(i % HELD_OUT), i, text) for i, text in enumerate(documents))
    start = time.perf_counter()
    span_index.build(span_index_path(indexes, ENCODING), samples, ENCODING, len(documents), cores())
    print(f"span index of {len(documents):,} documents, {cores()} processes: {time.perf_counter() - start:.0f} s\n")
    print("| processes | time | processor time | peak memory of one | detections |\n|---|---|---|---|---|")
    for jobs in sorted({1, cores()}):
        stage_5(args.directory, path, indexes, jobs)
    print("\n| part, one process | time | share |\n|---|---|---|")
    parts = by_part(path, indexes)
    for name, seconds in parts.items():
        print(f"| {name} | {seconds:.1f} s | {100 * seconds / sum(parts.values()):.0f} % |")


def write(directory, documents, generations):
    """Stage 3's rows: generation i beside the prefix and suffix of document i; return their path."""
    path, rows = directory / "generations.jsonl", []
    for i, (text, generation) in enumerate(zip(documents, generations, strict=False)):
        cut = len(text) // 5
        of_probe = {"id": i, "turn": 0, "sample": 0, "member": bool(i % HELD_OUT), "duplicates": 1, "cluster": i}
        of_probe["matched_tokens"] = 0
        texts = {"prefix": text[:cut], "suffix": text[cut:], "text": generation}
        rows.append(
            Generation(**of_probe, **texts, generation_ids=[], exact_match=False, near=None, scores=None, reach=None)
        )
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    write_listing(path.with_suffix(".txt"), rows)
    made_of = {"model": "m", "encoding": ENCODING, "trained_on": ENCODING, "prefix_length": 1, "unchecked": False}
    made_of |= {"temperature": 0.0, "top_k": 0, "top_p": 1.0}
    listing = fingerprint(path.with_suffix(".txt"))
    write_manifest(
        path,
        GENERATIONS,
        made_of,
        {},
        rows=len(rows),
        training=None,
        listing=listing,
        base=None,
        canaries=None,
        documents=None,
    )
    return path


def stage_5(directory, path, indexes, jobs):
    """Run stage 5 and print its line of the table."""
    command = [sys.executable, "plagiarism_detect.py", "--filedir", path, "--type", f"jobs-{jobs}", "--unchecked"]
    command += ["--index-xsuffix", NAME, "--indexes", indexes, "--output-dir", directory / "results", "--overwrite"]
    command += ["--paraphrase-model", "none", "--jobs", str(jobs)]
    result = directory / "results" / f"jobs-{jobs}" / "dialogue" / "detections.jsonl"
    result.unlink(missing_ok=True)
    taken = resources("stage 5", *command)
    print(f"| {jobs} | {' | '.join(taken)} | {fingerprint(result)[:12]} |", flush=True)


def by_part(path, indexes):
    """dict part -> seconds, in this process: what stage 5 does of its work, without its start."""
    seconds = defaultdict(float)

    def timed(name, function):
        def wrapper(*args):
            start = time.perf_counter()
            try:
                return function(*args)
            finally:
                seconds[name] += time.perf_counter() - start

        return wrapper

    index, spans = EmbeddedIndex(indexes, NAME), SpanIndex(indexes, ENCODING)
    rows, _ = read_generations(path)
    settings = detect.ComparisonSettings("paper", ("pan",), 10, 50)
    detect.detect(rows[:2], index, spans, settings)  # compiled from here on
    index.search, index.texts = timed("retrieval", index.search), timed("retrieval", index.texts)
    detect.prepare, detect._prepared = timed("analysis", detect.prepare), timed("analysis", detect._prepared)
    detect._align, spans.copied = timed("alignment", detect._align), timed("span search", spans.copied)
    start = time.perf_counter()
    for begin in range(0, len(rows), detect.BATCH):
        detections = detect.detect(rows[begin : begin + detect.BATCH], index, spans, settings)
        timed("writing", lambda rows: [msgspec.json.encode(row) for row in rows])(detections)
    return seconds | {"the rest": time.perf_counter() - start - sum(seconds.values())}


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--texts", type=Path, help="JSON file of rows with an `output`")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=150)
    parser.add_argument("--queries", type=int, default=10_000, help="generations (default: %(default)s)")
    parser.add_argument("--query-words", type=int, default=60, help="words of each (default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=Path("demo/benchmark-detection"))
    parser.add_argument("--seed", type=int, default=0)
    run(main, parser.parse_args())
