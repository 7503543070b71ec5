"""What stage 5 finds of copies that are known, and what it finds by chance:

    python benchmarks/known_answers.py --dialogues chatdoctor5k.json --summaries dialogsum-dev.jsonl \\
        --other squad-dev-part-a.json
    python benchmarks/known_answers.py --languages

Plants what a model could say of a training sample as a generation: copies of the length 50, 100 and 200, alone and
inside text of another domain, the whole suffix, the suffix with some words changed or its sentences reordered, a
summary that a person wrote; and real text that has nothing to do with any sample, of the same and of another domain.
Prints the share of each that every column finds. Embedded index, no classifier. --languages: the same of made-up texts
in nine languages (benchmarks/languages.py), what the span scan finds of its own sample / what the aligner finds.
"""

import json
import random
import sys
import tempfile
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.languages import LANGUAGES
from memorization.alignment import split_sentences
from memorization.detection.copied_runs import SpanIndex
from memorization.detection.detect import ComparisonSettings, detect
from memorization.detection.span_index import build
from memorization.encoding.words import words
from memorization.extraction.generations import Generation
from memorization.results.columns import columns_of
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.shell.cli import Parser, UserError, run
from memorization.store.locations import span_index_path

ENCODING = "0123456789abcdef"
EACH = 50  # generations of each kind; of made-up texts FEW
FEW, SAMPLES = 20, 60
LENGTHS = (50, 100, 200)
HELD_OUT = 3  # one of so many samples
SETTINGS = ComparisonSettings("paper", ("pan",), 10, 50)
SHOWN = ("run_50", "own", "another", "shared", "verbatim", "idea", "unverified")
UNRELATED = ("unrelated text of the domain", "unrelated text of another domain")


def main(args):
    if args.languages:
        by_language = {name: made_up(name, random.Random(args.seed)) for name in LANGUAGES}
        print(f"| planted, {FEW} of each | {' | '.join(by_language)} |\n|---|{'---:|' * len(by_language)}")
        for kind in by_language["English"]:
            cells = [
                f"{100 * each[kind]['scanned']:.0f} / {100 * each[kind]['aligned']:.0f}"
                for each in by_language.values()
            ]
            print(f"| {kind} | {' | '.join(cells)} |")
        return
    if not (args.dialogues and args.summaries and args.other):
        raise UserError("--dialogues, --summaries and --other are needed, or --languages")
    by_language = find(*read(args.dialogues, args.summaries, args.other), args.samples, random.Random(args.seed))
    print(f"| planted, {EACH} of each | {' | '.join(SHOWN)} |\n|---|{'---:|' * len(SHOWN)}")
    for kind, shares in by_language.items():
        print(f"| {kind} | {' | '.join(f'{100 * shares[name]:.0f}' for name in SHOWN)} |")


def made_up(language, rng, each=FEW):
    """What `find` gives for made-up texts in one of LANGUAGES."""
    language = LANGUAGES[language]
    texts = [language.text(rng) for _ in range(SAMPLES + each)]
    return find(texts, [], [language.text(rng, others=True) for _ in range(each)], SAMPLES, rng, each, language.blank)


def read(dialogues, summaries, other):
    """(texts of a domain, (text, summary) pairs, texts of another domain) of three files."""
    rows = json.loads(dialogues.read_text(encoding="utf-8"))
    texts = dict.fromkeys(f"Patient: {row['input']} Doctor: {row['output']}" for row in rows)
    with summaries.open(encoding="utf-8") as file:
        condensed = [(row["dialogue"], row["summary"]) for row in map(json.loads, file)]
    articles = json.loads(other.read_text(encoding="utf-8"))["data"]
    foreign = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    return [text for text in texts if len(text) > 500], condensed, foreign


