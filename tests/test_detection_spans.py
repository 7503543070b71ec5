"""The span index against brute force: every maximal run of words that a generation copies, and all who hold it."""

import random
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.alignment.verbatim import common_runs
from memorization.detection import span_index
from memorization.detection.copied_runs import SpanIndex
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.tasks import DIALOGUE
from memorization.encoding.words import words
from memorization.shell.cli import UserError
from memorization.store.locations import span_index_path
from support.indexes import ENCODING, open_spans


def contains(words, run, begin=0):
    """The places from `begin` on at which a run of words stands among others."""
    n = len(run)
    return [i for i in range(begin, len(words) - n + 1) if words[i : i + n] == run]


def brute_force(generation, samples, own_id, prefix, clusters=None, span_length=None):
    """(begin, end) in words of every run that counts, by comparing with each sample: dict -> the ids that hold it.

    Those are the longest ones of any sample, and with a span_length also those of its own sample.
    """
    ours, clusters = generation.hashes.tolist(), clusters or {}
    texts = {id: words(text) for id, _, text in samples}
    hashes = {id: text.hashes.tolist() for id, text in texts.items()}
    cut = {id: int((text.bounds[:, 0] < len(prefix)).sum()) if id == own_id else 0 for id, text in texts.items()}

    def longest(ids):
        runs = set()
        for begin in range(len(ours)):
            for end in range(len(ours), begin, -1):
                if any(contains(hashes[id], ours[begin:end], cut[id]) for id in ids):
                    runs.add((begin, end))
                    break
        return {run for run in runs if not any(a <= run[0] and run[1] <= b and (a, b) != run for a, b in runs)}

    def holders(begin, end):
        return {id for id in texts if contains(hashes[id], ours[begin:end])}

    runs = longest(texts)
    if span_length is None:
        return {run: holders(*run) for run in sorted(runs)}
    runs, counting = {run for run in runs | longest([own_id]) if generation.lengths(*run) > span_length}, set()
    prompt, own_cluster = hashes[own_id][: cut[own_id]], clusters.get(own_id, own_id)
    for begin, end in runs:
        while begin < end:
            held = {clusters.get(id, id) for id in holders(begin, end)}
            if held != {own_cluster} or contains(hashes[own_id], ours[begin:end], cut[own_id]):
                break
            skipped = [n for n in range(1, end - begin) if prompt[-n:] == ours[begin : begin + n]]
            skipped += [end - begin] if contains(prompt, ours[begin:end]) else []
            if not skipped:
                break
            begin += max(skipped)
        if begin < end and generation.lengths(begin, end) > span_length:
            counting.add((begin, end))
    return {run: holders(*run) for run in sorted(counting)}


def check(spans, generation, samples, own_id, prefix, span_length, clusters=None):
    """Compare `copied` with brute force; return it."""
    ours, members = words(generation), {id for id, member, _ in samples if member}
    texts, clusters = {id: text for id, _, text in samples}, clusters or {}
    longest, copied, own = spans.copied(generation, own_id, prefix, texts[own_id][len(prefix) :], span_length)
    expected = []
    for (begin, end), holders in brute_force(ours, samples, own_id, prefix, clusters, span_length).items():
        span = (int(ours.bounds[begin, 0]), int(ours.bounds[end - 1, 1]))
        held = ({clusters.get(id, id) for id in ids} for ids in (holders, holders & members))
        expected.append((span, int(ours.lengths(begin, end)), *map(len, held)))
    assert [(run.generation_span, run.length, run.holders, run.members) for run in copied] == expected
    trained = brute_force(ours, [sample for sample in samples if sample[1]], own_id, prefix)
    assert (longest.length if longest else 0) == max((ours.lengths(*run) for run in trained), default=0)
    own_sample = [sample for sample in samples if sample[0] == own_id]
    of_own = brute_force(ours, own_sample, own_id, prefix)
    assert (own.length if own else 0) == max((ours.lengths(*run) for run in of_own), default=0)
    for run in copied + ([longest] if longest else []):
        assert run.length == words(generation[slice(*run.generation_span)]).length()
        assert run.cluster == clusters.get(run.sample, run.sample)
        copied_words = words(generation[slice(*run.generation_span)]).hashes.tolist()
        assert words(texts[run.sample][slice(*run.sample_span)]).hashes.tolist() == copied_words
        if run.sample == own_id:
            assert run.sample_span[0] >= len(prefix)
    assert longest is None or longest.sample in members
    return longest, copied


