"""Words, their bounds and their stems are those of NLTK, whatever a chunk stands between."""

import random

import pytest

from memorization.alignment import chunk_words, document, prepare, reference
from memorization.alignment.chunk_words import hash_of

PIECES = """cat dogs DON't they'Ll DON'T cannot Cannot gonna 'tis it's it's' a' 's 'll (see [it] end.) fig. (fig. a.m.
    3.5 1,000 ok: ? well,well no--no e.g. cats' 'So' "So" "it's" ''odd'' so," dog? a-b x_y Mr. the of $5
    ... \u2019s \u201cso\u201d""".split()


def check(text):
    one_sentence = prepare(text, [(0, len(text))])
    spans = [
        span for span in reference.TOKENIZER.span_tokenize(text) if set(text[slice(*span)]) - set(reference.punctuation)
    ]
    assert one_sentence.bounds.tolist() == [list(span) for span in spans], text
    tokens = [token for token in reference.TOKENIZER.tokenize(text) if set(token) - set(reference.punctuation)]
    assert one_sentence.words.tolist() == [hash_of(token.lower()) for token in tokens], text
    lower = reference.TOKENIZER.tokenize(text.lower())
    stems = [reference.STEMMER.stem(token) for token in lower if token[0].isalnum() and len(token) > 2]
    assert one_sentence._stems.tolist() == list(map(hash_of, stems)), text


@pytest.mark.parametrize("seed", range(40))
def test_words_bounds_and_stems(seed):
    rng = random.Random(seed)
    for _ in range(30):
        blanks = rng.choice([" ", " \n", "  \t\n\xa0"])
        pieces = [piece + rng.choice(blanks) for piece in rng.choices(PIECES, k=rng.randint(1, 7))]
        check(rng.choice(["", "", " ", "\n"]) + "".join(pieces).strip() + rng.choice(["", "", " ", "\n"]))


@pytest.mark.parametrize(
    "text",
    [
        "'tis[\" so",  # a contraction behind a blank, at the beginning
        "so 'tis[\" so",
        "so\n'tis[\" so",  # and behind another blank, where it is none
        "\n'tis[\" so",
        "the cats' own",  # a quote before a blank, another blank, the end
        "the cats'\nown",
        "the cats'",
        "the cats'\n",
        "so .'s' ",
        "a' DON'T",
        "Ok. No.",  # a point within and at the end
        "Ok.\nNo. ",
        "well,well,well",
    ],
)
def test_what_is_beside_a_chunk(text):
    check(text)


def test_what_is_forgotten_is_learned_again(monkeypatch):
    texts = [f"The {word} of number{i} cannot be 'so'." for i, word in enumerate(PIECES)]
    before = [prepare(text) for text in texts]
    monkeypatch.setattr(document, "REMEMBERED", 50)
    for first in before:
        again = prepare(first.text)
        assert again.words.tolist() == first.words.tolist() and again._stems.tolist() == first._stems.tolist()
        assert document._chunk_words.characters < 200 and chunk_words._stem.cache_info().currsize < 20
