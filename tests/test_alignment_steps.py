"""Each step of the aligner beside the same step of the plain version, on made-up documents; and its limits by hand.

The documents draw their sentences from a small pool and edit some, so that seeds, cases and runs repeat and overlap.
"""

import random
from dataclasses import replace

import numpy as np
import pytest

from memorization.alignment import PROFILES, Profile, align, longest_common_run, prepare, reference, split_sentences
from memorization.alignment.chunk_words import hash_of
from memorization.alignment.extension import extend, group
from memorization.alignment.filtering import find_cases, resolve_overlaps
from memorization.alignment.seeding import mark_seeds, pair_up
from memorization.alignment.sentence_vectors import unpack
from memorization.alignment.verbatim import long_runs

WORDS = """cat dogs birds housing rivers garden doctor letters winter market running quickly cannot don't "so" of Mr.
    it's x-ray 3.5 nations relational (see) happy""".split()
SEEDS = range(60)


def made_up(seed, longest=14):
    """A random generator and two texts."""
    rng = random.Random(seed)
    words = rng.sample(WORDS, rng.randint(6, len(WORDS)))
    pool = [rng.choices(words, k=rng.choice([1, 2, 3, 5, 8, 12])) for _ in range(rng.randint(2, 7))]

    def document():
        sentences = []
        for _ in range(rng.randint(1, longest)):
            sentence = list(rng.choice(pool))
            if rng.random() < 0.4:
                sentence[rng.randrange(len(sentence))] = rng.choice(words)
            sentences.append(" ".join(sentence).capitalize() + rng.choice([".", ".", "!", " ..."]))
        return rng.choice([" ", "  ", "\n"]).join(sentences)

    return rng, document(), document()


def both_sides(seed, min_sentlen=3):
    """A random generator, the WeightedPair of two made-up documents, and their plain weighted vectors."""
    rng, *texts = made_up(seed)
    documents = [prepare(text) for text in texts]
    (susp, _, frequency), (src, _, other) = (
        reference.preprocess(document.text, document.sentences, min_sentlen) for document in documents
    )
    pair = pair_up(*(document.vectors(min_sentlen) for document in documents))
    return rng, pair, reference.weigh(susp, src, frequency, other), reference.weigh(src, susp, other, frequency)


@pytest.mark.parametrize(
    "text, sentences",
    [
        ("Dr. Smith came. He left.", ["Dr. Smith came.", "He left."]),
        ('He said "Go." Then she went.', ['He said "Go."', "Then she went."]),
        ("It costs 3.5 dollars. that is much", ["It costs 3.5 dollars.", "that is much"]),
        ("See fig. 3 (there). It shows it!  What? No.", ["See fig. 3 (there).", "It shows it!", "What?", "No."]),
        ("  So it is, e.g. here. \n", ["  So it is, e.g. here."]),
        ("We met J. Smith. I waved...and left.", ["We met J. Smith.", "I waved...and left."]),
        ("We chose plan B. The rest is done.", ["We chose plan B.", "The rest is done."]),
        ("", []),
    ],
)
def test_sentences_worked_out_by_hand(text, sentences):
    assert [text[start:end] for start, end in split_sentences(text)] == sentences


@pytest.mark.parametrize("min_sentlen", [1, 2, 3, 6])
@pytest.mark.parametrize("seed", SEEDS[::3])
def test_sentence_vectors_and_merging(seed, min_sentlen):
    _, text, _ = made_up(seed)
    document = prepare(text)
    vectors = unpack(document.vectors(min_sentlen))
    expected, spans, frequency = reference.preprocess(text, document.sentences, min_sentlen)
    rows = list(zip(vectors.start, vectors.start[1:], strict=False))
    stems = [vectors.vocabulary[vectors.stem[a:b]].tolist() for a, b in rows]
    counts = [vectors.counts[a:b].tolist() for a, b in rows]
    assert [list(zip(*row, strict=True)) for row in zip(stems, counts, strict=True)] == [
        [(hash_of(stem), count) for stem, count in vector.items()] for vector in expected
    ]
    starts, ends = (
        np.array(document.sentences).reshape(-1, 2)[of, side].tolist()
        for of, side in ((vectors.first, 0), (vectors.last, 1))
    )
    assert list(zip(starts, ends, strict=True)) == spans
    assert vectors.vocabulary.tolist() == sorted(map(hash_of, frequency))
    assert dict(zip(vectors.vocabulary.tolist(), np.diff(vectors.posting_start).tolist(), strict=True)) == {
        hash_of(stem): n for stem, n in frequency.items()
    }
    # the columns hold what the rows hold
    columns = [
        (int(i), k, int(n))
        for k in range(len(vectors.vocabulary))
        for i, n in zip(
            vectors.posting[vectors.posting_start[k] : vectors.posting_start[k + 1]],
            vectors.posting_count[vectors.posting_start[k] : vectors.posting_start[k + 1]],
            strict=True,
        )
    ]
    entries = [(i, int(vectors.stem[k]), int(vectors.counts[k])) for i, (a, b) in enumerate(rows) for k in range(a, b)]
    assert columns == sorted(entries, key=lambda entry: (entry[1], entry[0]))
    same = list(zip(stems, counts, strict=True))
    assert vectors.twin.tolist() == [same.index(row) for row in same]