vocabulary = "alpha beta gamma delta , Epsilon 中 文 字 かな ไทย 한국".split()
texts = st.lists(st.sampled_from(vocabulary), max_size=12).flatmap(
    lambda parts: st.sampled_from([" ", ". "]).map(lambda blank: blank.join(parts))
)


@pytest.mark.hypothesis
@given(st.lists(texts, min_size=2, max_size=6, unique=True), texts, st.integers(0, 40), st.integers(0, 20), st.data())
def test_copied_equals_brute_force(tmp_path_factory, texts, generation, cut, span_length, data):
    sides = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    samples = [(3 * i, member, text) for i, (member, text) in enumerate(zip(sides, texts, strict=True))]
    alike = data.draw(
        st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))
    )  # those of a side are a cluster
    clusters = {3 * i: 3 * sides.index(sides[i]) if alike[i] else 3 * i for i in range(len(texts))}
    own, _, text = data.draw(st.sampled_from(samples))
    spans = open_spans(tmp_path_factory.mktemp("spans"), samples, clusters=clusters)
    check(spans, generation, samples, own, text[:cut], span_length, clusters)


def test_what_near_duplicates_hold_is_one_cluster_s(tmp_path):
    """Two versions of a record, a text that quotes one of them, and a prompt that the generation says again."""
    begin, end = (
        "the patient of room seven was seen by doctor Harrow on a Monday",
        "and left for home with nine tablets",
    )
    versions = [(0, True, f"{begin} in May {end}"), (3, True, f"{begin} in June {end}")]
    quoted = [(6, True, f"{begin} in May {end} as the neighbours told everybody")]
    for texts, holders in ((versions, 1), (versions + quoted, 2)):
        spans = open_spans(tmp_path / str(holders), texts, clusters={3: 0})
        _, [run] = check(spans, texts[0][2], texts, 0, "", 50, {3: 0})  # exactly its own sample
        assert (run.holders, run.members, run.sample) == (holders, holders, 0)
        _, copied = check(spans, texts[1][2], texts, 0, "", 50, {3: 0})  # the other version of it
        assert copied[-1].cluster == 0 and copied[-1].whose(0) == "own"
        _, copied = check(spans, f"{begin} in May", texts, 0, f"{begin} in May", 50, {3: 0})  # no more than its prompt
        assert [run.whose(0) for run in copied] == ["shared"] * (holders - 1)
        _, copied = check(spans, texts[0][2], texts, 0, f"{begin} in May ", 30, {3: 0})
        assert copied[-1].generation_span[0] == len(f"{begin} in May ")
        assert copied[-1].whose(0) == {1: "own", 2: "shared"}[holders]


def test_what_its_own_sample_holds_counts_within_a_longer_run_of_another_s(tmp_path):
    sentence = "nobody in the valley had ever seen the river so high in spring"
    samples = [(0, True, f"They wrote that {sentence}."), (1, True, f"{sentence} and the bridge went with it")]
    spans = open_spans(tmp_path, samples)
    _, copied = check(spans, f"{sentence} and the bridge went", samples, 0, "They wrote that ", 50)
    assert sorted((run.generation_span[1], run.whose(0)) for run in copied) == [
        (len(sentence), "shared"),
        (len(f"{sentence} and the bridge went"), "another"),
    ]


