"""What stage 5 finds of copies that are known, and what it finds by chance:

    python benchmarks/known_answers.py --dialogues chatdoctor5k.json --summaries dialogsum-dev.jsonl \\
        --other squad-dev-part-a.json

Plants what a model could say of a training sample as a generation: copies of 50, 100 and 200 characters, alone and
inside text of another domain, the whole suffix, the suffix with some words changed or its sentences reordered, a
summary that a person wrote; and real text that has nothing to do with any sample, of the same and of another domain.
Prints the share of each that every column finds. Embedded index, no classifier.
"""

import json
import random
import re
import sys
import tempfile
from itertools import chain
from pathlib import Path
from string import punctuation

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from memorization.cli import Parser, run
from memorization.detection.detect import Settings, detect
from memorization.detection.span_index import build, span_index_path
from memorization.detection.spans import SpanIndex
from memorization.extraction.generations import Generation
from memorization.results.columns import columns
from memorization.retrieval.embedded import EmbeddedIndex

ENCODING = "0123456789abcdef"
EACH = 50  # generations of each kind
HELD_OUT = 3  # one of so many samples
SETTINGS = Settings("paper", ("pan",), 10, 50)
SHOWN = ("run_50", "own", "another", "shared", "verbatim", "idea", "unverified")
UNRELATED = ("unrelated text of the domain", "unrelated text of another domain")


def main(args):
    found = find(*read(args.dialogues, args.summaries, args.other), args.samples, random.Random(args.seed))
    print(f"| planted, {EACH} of each | {' | '.join(SHOWN)} |\n|---|{'---:|' * len(SHOWN)}")
    for kind, shares in found.items():
        print(f"| {kind} | {' | '.join(f'{100 * shares[name]:.0f}' for name in SHOWN)} |")


def read(dialogues, summaries, other):
    """(texts of a domain, (text, summary) pairs, texts of another domain) of three files."""
    rows = json.loads(dialogues.read_text(encoding="utf-8"))
    texts = dict.fromkeys(f"Patient: {row['input']} Doctor: {row['output']}" for row in rows)
    with summaries.open(encoding="utf-8") as file:
        condensed = [(row["dialogue"], row["summary"]) for row in map(json.loads, file)]
    articles = json.loads(other.read_text(encoding="utf-8"))["data"]
    foreign = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    return [text for text in texts if len(text) > 500], condensed, foreign


def find(texts, condensed, foreign, number, rng):
    """dict kind -> dict column -> share of the planted generations that have it.

    Samples are `number` of the texts, of which one in HELD_OUT is held out, and as members the texts of EACH of the
    (text, summary) pairs. The other texts and the foreign ones have nothing to do with them.
    """
    texts, condensed = rng.sample(texts, len(texts)), condensed[:EACH]
    texts, unseen = [*texts[:number], *(text for text, _ in condensed)], texts[number:]
    member = [i % HELD_OUT > 0 or i >= len(texts) - len(condensed) for i in range(len(texts))]
    samples = [halves(text) for text in texts]
    planted = []  # (kind, number of the sample, generation)
    chosen = rng.sample([i for i in range(len(texts) - len(condensed)) if member[i]], EACH)
    for i in chosen:
        planted += [(kind, i, said) for kind, said in copies(samples[i][1], foreign, rng)]
    for i, (_, summary) in enumerate(condensed, len(texts) - len(condensed)):
        planted.append(("condensed by a person", i, summary))
    strangers = rng.sample([i for i in range(len(texts)) if not member[i]], EACH)
    for kind, source in zip(UNRELATED, (unseen, foreign), strict=True):
        planted += [(kind, i, rng.choice(source)[:500]) for i in strangers]

    generations = []
    for number, (_, i, said) in enumerate(planted):
        of_probe = {"id": i, "sample": number, "member": member[i], "duplicates": 1, "cluster": i}
        of_probe["matched_tokens"] = 0
        whole = said == samples[i][1]
        texts_of = {"prefix": samples[i][0], "suffix": samples[i][1], "generation": said}
        unknown = {"generation_ids": [], "near": None, "scores": None, "reach": None}
        generations.append(Generation(**of_probe, **texts_of, **unknown, exact_match=whole))
    with tempfile.TemporaryDirectory() as directory:
        index = EmbeddedIndex(directory, "known")
        documents = [(str(i), suffix) for i, (_, suffix) in enumerate(samples) if member[i]]
        index.load(documents, {"encoding": ENCODING, "prefix_length": 1}, total=len(documents))
        every = zip(range(len(texts)), member, range(len(texts)), texts, strict=True)
        build(span_index_path(directory, ENCODING), every, ENCODING, len(texts), 1)
        detections = detect(generations, index, SpanIndex(directory, ENCODING), SETTINGS)
    shares = {kind: [] for kind, _, _ in planted}
    for (kind, _, _), row in zip(planted, detections, strict=True):
        shares[kind].append(row)
    asked = columns(SETTINGS.span_length, 10, None, "pan", False)
    asked = [column for column in asked if column.value(detections[0]) is not None]
    return {
        kind: {column.name: sum(map(column.value, rows)) / len(rows) for column in asked}
        for kind, rows in shares.items()
    }


def halves(text):
    """(prefix, suffix): a text cut behind a fifth of its words."""
    words = re.findall(r"\S+\s*", text)
    cut = len(words) // 5
    return "".join(words[:cut]), "".join(words[cut:])


def copies(suffix, foreign, rng):
    """(kind, generation) of each thing that a model could say of a suffix."""
    words = suffix.split()
    for characters in (50, 100, 200):
        begin = rng.choice([i for i in range(len(words)) if len(" ".join(words[i:])) > characters + 20])
        end = next(
            k for k in range(begin, len(words) + 1) if len(" ".join(words[begin:k]).strip(punctuation)) > characters
        )
        copied = " ".join(words[begin:end])
        yield f"copy of {characters} characters alone", copied
        before, after = (rng.choice(foreign).split() for _ in range(2))
        yield f"copy of {characters} characters in other text", " ".join([*before[:30], copied, *after[:30]])
    yield "the whole suffix", suffix
    vocabulary = [word for word in rng.choice(foreign).split() if word.isalpha()]
    for percent in (5, 10, 20, 40):
        changed = set(rng.sample(range(len(words)), max(1, len(words) * percent // 100)))
        said = [rng.choice(vocabulary) if i in changed else word for i, word in enumerate(words)]
        yield f"{percent} % of the words changed", " ".join(said)
    sentences = re.split(r"(?<=[.?!]) ", suffix)
    yield "its sentences reordered", " ".join(chain(sentences[1::2], sentences[::2]))


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--dialogues", type=Path, required=True, help="JSON rows with input and output")
    parser.add_argument("--summaries", type=Path, required=True, help="JSON lines with dialogue and summary")
    parser.add_argument("--other", type=Path, required=True, help="SQuAD's JSON: text of another domain")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    run(main, parser.parse_args())