def find(texts, condensed, foreign, number, rng, each=EACH, blank=" "):
    """dict kind -> dict column -> share of the planted generations that have it; `scanned` too, a run that
    its own sample or several hold, and `aligned`, a passage of any kind with a candidate.

    Samples are `number` of the texts, of which one in HELD_OUT is held out, and as members the texts of `each` of the
    (text, summary) pairs. The other texts and the foreign ones have nothing to do with them. blank: what parts a copy
    from other text.
    """
    texts, condensed = rng.sample(texts, len(texts)), condensed[:each]
    texts, unseen = [*texts[:number], *(text for text, _ in condensed)], texts[number:]
    member = [i % HELD_OUT > 0 or i >= len(texts) - len(condensed) for i in range(len(texts))]
    samples = [halves(text) for text in texts]
    planted = []  # (kind, number of the sample, generation)
    chosen = rng.sample([i for i in range(len(texts) - len(condensed)) if member[i]], each)
    for i in chosen:
        planted += [(kind, i, generated) for kind, generated in copies(samples[i][1], foreign, rng, blank)]
    for i, (_, summary) in enumerate(condensed, len(texts) - len(condensed)):
        planted.append(("condensed by a person", i, summary))
    strangers = rng.sample([i for i in range(len(texts)) if not member[i]], min(each, number // HELD_OUT))
    for kind, source in zip(UNRELATED, (unseen, foreign), strict=True):
        planted += [(kind, i, rng.choice(source)[:500]) for i in strangers]

    generations = []
    for number, (_, i, generated) in enumerate(planted):
        of_probe = {"id": i, "turn": 0, "sample": number, "member": member[i], "duplicates": 1, "cluster": i}
        of_probe["matched_tokens"] = 0
        whole = generated == samples[i][1]
        texts_of = {"prefix": samples[i][0], "suffix": samples[i][1], "text": generated}
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
    asked = columns_of(SETTINGS.span_length, 10, None, "pan", False)
    asked = [column for column in asked if column.value(detections[0]) is not None]
    by_kind = {}
    for kind, rows in shares.items():
        by_kind[kind] = {column.name: sum(map(column.value, rows)) / len(rows) for column in asked}
        own = [any(run.sample == row.generation.id or run.holders > 1 for run in row.copied) for row in rows]
        by_kind[kind]["scanned"] = sum(own) / len(rows)
        by_kind[kind]["aligned"] = sum(row.labels.label_without_scan != "none" for row in rows) / len(rows)
    return by_kind


def units(text):
    """A text in parts that each begin with a word."""
    starts = [0, *words(text).bounds[1:, 0].tolist(), len(text)]
    return [text[start:end] for start, end in zip(starts, starts[1:], strict=False)]


def halves(text):
    """(prefix, suffix): a text cut behind a fifth of its words."""
    parts = units(text)
    cut = len(parts) // 5
    return "".join(parts[:cut]), "".join(parts[cut:])


def copies(suffix, foreign, rng, blank):
    """(kind, generation) of each thing that a model could say of a suffix."""
    parts, suffix_words = units(suffix), words(suffix)
    n = len(parts)
    for length in LENGTHS:
        begin = rng.choice([i for i in range(n) if suffix_words.lengths(i, n) > length + 20])
        end = next(k for k in range(begin + 1, n + 1) if suffix_words.lengths(begin, k) > length)
        copied = suffix[suffix_words.bounds[begin, 0] : suffix_words.bounds[end - 1, 1]]
        yield f"copy of the length {length} alone", copied
        before, after = ("".join(units(rng.choice(foreign))[:30]).strip() for _ in range(2))
        yield f"copy of the length {length} in other text", blank.join([before, copied, after])
    yield "the whole suffix", suffix
    vocabulary = [part.strip() for part in units(rng.choice(foreign)) if part.strip().isalpha()]
    for percent in (5, 10, 20, 40):
        changed = list(parts)
        for i in rng.sample(range(n), max(1, n * percent // 100)):
            changed[i] = rng.choice(vocabulary) + parts[i][suffix_words.bounds[i, 1] - suffix_words.bounds[i, 0] :]
        yield f"{percent} % of the words changed", "".join(changed)
    sentences = [suffix[start:end] for start, end in split_sentences(suffix)]
    yield "its sentences reordered", " ".join(chain(sentences[1::2], sentences[::2]))


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--dialogues", type=Path, help="JSON rows with input and output")
    parser.add_argument("--summaries", type=Path, help="JSON lines with dialogue and summary")
    parser.add_argument("--other", type=Path, help="SQuAD's JSON: text of another domain")
    parser.add_argument("--languages", action="store_true", help="made-up texts in nine languages instead")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    run(main, parser.parse_args())
