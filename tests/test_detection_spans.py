"""The span index against brute force: every maximal run of words that a generation copies, and all who hold it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.alignment import prepare
from memorization.detection import span_index
from memorization.detection.span_index import build
from memorization.detection.spans import SpanIndex

ENCODING = "0123456789abcdef"


def open_spans(directory, samples, jobs=1):
    """The span index of samples, (id, member, text) each."""
    build(span_index.span_index_path(directory, ENCODING), samples, ENCODING, len(samples), jobs)
    return SpanIndex(directory, ENCODING)


def contains(words, run, begin=0):
    """The places from `begin` on at which a run of words stands among others."""
    n = len(run)
    return [i for i in range(begin, len(words) - n + 1) if words[i : i + n] == run]


def brute_force(generation, samples, own_id, prefix):
    """(begin, end) in words of every maximal run, by comparing with each sample, and who holds it: dict -> ids."""
    ours = generation.words.tolist()
    texts = {id: prepare(text) for id, _, text in samples}
    cut = {id: int((text.bounds[:, 0] < len(prefix)).sum()) if id == own_id else 0 for id, text in texts.items()}
    runs = set()
    for begin in range(len(ours)):
        for end in range(len(ours), begin, -1):
            if any(contains(texts[id].words.tolist(), ours[begin:end], cut[id]) for id in texts):
                runs.add((begin, end))
                break
    maximal = [run for run in runs if not any(a <= run[0] and run[1] <= b and (a, b) != run for a, b in runs)]
    return {
        run: {id for id in texts if contains(texts[id].words.tolist(), ours[run[0] : run[1]])}
        for run in sorted(maximal)
    }


def check(spans, generation, samples, own_id, prefix, span_length):
    """Compare `copied` with brute force; return it."""
    document, members = prepare(generation), {id for id, member, _ in samples if member}
    texts = {id: text for id, _, text in samples}
    longest, copied = spans.copied(document, own_id, prefix, span_length)
    expected = []
    for (begin, end), holders in brute_force(document, samples, own_id, prefix).items():
        span = (int(document.bounds[begin, 0]), int(document.bounds[end - 1, 1]))
        if span[1] - span[0] > span_length:
            expected.append((span, len(holders), len(holders & members)))
    assert [(run.generation_span, run.holders, run.members) for run in copied] == expected
    trained = brute_force(document, [sample for sample in samples if sample[1]], own_id, prefix)
    most = max((document.bounds[end - 1, 1] - document.bounds[begin, 0] for begin, end in trained), default=0)
    assert (longest.characters if longest else 0) == most
    for run in copied + ([longest] if longest else []):
        assert run.characters == run.generation_span[1] - run.generation_span[0]
        told = prepare(texts[run.sample][slice(*run.sample_span)]).words.tolist()
        assert told == prepare(generation[slice(*run.generation_span)]).words.tolist()
        if run.sample == own_id:
            assert run.sample_span[0] >= len(prefix)
    assert longest is None or longest.sample in members
    return longest, copied


words = st.lists(st.sampled_from("alpha beta gamma delta , Epsilon".split()), max_size=12).map(" ".join)


@pytest.mark.hypothesis
@given(st.lists(words, min_size=2, max_size=6, unique=True), words, st.integers(0, 40), st.integers(0, 20), st.data())
def test_copied_equals_brute_force(tmp_path_factory, texts, generation, cut, span_length, data):
    samples = [(3 * i, data.draw(st.booleans()), text) for i, text in enumerate(texts)]
    own, _, text = data.draw(st.sampled_from(samples))
    spans = open_spans(tmp_path_factory.mktemp("spans"), samples)
    check(spans, generation, samples, own, text[:cut], span_length)
