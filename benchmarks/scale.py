"""Time and memory of the stages on a million samples, without a model:

    python benchmarks/scale.py --samples 1000000

Makes samples of 130 made-up words (1 GB of a million), one in twenty a copy of an earlier one, in one JSON list. Then
runs stage 1 on them; what stage 2 reads before it trains; stage 3 with the suffixes' own beginnings as generations,
ended half-way and gone on with; stage 5 but for its search and alignment, whose speed the other benchmarks tell; the
report of that; and stage 4 with the embedded index. Each part is a process of its own, with those it starts: its
wall-clock time, the processor time of all, and the peak memory of the largest.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from memorization.detection.detections import Candidate, CopiedRun, Detection, Labels, OwnSuffix, Passage, SuffixRun
from memorization.detection.kinds import DETECTIONS
from memorization.encoding.kinds import TRAINING_SET
from memorization.encoding.probes import Probes
from memorization.extraction.generations import Generation, Reach
from memorization.extraction.kinds import GENERATIONS
from memorization.extraction.matches import near
from memorization.results.facts import facts_of
from memorization.results.summarize import PublishedCounters, summarize
from memorization.results.summary import result_json
from memorization.shell.cli import Parser, run
from memorization.store.files import naming, write_json
from memorization.store.locations import detections_path, encoding_paths, generations_path
from memorization.store.manifests import checked
from memorization.store.rows import Rows, StoredRows

WORDS = 50_000  # of the vocabulary, with Zipf's frequencies: the frequent ones are short
SYLLABLES = """a act al an at ble bo by car cat co com con day de der dis do down eat en end er ex fa fe for
    go ha he her him his home how i in ing is it its ju ka la land less light like ly ma man me med ment mi my
    na ness no not now of off on one or our out pain pan per port pre pro re rest sa se side sion so stand
    take ter the time tion to ty un up us ve was way we well work you""".split()
NAME = "scale"
FIELDS = ("id", "turn", "member", "duplicates", "cluster", "prefix", "suffix")  # that rows take from probes
DECODING = {"prefix_length": 50, "temperature": 0.0, "top_k": 0, "top_p": 1.0}
OF_MODEL = {"training": None, "base": None, "canaries": None}  # nothing is known of one


def main(args):
    if args.part:
        return PARTS[args.part](args.directory)
    args.directory.mkdir(parents=True, exist_ok=True)
    data = args.directory / "samples.json"
    make(data, args.samples, args.seed)
    print(f"{args.samples:,} samples, {data.stat().st_size / 1e9:.2f} GB\n")
    print("| | time | processor time | peak memory |\n|---|---|---|---|")
    python, tokenized = sys.executable, args.directory / "tokenized"
    encode = [
        "encode_dialogue.py",
        "--data",
        data,
        "--num-proc",
        args.num_proc,
        "--output-dir",
        tokenized,
        "--overwrite",
    ]
    measure("stage 1", python, *encode, "--name", NAME)
    measure("stage 1, without near-duplicates", python, *encode, "--name", "far", "--near-duplicates", "none")
    for part in PARTS:
        measure(part, python, __file__, "--part", part, "--directory", args.directory)
    result = detections_path(args.directory / "results", NAME, NAME).parent
    measure("report", python, "report.py", result, "--output", args.directory / "report")
    index = ["--index-xsuffix", NAME, "--indexes", args.directory / "indexes"]
    measure("stage 4", python, "load_to_elastic.py", "-dir", tokenized, "-fn", f"{NAME}_prefix.json", *index)
    return 0


def measure(name, *command):
    """Run a part to its end and print its line of the table."""
    print(f"| {name} | {' | '.join(resources(name, *command))} |", flush=True)


def resources(name, *command):
    """What a command takes to its end, as texts: time, processor time, peak memory of the largest process."""
    start = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)  # of the process and those it has waited for
    seconds, processor = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    if status:
        raise SystemExit(f"{name}: ended with status {os.waitstatus_to_exitcode(status)}")
    return f"{seconds:.0f} s", f"{processor:.0f} s", f"{usage.ru_maxrss / 2**20:.2f} GiB"


def make(path, samples, seed):
    """Write `samples` rows (instruction, input, output) as one JSON list."""
    rng = np.random.default_rng(seed)
    words = vocabulary(rng)
    chances = 1 / (np.arange(WORDS) + 2.7)
    chances /= chances.sum()
    with naming(path), path.open("w", encoding="utf-8") as file:
        rows = []
        for i in range(samples):
            if i % 1000 == 0:
                drawn = words[rng.choice(WORDS, (1000, 130), p=chances)]
                kept = rows[::37]
                rows = []
                copies = rng.random(1000) < 0.05 if kept else np.zeros(1000, bool)
            if copies[i % 1000]:
                row = kept[i % len(kept)]
            else:
                text = drawn[i % 1000].tolist()
                parts = text[:10], text[10:50], text[50:]
                row = dict(zip(("instruction", "input", "output"), map(sentences, parts), strict=True))
            rows.append(row)
            file.write(("[" if i == 0 else ",\n") + json.dumps(row))
        file.write("]\n")


def vocabulary(rng):
    lengths = np.searchsorted([20, 1000, 20_000], np.arange(WORDS), side="right") + 1
    return np.array(["".join(rng.choice(SYLLABLES, length)) for length in lengths], dtype=object)


def sentences(words):
    return " ".join(" ".join(words[i : i + 12]).capitalize() + "." for i in range(0, len(words), 12))


def generations(directory):
    """Stage 3's rows, opened: those that are there already are not made again."""
    probes = Probes(directory / "tokenized", NAME)
    path = generations_path(directory, NAME, NAME, NAME)
    keys = [(id, 0, 0) for id in probes.ids.tolist()]
    made_of = {"encoding": probes.encoding, "model": NAME, "trained_on": None, "unchecked": False} | DECODING
    return probes, Rows(path, GENERATIONS, Generation, made_of, keys, 32, overwrite=True)


