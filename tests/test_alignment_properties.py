"""What holds whatever the text."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.tokenize.treebank import TreebankWordTokenizer

from memorization.alignment import PROFILES, align, longest_common_run, prepare, split_sentences
from memorization.alignment.chunk_words import UNSPACED, hash_of
from memorization.alignment.sentence_splitting import OTHER_END, PUNKT

ROOT = Path(__file__).parents[1]
PIECES = """a. B cat dog? ! . .. ... ' `` '' -- ( ) [x] (see fig.) (see). [it], don't DON'T cannot it's e.g. Dr. I.
    3.5 1,000 gonna wanna, 'tis \u2019s \u201cquoted\u201d \U0001f600 \u0130stanbul stra\u00dfe $5 a-b a--b end.)
    x_y a\u0307b \u05e9\u05dc\u05d5\u05dd http://x.y/?q=1&r=2 end." ), :( ; " "it's" can't. you'll """
PIECES = st.sampled_from([*PIECES.split(), "\xa0", "\x00", "\x1c"])
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(PIECES, st.sampled_from([" ", " ", "\n", "  ", "\t"])), max_size=40).map("".join),
    st.lists(PIECES, max_size=40).map(" ".join),
)


OTHERS = st.sampled_from(
    [
        *"你好。 吗? 他说：「好！」 中文OK 52天 カタカナ か\u3099 สวัสดี ครับ ๑๐ कराएँ। हाँ। نعم؟ བོད།".split(),
        "John",
        " ",
        ".",
    ]
)
SCRIPTS = st.one_of(TEXTS, st.lists(OTHERS, max_size=12).map("".join), st.lists(OTHERS, max_size=12).map(" ".join))


def of_nltk(text):
    """Whether a text is one for which NLTK is the oracle: without scripts that it knows nothing of."""
    return not OTHER_END.search(text) and not UNSPACED.search(text)


def inside(span, text):
    return 0 <= span[0] < span[1] <= len(text)


@settings(max_examples=300, deadline=None)
@given(SCRIPTS, SCRIPTS, st.sampled_from(sorted(PROFILES)))
@example("", "", "paper")
@example("\x00", "?", "pan")
def test_every_span_lies_inside_its_text(suspicious, source, profile):
    kind, passages = align(suspicious, source, profile)
    assert (kind == "none") == (not passages)
    for a, b in [*passages, *filter(None, [longest_common_run(suspicious, source)])]:
        assert inside(a, suspicious) and inside(b, source)


@settings(max_examples=300, deadline=None)
@given(TEXTS.filter(of_nltk))
@example("0.@.")
@example("So !! He left.")
@example("He left. )--and so on")
@example('So he did. " Now what')
@example(" Dr. Smith came. He left.\n")
@example("It's so.\nHe 'did'\nit. Yes")
def test_sentences_are_those_of_nltk_and_in_order(text):
    spans = split_sentences(text)
    assert spans == list(PUNKT.span_tokenize(text))
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


@settings(max_examples=500, deadline=None)
@given(TEXTS.filter(lambda text: of_nltk(text) and not set(text) & set("\x1c\x1d\x1e\x1f\x85")))
def test_words_are_the_tokens_of_nltk(text):
    tokens = [word for word in TreebankWordTokenizer().tokenize(text) if word not in ("``", "''")]
    expected = [word.lower() for word in tokens if not set(word) <= set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")]
    assert prepare(text, [(0, len(text))]).words.tolist() == list(map(hash_of, expected))


def test_documents_without_common_words_have_nothing_in_common():
    a = "Grey cats chase seven mice. They sleep beside warm stoves. Nobody disturbs them."
    b = "Parliament passed this budget. Critics called several taxes unfair. Debates lasted until midnight."
    assert align(a, b, "paper") == ("none", []) and longest_common_run(a, b) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9999), min_size=3, max_size=12, unique=True))
def test_a_document_aligned_with_itself_is_verbatim_and_covered(numbers):
    text = " ".join(f"Patient number{n} took medicine{n} before breakfast{n} during winter{n}." for n in numbers)
    for profile in PROFILES:
        if len(text) > PROFILES[profile].verbatim_minlen:
            assert align(text, text, profile) == ("verbatim", [((0, len(text)), (0, len(text)))])


MILLION = {
    "points": "." * 10**6,
    "letters": "a" * 10**6,
    "marks": "!?" * 500_000,
    "one sentence again and again": "The cat sat on the mat. " * 40_000,
    "two sentences in turn": "The grey cat slept there. A big dog barked loudly. " * 20_000,
    "a word after a desert": "x." + " " * 10**6 + "y",
}


@pytest.mark.parametrize("name", MILLION)
def test_a_million_characters_are_no_trouble(name):
    document = prepare(MILLION[name])
    kind, passages = align(document, document, "paper")
    assert all(inside(span, document.text) for pair in passages for span in pair)
    run = longest_common_run(document, document)
    assert run is None or run[0] == run[1]


def test_torch_is_not_imported():
    code = "import sys, memorization.alignment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_without_numba_the_results_are_the_same():
    code = """
import sys
sys.modules["numba"] = None
from memorization.alignment import align
text = "The grey cat chased seven mice. It slept beside the stove. Nobody saw the old dog there."
print(align(text, "Nothing happened that day. " + text, "paper"))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    text = "The grey cat chased seven mice. It slept beside the stove. Nobody saw the old dog there."
    assert done.stdout.strip() == str(align(text, "Nothing happened that day. " + text, "paper")), done.stderr