SAMPLES = [(2 * i, i % 4 > 0, DIALOGUE.text(row)) for i, row in enumerate(make_dialogues())]
SAMPLES = list({text: (id, member, text) for id, member, text in SAMPLES}.values())


def mixed(seed):
    """A text of pieces of samples, between words of nobody's."""
    rng = random.Random(seed)
    pieces = []
    for _ in range(4):
        text = rng.choice(SAMPLES)[2].split()
        begin = rng.randrange(len(text))
        pieces += [*text[begin : begin + rng.randrange(1, 25)], "notably", "quux"]
    return " ".join(pieces)


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    return open_spans(tmp_path_factory.mktemp("spans"), SAMPLES)


def test_all_runs_in_many_texts_are_those_of_the_suffix_automaton(spans):
    """Another implementation, pair by pair, over all samples: so never shorter than over ten candidates."""
    documents = {id: words(text) for id, _, text in SAMPLES}
    members = {id for id, member, _ in SAMPLES if member}
    several = 0
    for seed in range(40):
        ours, own = words(mixed(seed)), SAMPLES[0]
        longest, copied, _ = spans.copied(mixed(seed), own[0], "", own[2], 10)
        reach = np.zeros(len(ours.hashes), int)  # of each word, where the longest run that begins there ends
        trained = 0
        for id, document in documents.items():
            for begin, _, n in common_runs(ours.hashes, document.hashes).tolist():
                ends = np.arange(begin, begin + n)
                reach[ends] = np.maximum(reach[ends], begin + n)
                if id in members:
                    trained = max(trained, ours.lengths(begin, begin + n))
        begins = [
            i for i in range(len(reach)) if reach[i] > (reach[i - 1] if i else 0) and ours.lengths(i, reach[i]) > 10
        ]
        expected = {(int(ours.bounds[i, 0]), int(ours.bounds[reach[i] - 1, 1])) for i in begins}
        ranges = {run.generation_span for run in copied}
        assert expected <= ranges
        assert all(any(a <= begin and end <= b for a, b in expected) for begin, end in ranges)
        assert longest.length == trained
        several += sum(run.holders > 1 for run in copied)
    assert several  # shared runs are among them


def test_parts_and_processes_change_nothing(tmp_path, spans, monkeypatch):
    assert open_spans(tmp_path / "jobs", SAMPLES, jobs=2).metadata == spans.metadata
    monkeypatch.setattr(span_index, "PART", 500)
    small = open_spans(tmp_path / "parts", SAMPLES)
    assert len(small.metadata.parts) > 10 > len(spans.metadata.parts)
    for seed in range(10):
        id, _, text = SAMPLES[seed]
        arguments = mixed(seed), id, text[:200], text[200:], 30
        assert small.copied(*arguments) == spans.copied(*arguments)
    for number, (_, _, text) in enumerate(SAMPLES):
        assert small.texts[number] == text


def test_a_span_index_that_is_there_is_kept_and_a_damaged_one_is_refused(tmp_path):
    samples = SAMPLES[:20]
    path = span_index_path(tmp_path, ENCODING)
    open_spans(tmp_path, samples)
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    open_spans(tmp_path, samples)
    assert before == {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        for damaged in (whole[:-2], bytes([whole[0] ^ 1]) + whole[1:], None):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            with pytest.raises(UserError, match="run load_to_elastic.py again|not valid JSON|not UTF-8"):
                SpanIndex(tmp_path, ENCODING)
        file.write_bytes(whole)
    SpanIndex(tmp_path, ENCODING)
    shutil.copytree(path, span_index_path(tmp_path, "cdef"))
    with pytest.raises(UserError, match=f"is of the encoding {ENCODING}; remove it and run load_to_elastic.py again"):
        SpanIndex(tmp_path, "cdef")
    with pytest.raises(UserError, match="no span index of the encoding fedc; run load_to_elastic.py again"):
        SpanIndex(tmp_path, "fedc")
