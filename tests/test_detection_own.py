"""What is said of a generation's own sample never contradicts itself, wherever the prompt and the last token end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.encoding.words import words
from support.indexes import open_spans

texts = st.one_of(
    st.text(st.sampled_from("ab .-é中文ก็한\u0301"), max_size=30),
    st.lists(st.sampled_from(["alpha ", "alphabet ", "al", "文字", "かな", ". ", "ไทย", "한국 "]), max_size=10).map(
        "".join
    ),
)


@pytest.mark.hypothesis
@given(st.lists(texts, min_size=2, max_size=5, unique=True), st.data())
def test_what_is_said_of_the_own_sample_never_contradicts_itself(tmp_path_factory, others, data):
    samples = [(3 * i, data.draw(st.booleans()), text) for i, text in enumerate(others)]
    clusters = {id: 3 * member for id, member, _ in samples} if data.draw(st.booleans()) else {}
    spans = open_spans(tmp_path_factory.mktemp("own"), samples, clusters=clusters)
    id, member, text = data.draw(st.sampled_from(samples))
    cut = data.draw(st.integers(0, len(text)))
    prefix, suffix = text[:cut], text[cut:]
    exact = suffix[: data.draw(st.integers(0, len(suffix)))]
    generation = data.draw(
        st.sampled_from([exact, f"{exact}\ufffd", exact.upper(), f"{data.draw(texts)}. {exact}", data.draw(texts)])
    )
    span_length = data.draw(st.integers(1, 12))

    longest, copied, own = spans.copied(generation, id, prefix, suffix, span_length)
    held = [run for run in copied if run.sample == id]
    assert (own is not None and own.length > span_length) == bool(held)
    if own is not None:
        assert max((run.length for run in held), default=own.length) == own.length
        assert not member or longest.length >= own.length
        assert own.length == words(generation[slice(*own.generation_span)]).length()
    for run in held:
        assert run.whose(clusters.get(id, id)) in ("own", "shared")
        assert run.sample_span[0] >= cut
        copied_words = words(generation[slice(*run.generation_span)])
        assert words(text[slice(*run.sample_span)]).hashes.tolist() == copied_words.hashes.tolist()
        assert run.length == copied_words.length()
    for run in copied:
        assert run.length > span_length and run.holders >= 1
        assert not any(
            other is not run
            and other.sample == id
            and other.generation_span[0] <= run.generation_span[0]
            and run.generation_span[1] <= other.generation_span[1]
            for other in copied
        )
    if generation.rstrip("\ufffd").casefold() == exact.casefold() and words(generation).length() > span_length:
        assert own.length == words(generation).length()
        assert {run.whose(clusters.get(id, id)) for run in copied} & {"own", "shared"}


def copied_of(directory, samples, generation, id, cut, span_length=50):
    """What is copied of members, dict id -> text, with a prompt of `cut` characters."""
    spans = open_spans(directory, [(id, True, text) for id, text in samples.items()])
    return spans.copied(generation, id, samples[id][:cut], samples[id][cut:], span_length)


def test_a_key_that_is_cut_at_both_ends_is_told_by_its_text(tmp_path):
    key = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    alone = {1: f"The key is {key}.", 2: f"The key is {key[::-1]}."}
    _, (run,), own = copied_of(tmp_path / "alone", alone, key[3:60], 1, len("The key is 9f8"))
    assert (run.length, run.holders, run.sample, own.length) == (57, 1, 1, 57)
    assert alone[1][slice(*run.sample_span)] == key[3:60]
    _, (run,), _ = copied_of(tmp_path / "twice", alone | {3: f"Again: {key}"}, key[3:60], 1, len("The key is 9f8"))
    assert (run.length, run.holders, run.sample) == (57, 2, 1)


def test_a_piece_of_a_word_tells_nobody_apart(tmp_path):
    """Both samples hold what is said, though they go on with different numbers, and begin with different ones."""
    copied = "is the number of the patient who called about the invoice, file 12"
    samples = {1: f"4711 {copied}345", 2: f"5822 {copied}678"}
    _, (run,), _ = copied_of(tmp_path, samples, copied, 1, len("4711 "))
    assert (run.length, run.holders, run.sample) == (len(copied) - 1, 2, 1)
    _, (run,), _ = copied_of(tmp_path / "begin", samples, f"1 {copied}", 1, len("471"))
    assert (run.length, run.holders, run.sample) == (len(copied) + 1, 2, 1)


def test_the_last_word_before_a_mark_counts(tmp_path):
    copied = "write to the office, or to me in person: dmitri@mailbox.org"
    samples = {1: f"You can {copied}.", 2: "Nothing of it."}
    for mark in ("", ".", ".<|im_end|>", "<|im_end|>", "\ufffd", "\u200b", "。"):
        _, (run,), own = copied_of(tmp_path / str(len(mark)), samples, copied + mark, 1, len("You can "))
        assert copied[slice(*run.generation_span)] == copied and own.length == run.length


@pytest.mark.parametrize("filler", [" .", "\n", " ", " -", "..", "\u3000", "\u200b", "\U0001f600"])
def test_blanks_and_punctuation_add_no_length(tmp_path, filler):
    text = f"Yes{filler * 60} no"
    longest, copied, own = copied_of(tmp_path, {1: text, 2: text.lower()}, text, 1, 0)
    assert copied == [] and longest.length == own.length == len("Yes no")
