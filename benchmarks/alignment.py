"""How many times as fast as the plain dictionary version our detector is, on the same pairs, in one process.

    python benchmarks/alignment.py --texts dialogues.json

The texts (a JSON list of objects; their strings joined to documents of about 150 words) are the training set. Each
generation copies, edits or mixes pieces of them and meets its 10 best documents by BM25. Blocks of pairs go to either
version in turn; the time is processor time, analysis of texts included, compilation left out. The plain version
analyses both texts of a pair every time, as published code does; ours analyses a document once.
"""

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import bm25s

from memorization.alignment import PROFILES, align, prepare, reference
from memorization.shell.cli import Parser, UserError, run
from memorization.store.files import read_json

CANDIDATES = 10
BLOCK = 20  # generations


def documents(path, words=150):
    """Texts of at least `words` words, from the strings of the objects in a JSON file."""
    texts, text = [], []
    for row in read_json(path):
        text += [value for value in row.values() if isinstance(value, str)]
        if sum(len(part.split()) for part in text) >= words:
            texts.append(" ".join(text))
            text = []
    return texts


def generate(texts, rng):
    """About 150 words as a model might give them: a copy, an edited copy, or pieces of several documents."""
    words = rng.choice(texts).split()
    kind = rng.randrange(3)
    if kind == 0:
        start = rng.randrange(len(words) // 2)
        words = words[start:] + rng.choice(texts).split()[: start + 20]
    elif kind == 1:
        words = [rng.choice(words) if rng.random() < 0.15 else word for word in words]
    else:
        words = words[:50] + rng.choice(texts).split()[50:100] + rng.choice(texts).split()[-50:]
    return " ".join(words)


def main(args):
    rng = random.Random(0)
    texts = documents(args.texts)
    if len(texts) < CANDIDATES:
        raise UserError(f"{args.texts}: only {len(texts)} documents of 150 words; name a file with more text")
    generations = [generate(texts, rng) for _ in range(args.pairs // CANDIDATES)]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    queries = bm25s.tokenize(generations, stopwords="en", show_progress=False)
    candidates = index.retrieve(queries, k=CANDIDATES, show_progress=False).documents.tolist()
    profile = PROFILES[args.profile]
    align(texts[0], texts[0], profile), align(texts[0], texts[1], profile)  # compile

    prepared, seconds, same = {}, [0.0, 0.0], 0
    for block in range(0, len(generations), BLOCK):
        pairs = list(zip(generations[block : block + BLOCK], candidates[block : block + BLOCK], strict=True))
        start = time.process_time()
        ours = []
        for generation, ranked in pairs:
            suspicious = prepare(generation)
            for i in ranked:
                if i not in prepared:
                    prepared[i] = prepare(texts[i])
                ours.append(align(suspicious, prepared[i], profile))
        middle = time.process_time()
        theirs = [
            reference.align(
                generation,
                texts[i],
                reference.split_sentences(generation),
                reference.split_sentences(texts[i]),
                profile,
            )
            for generation, ranked in pairs
            for i in ranked
        ]
        seconds[0] += middle - start
        seconds[1] += time.process_time() - middle
        same += sum(
            kind == a.kind and sorted(passages) == a.passages for a, (kind, passages) in zip(ours, theirs, strict=True)
        )
    pairs = len(generations) * CANDIDATES
    print(f"{pairs} pairs of {len(generations)} generations and {len(prepared)} documents, profile {args.profile}")
    print(f"ours   {pairs / seconds[0]:8.0f} pairs/s")
    print(f"plain  {pairs / seconds[1]:8.0f} pairs/s")
    print(f"ratio  {seconds[1] / seconds[0]:8.1f}     same result on {same} of {pairs}")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--texts", default="../shared/data/chatdoctor5k.json", help="JSON list of objects with texts")
    parser.add_argument("--pairs", type=int, default=10000)
    parser.add_argument("--profile", choices=PROFILES, default="paper")
    run(main, parser.parse_args())
