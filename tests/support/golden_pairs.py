"""Golden outputs of our own making, golden_pairs.jsonl: what the plain version gives on pairs of made-up texts.

    PYTHONPATH=.:tests python -m support.golden_pairs > tests/support/golden_pairs.jsonl

They pin the algorithm where the shared golden outputs are not at hand, and against a slip made in both versions at
once: so make them anew only when the algorithm itself is to change, and look at what changes.
"""

import json
import random

from memorization.alignment import PROFILES, reference
from memorization.encoding.made_up import make_dialogues


def repeat(share):
    """A few sentences again and again, as from a model stuck in a loop, words of them replaced."""
    return lambda sentences, rng: edit(share)(rng.sample(sentences, 4) * 3, rng)


def edit(share):
    """Words of each sentence replaced by others of the same text."""

    def made(sentences, rng):
        words = " ".join(sentences).split()
        return [
            " ".join(rng.choice(words) if rng.random() < share else word for word in sentence[:-1].split()) + "."
            for sentence in sentences
        ]

    return made


MADE = {
    "copy": lambda sentences, rng: sentences[3:12],
    "edit10": edit(0.1),
    "edit30": edit(0.3),
    "reorder": lambda sentences, rng: rng.sample(edit(0.1)(sentences, rng), len(sentences)),
    "condense": lambda sentences, rng: edit(0.1)(sentences[::4], rng),
    "repeat": repeat(0),
    "loop": repeat(0.25),
    "other": lambda sentences, rng: [],
}

# chosen so that a small slip in any step changes an output: a threshold, a gap, which of several cases wins
SEEDS = {
    "copy": (3, 12),
    "edit10": (16, 17),
    "edit30": (11, 143),
    "reorder": (0, 1),
    "condense": (8, 19),
    "repeat": (2, 5, 54),
    "loop": (7, 15, 36, 66, 137),
    "other": (0, 3),
}


def pair(made, seed):
    """A text and one made of it, both with sentences of their own around."""
    rng = random.Random(seed)
    texts = [row["output"] for row in make_dialogues(seed, single=4, fourfold=0, sixteenfold=0)]
    sentences = [[sentence + "." for sentence in text[:-1].split(". ")] for text in texts]
    source = sentences[0] + sentences[1]
    middle = MADE[made](source, rng)
    if made in ("repeat", "loop"):  # so that cases overlap
        source = edit(0.2 if made == "loop" else 0)(source[:8] + source[4:12] + source[:6], rng)
    return " ".join(sentences[2][:3] + middle + sentences[3][:3]), " ".join(source)


def rows():
    for made in MADE:
        for seed in SEEDS[made]:
            suspicious, source = pair(made, seed)
            spans = reference.split_sentences(suspicious), reference.split_sentences(source)
            row = {"made": made, "suspicious": suspicious, "source": source}
            row |= dict(zip(("suspicious_sentences", "source_sentences"), spans, strict=True))
            for name, profile in PROFILES.items():
                kind, passages = reference.align(suspicious, source, *spans, profile)
                row[name] = {"kind": kind, "passages": sorted(passages)}
            yield row


if __name__ == "__main__":
    for row in rows():
        print(json.dumps(row))