def test_merging_worked_out_by_hand():
    # two words, one, none that counts, four, two: the last one stays short
    text = "Red cats. Dogs. Or so. Red birds eat seeds. Dogs bark."
    document = prepare(text, [(0, 9), (10, 15), (16, 22), (23, 43), (44, 54)])
    vectors = unpack(document.vectors(3))
    assert (vectors.first.tolist(), vectors.last.tolist()) == ([0, 3, 4], [1, 3, 4])
    vectors = unpack(document.vectors(4))
    assert (vectors.first.tolist(), vectors.last.tolist()) == ([0, 4], [3, 4])
    red = vectors.vocabulary.tolist().index(hash_of("red"))
    assert dict(zip(vectors.stem.tolist(), vectors.counts.tolist(), strict=True))[red] == 2
    assert np.diff(vectors.posting_start)[red] == 1


@pytest.mark.parametrize("seed", SEEDS[::3])
def test_weights_and_norms(seed):
    _, pair, susp, src = both_sides(seed)
    for vectors, weight, norm, expected in (
        (pair.a, pair.weight_a, pair.norm_a, susp),
        (pair.b, pair.weight_b, pair.norm_b, src),
    ):
        measured = [
            {int(vectors.vocabulary[vectors.stem[k]]): vectors.counts[k] * weight[vectors.stem[k]] for k in range(a, b)}
            for a, b in zip(vectors.start, vectors.start[1:], strict=False)
        ]
        assert measured == [
            {hash_of(stem): pytest.approx(weight, rel=1e-12, abs=0) for stem, weight in vector.items()}
            for vector in expected
        ]
        assert norm == pytest.approx([sum(w * w for w in vector.values()) ** 0.5 for vector in expected], rel=1e-12)
    place = {stem: j for j, stem in enumerate(pair.b.vocabulary.tolist())}
    assert pair.other.tolist() == [place.get(stem, -1) for stem in pair.a.vocabulary.tolist()]


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds(seed):
    rng, pair, susp, src = both_sides(seed, min_sentlen=2)
    n, m = len(susp), len(src)
    for _ in range(10):
        th1, th2 = rng.choice([0.0, 0.3, 0.6, 0.9]), rng.choice([0.0, 0.33, 0.5, 2 / 3, 0.8])
        i0, j0 = rng.randrange(n), rng.randrange(m)
        i1, j1 = rng.randrange(i0, n), rng.randrange(j0, m)
        rows, columns = np.full(n, -1, np.int8), np.full(m, -1, np.int8)
        mark_seeds(pair, (i0, i1, j0, j1), th1, th2, rows, columns)
        inside = [(i, j) for i, j in reference.seeding(susp, src, th1, th2) if i0 <= i <= i1 and j0 <= j <= j1]
        assert rows[i0 : i1 + 1].tolist() == [i in {i for i, _ in inside} for i in range(i0, i1 + 1)]
        assert columns[j0 : j1 + 1].tolist() == [j in {j for _, j in inside} for j in range(j0, j1 + 1)]
        # what is outside the area is not touched
        assert {*rows[:i0], *rows[i1 + 1 :], *columns[:j0], *columns[j1 + 1 :]} <= {-1}


