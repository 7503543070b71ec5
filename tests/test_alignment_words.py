"""Words, their bounds and their stems are those of NLTK, whatever a chunk stands between."""

import random

import dictionary_alignment as plain
import pytest

from memorization.alignment import chunks, prepare
from memorization.alignment import words as module
from memorization.alignment.chunks import hash_of

PIECES = """cat dogs DON't they'Ll DON'T cannot Cannot gonna 'tis it's it's' a' 's 'll (see [it] end.) fig. (fig. a.m.
    3.5 1,000 ok: ? well,well no--no e.g. cats' 'So' "So" "it's" ''odd'' so," dog? a-b x_y Mr. the of $5
    ... \u2019s \u201cso\u201d""".split()


def check(text):
    document = prepare(text, [(0, len(text))])
    spans = [span for span in plain.TOKENIZER.span_tokenize(text) if set(text[slice(*span)]) - set(plain.punctuation)]
    assert document.bounds.tolist() == [list(span) for span in spans], text
    tokens = [token for token in plain.TOKENIZER.tokenize(text) if set(token) - set(plain.punctuation)]
    assert document.words.tolist() == [hash_of(token.lower()) for token in tokens], text
    lower = plain.TOKENIZER.tokenize(text.lower())
    stems = [plain.STEMMER.stem(token) for token in lower if token[0].isalnum() and len(token) > 2]
    assert document._stems.tolist() == list(map(hash_of, stems)), text


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
    monkeypatch.setattr(module, "REMEMBERED", 50)
    for document in before:
        again = prepare(document.text)
        assert again.words.tolist() == document.words.tolist() and again._stems.tolist() == document._stems.tolist()
        assert module._chunks.characters < 200 and chunks._stem.cache_info().currsize < 20