def append(probes, rows, batches):
    for _, positions in batches:
        made = []
        for probe in probes[positions.start : positions.stop]:
            ids = probe["suffix_ids"][:100]
            of_probe = {name: probe[name] for name in FIELDS}
            made.append(
                Generation(
                    **of_probe,
                    sample=0,
                    text=probe["suffix"][:400],
                    generation_ids=ids,
                    matched_tokens=len(ids),
                    exact_match=True,
                    near=near(ids, ids, 100),
                    scores=None,
                    reach=Reach(len(ids), min(len(probe["suffix"]), 400)),
                )
            )
        rows.append(made)


def first_half(directory):
    probes, rows = generations(directory)
    with rows:
        append(probes, rows, rows.mine[: len(rows.mine) // 2])


def second_half(directory):
    probes, rows = generations(directory)
    with rows:
        append(probes, rows, rows.mine)
        rows.finish({}, {}, **OF_MODEL, listing="", documents=None)


def read(directory):
    rows = StoredRows(generations_path(directory, NAME, NAME, NAME), GENERATIONS, Generation)
    for start in range(0, len(rows), 1000):
        rows[start : start + 1000]


def blocks(directory):
    """What stage 2 reads before it trains, and a thousand of its blocks."""
    from memorization.training.token_blocks import read_block_set  # imports torch

    training_set = encoding_paths(directory / "tokenized", NAME)["training set"]
    checked(training_set, TRAINING_SET)
    block_set = read_block_set(training_set, 2**31, 512, "cut")
    for i in range(0, len(block_set), len(block_set) // 1000 + 1):
        block_set[i]


def detections(directory):
    """Stage 5's rows from beginning to end, each beside its own suffix and ten candidates, without aligning any."""
    rows = StoredRows(generations_path(directory, NAME, NAME, NAME), GENERATIONS, Generation)
    keys = [row.key for row in rows]
    others = [Candidate(10**9 + number, 10.0, None) for number in range(9)]

    def detection(row):
        end = len(row.text)
        run, span = SuffixRun(end, (0, end), (0, end)), (0, end)
        of_own = {"sample": row.id, "cluster": row.cluster, "sample_span": (100, 100 + end)}
        copied = CopiedRun(length=end, generation_span=span, holders=1, members=1, **of_own)
        passages = [Passage(row.id, "verbatim", span, span, None)]
        labels = Labels("verbatim", "verbatim", "verbatim", passages)
        own = OwnSuffix("verbatim", run, passages)
        fields = {"longest_common_run": copied, "copied": [copied], "repeats": 1, "personal": []}
        fields |= {"entities_agree": None, "ceiling": None, "paper": None}
        return Detection(
            generation=row, **fields, candidates=[Candidate(row.id, 11.0, row.suffix), *others], own=own, labels=labels
        )

    path = detections_path(directory / "results", NAME, NAME)
    settings = {"profile": "paper", "direction": "pan", "candidates": 10, "span_length": 50, "loop_repeats": 10}
    settings |= {"classifier": None, "ner_model": None, "regions": [], "unchecked": False}
    made_of = {"generations": rows.manifest.identity, "index": NAME} | settings
    with Rows(path, DETECTIONS, Detection, made_of, keys, 256, overwrite=True) as result:
        for _, batch in result.mine:
            result.append(map(detection, rows[batch.start : batch.stop]))
        sizes = (len(rows), len(rows))
        arguments = {"type": NAME, "paraphrase_model": "none"}
        facts = OF_MODEL | {"generations": DECODING, "index": {}, "samples": sizes, "clusters": sizes}
        watched = PublishedCounters().watch(result)
        summary = summarize(watched, facts_of(made_of, arguments, facts))
        write_json(path.with_name("result.json"), result_json(summary))
        result.finish(arguments, {}, **facts)


PARTS = {
    "stage 2, reading blocks": blocks,
    "stage 3, first half": first_half,
    "stage 3, gone on with and finished": second_half,
    "stage 5, reading generations": read,
    "stage 5, but for search and alignment": detections,
}


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--num-proc", type=int, default=2, help="of stage 1 (default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=Path("scale"), help="for all files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=PARTS, help="run one part in this process, on what is there")
    run(main, parser.parse_args())