@pytest.mark.parametrize("seed", SEEDS)
def test_extension(seed):
    rng, pair, susp, src = both_sides(seed)
    for _ in range(4):
        th1, th2, th3 = rng.choice([0.1, 0.3]), rng.choice([0.1, 0.33]), rng.choice([0.1, 0.34, 0.7, 0.9])
        gaps = rng.randrange(5), rng.randrange(5)
        expected = reference.extension(reference.seeding(susp, src, th1, th2), gaps, susp, src, th3)
        cases = extend(pair, gaps, th1, th2, th3).tolist()
        assert [((a, b), (c, d)) for a, b, c, d in cases] == expected


def test_a_gap_is_so_many_sentences_between_neighbours():
    marked = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 0], bool)
    assert group(marked, 0, 9, 2) == [(1, 4), (8, 8)]
    assert group(marked, 0, 9, 3) == [(1, 8)]
    assert group(marked, 2, 7, 9) == [(4, 4)]
    assert list(group(marked, 5, 7, 9)) == []


def random_cases(rng, n, m, count):
    ranges = [sorted(rng.choices(range(n), k=2)) + sorted(rng.choices(range(m), k=2)) for _ in range(count)]
    return np.array(ranges, np.int64).reshape(-1, 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_filtering(seed):
    rng, pair, susp, src = both_sides(seed)
    for _ in range(10):
        cases = random_cases(rng, len(susp), len(src), rng.randrange(7))
        expected = reference.resolve_overlaps([((a, b), (c, d)) for a, b, c, d in cases.tolist()], susp, src)
        assert [((a, b), (c, d)) for a, b, c, d in resolve_overlaps(cases, pair).tolist()] == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_verbatim_runs(seed):
    rng, *texts = made_up(seed)
    susp, src = documents = [prepare(text) for text in texts]
    cases = random_cases(rng, len(susp.sentences), len(src.sentences), 6).tolist()
    for a, b, c, d in cases:
        minlen = rng.choice([0, 5, 10, 20, 40])
        s, r = susp.words_of(a, b), src.words_of(c, d)
        runs = long_runs(susp.words[s], src.words[r], susp.reach[s], src.reach[r], minlen)
        spans = ((susp.sentences[a][0], susp.sentences[b][1]), (src.sentences[c][0], src.sentences[d][1]))
        expected = reference.verbatim_runs([spans], *texts, *(document.sentences for document in documents), minlen)
        assert sorted({((s0, s1), (r0, r1)) for s0, s1, r0, r1 in runs.tolist()}) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_the_longest_common_run(seed):
    _, susp_text, src_text = made_up(seed)
    susp, src = (
        [(text[start:end].lower(), start, end) for start, end in (map(int, bound) for bound in prepare(text).bounds)]
        for text in (susp_text, src_text)
    )
    runs = reference.common_runs(susp, src)
    longest = max((end - start for (start, end), _ in runs), default=0)
    first = min((run for run in runs if run[0][1] - run[0][0] == longest), key=lambda run: run[1], default=None)
    assert longest_common_run(susp_text, src_text) == first


@pytest.mark.parametrize("seed", range(300))
def test_the_whole_with_any_profile(seed):
    rng, suspicious, source = made_up(seed, longest=20)
    profile = Profile(
        th1=rng.choice([0.1, 0.3]),
        th2=rng.choice([0.2, 0.33]),
        th3=rng.choice([0.2, 0.34, 0.6]),
        src_gap=rng.randrange(5),
        susp_gap=rng.randrange(5),
        min_sentlen=rng.randint(1, 4),
        min_plaglen=rng.choice([1, 30, 60]),
        verbatim_minlen=rng.choice([20, 60, 200, 10**6]),
        src_gap_summary=rng.randrange(4, 12),
        susp_gap_summary=rng.randrange(4, 12),
        summary_ratio=rng.choice([0.5, 1, 1.5, 3]),
    )
    kind, passages = reference.align(
        suspicious, source, reference.split_sentences(suspicious), reference.split_sentences(source), profile
    )
    assert align(suspicious, source, profile) == (kind, sorted(passages))


CAT = "The grey cat chased seven mice. Every evening it slept beside the kitchen stove."
LAW = "Parliament passed the budget after long debates. Critics called several taxes unfair."
NO_VERBATIM = replace(PROFILES["paper"], verbatim_minlen=10**6)


def test_the_limits_of_lengths():
    """A case of exactly min_plaglen stays, a run of exactly verbatim_minlen is not verbatim."""
    suspicious, source, n = f"{LAW} {CAT}", f"{CAT} Nobody knew.", len(CAT)
    passages = [((len(LAW) + 1, len(LAW) + 1 + n), (0, n))]
    limits = {
        (n, n - 1): ("verbatim", passages),
        (n, n): ("obfuscated", passages),
        (n + 1, n - 1): ("none", []),
    }
    for (min_plaglen, verbatim_minlen), expected in limits.items():
        profile = Profile(min_plaglen=min_plaglen, verbatim_minlen=verbatim_minlen)
        assert align(suspicious, source, profile) == expected


def test_the_limits_of_the_summary_rule():
    """Source characters of exactly summary_ratio times the suspicious ones are enough; the other way round is none."""
    long = " ".join([CAT, "Seven grey mice saw the cat chase them.", "Each evening the cat slept, chasing no mice."])
    suspicious, source = f"{LAW} {CAT}", f"{long} Something else entirely happened elsewhere."
    kind, [((s0, s1), (r0, r1))] = align(suspicious, source, NO_VERBATIM)
    ratio = (r1 - r0) / (s1 - s0)
    assert kind == "obfuscated" and 1 < ratio < 3
    exact = replace(NO_VERBATIM, summary_ratio=ratio)
    assert align(suspicious, source, exact) == ("summary", [((s0, s1), (r0, r1))])
    assert align(suspicious, source, replace(exact, summary_ratio=ratio + 1e-9)).kind == "obfuscated"
    assert align(source, suspicious, exact).kind == "obfuscated"


def test_the_thresholds_of_seeds_are_exclusive():
    """One stem a sentence: cosine and Dice coefficient of like sentences are 1, of unlike ones 0."""
    pair = pair_up(*(prepare(text, spans).vectors(1) for text, spans in (("cat dog", [(0, 3), (4, 7)]),) * 2))
    rows, columns = np.empty(2, bool), np.empty(2, bool)
    for th1, th2, any_ in ((0.999, 0.999, True), (1, 0.999, False), (0.999, 1, False)):
        mark_seeds(pair, (0, 1, 0, 1), th1, th2, rows, columns)
        assert rows.tolist() == columns.tolist() == [any_] * 2


def test_stems_in_all_sentences_count_for_the_dice_coefficient():
    """Of weight 0 they add nothing to the cosine; 1 of 3 stems shared is too few for th2 = 0.33, 2 of 3 is enough."""
    spans = [(0, 11), (12, 23)]
    susp, src = prepare("all one two all red big", spans), prepare("all one six all odd new", spans)
    pair = pair_up(susp.vectors(1), src.vectors(1))
    everywhere = pair.a.vocabulary.tolist().index(hash_of("all"))
    assert pair.weight_a[everywhere] == 0
    for th2, is_seed in ((0.6, True), (2 / 3, False)):
        rows, columns = np.empty(2, bool), np.empty(2, bool)
        mark_seeds(pair, (0, 1, 0, 1), 0.1, th2, rows, columns)
        assert rows.tolist() == columns.tolist() == [is_seed, False]


def test_the_gaps_of_either_side_are_its_own():
    """Two copied sentences, three apart on the suspicious and one apart on the source side."""
    one, two = "Grey cats chase seven mice.", "Old dogs guard wooden houses."
    filling = ["Parliament passed budgets.", "Critics called taxes unfair.", "Debates lasted until midnight."]
    suspicious = " ".join([one, *filling, two])
    source = " ".join([one, "Rivers froze last winter.", two])
    a, b = prepare(suspicious).vectors(3), prepare(source).vectors(3)
    together, apart = [[0, 4, 0, 2]], [[0, 0, 0, 0], [4, 4, 2, 2]]
    for gaps, expected in (((3, 1), together), ((2, 1), apart), ((3, 0), apart), ((1, 3), apart)):
        assert find_cases(a, b, gaps, 0.3, 0.33, 0.0)[1].tolist() == expected


def test_gaps_narrow_until_the_fragments_are_alike():
    """What lies between two copies of a sentence each makes the whole less alike than th3."""
    one, two = "Grey cats chase seven mice.", "Old dogs guard wooden houses."
    susp, src = f"{one} Parliament passed budgets. {two}", f"{one} {two}"
    a, b = prepare(susp).vectors(3), prepare(src).vectors(3)
    (x, _, frequency), (y, _, other) = (
        reference.preprocess(text, reference.split_sentences(text), 3) for text in (susp, src)
    )
    sums = (
        reference.add_up(reference.weigh(x, y, frequency, other)),
        reference.add_up(reference.weigh(y, x, other, frequency)),
    )
    alike = reference.cosine(*sums)
    assert 0.3 < alike < 0.9
    assert find_cases(a, b, (1, 1), 0.3, 0.33, alike - 1e-9)[1].tolist() == [[0, 2, 0, 1]]
    assert find_cases(a, b, (1, 1), 0.3, 0.33, alike + 1e-9)[1].tolist() == [[0, 0, 0, 0], [2, 2, 1, 1]]
    assert find_cases(a, b, (1, 0), 0.3, 0.33, alike + 1e-9)[1].tolist() == []  # no gap is less than 0


def test_groups_are_in_the_order_of_the_suspicious_side_when_gaps_narrow():
    """Two sentences that changed places: one group at a gap of 1, two at none."""
    one, two = "Grey cats chase seven mice.", "Old dogs guard wooden houses."
    susp, src = f"{one} Parliament passed budgets. {two}", f"{two} Critics called taxes unfair. {one}"
    pair = pair_up(prepare(susp).vectors(3), prepare(src).vectors(3))
    assert extend(pair, (1, 1), 0.3, 0.33, 0.0).tolist() == [[0, 2, 0, 2]]
    assert extend(pair, (1, 1), 0.3, 0.33, 0.9).tolist() == [[0, 0, 2, 2], [2, 2, 0, 0]]


def test_a_sentence_without_words_lends_its_ends_to_no_word():
    text = "The cat sat. ?! (The dog) ran! ..."
    document = prepare(text, [(0, 12), (13, 15), (16, 30), (31, 34)])
    expected = reference.words_in(text, document.sentences, 0, len(text))
    assert document.reach.tolist() == [[start, end] for _, start, end in expected]
    assert document.reach.tolist()[2:4] == [[8, 12], [16, 20]]
    assert document.words_of(1, 1) == slice(3, 3) and document.words_of(2, 3) == slice(3, 6)


def test_of_two_near_copies_the_longer_one_stays():
    """Cases 0 to 1 and 1 to 3 share sentence 1; all are copies, so that the qualities are 1."""
    text = "Grey cats chase mice. Old dogs guard houses. Rivers froze last winter. Critics called taxes unfair."
    pair = pair_up(prepare(text).vectors(3), prepare(text).vectors(3))
    short, long = [0, 1, 0, 1], [1, 3, 1, 3]
    for cases in ([short, long], [long, short]):
        assert resolve_overlaps(np.array(cases), pair).tolist() == [long]
    assert resolve_overlaps(np.array([[0, 2, 0, 2], [2, 3, 2, 3]]), pair).tolist() == [[0, 2, 0, 2]]
    assert resolve_overlaps(np.array([[0, 1, 0, 1], [1, 2, 1, 2]]), pair).tolist() == [[0, 1, 0, 1]]


def test_of_several_rivals_the_best_one_wins():
    """Both rivals are better than the first case; the last one is not the best."""
    text = "Grey cats chase mice. Old dogs guard houses. Rivers froze last winter. Critics called taxes unfair."
    edited = text.replace("last winter", "over again")
    pair = pair_up(prepare(text).vectors(3), prepare(edited).vectors(3))
    poor, best, good = [0, 2, 3, 3], [1, 1, 1, 1], [2, 2, 2, 2]
    assert resolve_overlaps(np.array([poor, best, good]), pair).tolist() == [best]
    assert resolve_overlaps(np.array([poor, good, best]), pair).tolist() == [best]


def test_documents_without_a_seed():
    a, b, empty = (prepare(text).vectors(3) for text in (CAT, LAW, ""))
    for one, two in ((a, b), (a, empty), (empty, a), (empty, empty)):
        seeds, cases = find_cases(one, two, (4, 4), 0.3, 0.33, 0.34)
        assert not seeds and cases.tolist() == []
    assert find_cases(a, a, (4, 4), 0.3, 0.33, 0.34)[0]
