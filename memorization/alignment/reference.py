"""Text alignment, the plain version: read this first.

The algorithm of Sanchez-Perez, Gelbukh and Sidorov, "Adaptive Algorithm for Plagiarism Detection: The Best-Performing
Approach at PAN 2014 Text Alignment Competition" (CLEF 2015), for text with blanks between words. It finds the passages
that two documents have in common, word for word, edited or condensed:

    preprocess          sentences become vectors of stem counts; short ones join the next
    seeding             pairs of sentences that are alike
    extension           seeds grow into cases: a range of sentences on each side (clustering, then validation)
    filtering           of cases that overlap the better one stays (resolve_overlaps), and short ones go
    verbatim_runs       a long common run of words makes the pair verbatim
    is_summary          a much longer source, with wider gaps between seeds, makes it a summary

Slow on purpose: a dictionary for each sentence, a loop for each formula, both documents analysed again for every pair.
The other modules of this package do the same fast, and tests compare them with this one, step by step. Parameters are
those of profiles.Profile; the stages named in docstrings are those of the paper. The two documents are called
"suspicious" and "source".
"""

import math
from string import punctuation

from memorization.alignment.nltk_parts import PorterStemmer, TreebankWordTokenizer
from memorization.alignment.profiles import NEAR_COPY, Profile
from memorization.alignment.sentence_splitting import PUNKT

TOKENIZER, STEMMER = TreebankWordTokenizer(), PorterStemmer()

Span = tuple[int, int]  # [start, end) in characters
Range = tuple[int, int]  # the first and the last of consecutive sentence vectors
Passage = tuple[Span, Span]  # of the suspicious document, of the source
Case = tuple[Range, Range]
Seed = tuple[int, int]  # a sentence vector of either document
Vector = dict[str, float]  # stem -> count or weight
Word = tuple[str, int, int]  # lower-cased; the span it stands for


def split_sentences(text: str) -> list[Span]:
    """The sentences of a text, by Punkt (Kiss and Strunk 2006)."""
    return list(PUNKT.span_tokenize(text))


def preprocess(text: str, sentences: list[Span], min_sentlen: int) -> tuple[list[Vector], list[Span], dict[str, int]]:
    """Preprocessing: sentence vectors, their spans, and the number of vectors that contain each stem.

    A vector with fewer than min_sentlen words is merged into the next one, and the result is looked at again.
    """
    vectors, spans = [], []
    for start, end in sentences:
        vector: Vector = {}
        for word in TOKENIZER.tokenize(text[start:end].lower()):
            if word[0].isalnum() and len(word) > 2:
                stem = STEMMER.stem(word)
                vector[stem] = vector.get(stem, 0) + 1
        if vector:
            vectors.append(vector)
            spans.append((start, end))
    frequency: dict[str, int] = {}
    for vector in vectors:
        for stem in vector:
            frequency[stem] = frequency.get(stem, 0) + 1
    i = 0
    while i < len(vectors) - 1:
        if sum(vectors[i].values()) >= min_sentlen:
            i += 1
            continue
        short, merged = vectors.pop(i), vectors[i]
        spans[i : i + 2] = [(spans[i][0], spans[i + 1][1])]
        for stem, count in short.items():
            if stem in merged:
                frequency[stem] -= 1
            merged[stem] = merged.get(stem, 0) + count
    return vectors, spans, frequency


def weigh(
    vectors: list[Vector], other_vectors: list[Vector], frequency: dict[str, int], other_frequency: dict[str, int]
) -> list[Vector]:
    """Seeding: tf-isf weights; a sentence of either document is what a document is to tf-idf."""
    n = len(vectors) + len(other_vectors)
    return [
        {stem: tf * math.log(n / (frequency.get(stem, 0) + other_frequency.get(stem, 0))) for stem, tf in v.items()}
        for v in vectors
    ]


def cosine(a: Vector, b: Vector) -> float:
    norms = math.sqrt(sum(w * w for w in a.values())) * math.sqrt(sum(w * w for w in b.values()))
    return sum(w * b[stem] for stem, w in a.items() if stem in b) / norms if norms else 0.0


def dice(a: Vector, b: Vector) -> float:
    """Dice coefficient of the sets of stems."""
    return 2 * sum(stem in b for stem in a) / (len(a) + len(b))


def seeding(susp: list[Vector], src: list[Vector], th1: float, th2: float) -> list[Seed]:
    """Seeding: pairs of a suspicious and a source sentence that are alike by both measures."""
    return [
        (i, j)
        for i in range(len(susp))
        for j in range(len(src))
        if cosine(susp[i], src[j]) > th1 and dice(susp[i], src[j]) > th2
    ]


def clustering(seeds: list[Seed], gaps: tuple[int, int], side: int, deeper: bool = False) -> list[list[Seed]]:
    """Extension, clustering: groups of seeds whose neighbours are at most gaps[side] sentences apart on that side;
    each is divided again on the other side, until nothing divides any more.

    side: 0 the suspicious, 1 the source document.
    """
    seeds = sorted(seeds, key=lambda seed: seed[side])
    groups = [seeds[:1]]
    for seed in seeds[1:]:
        if seed[side] - groups[-1][-1][side] <= gaps[side] + 1:
            groups[-1].append(seed)
        else:
            groups.append([seed])
    if len(groups) == 1 and deeper:
        return groups
    return [final for group in groups for final in clustering(group, gaps, 1 - side, True)]


def add_up(vectors: list[Vector]) -> Vector:
    """The vector of a fragment: the sum of its sentences' vectors."""
    total: Vector = {}
    for vector in vectors:
        for stem, weight in vector.items():
            total[stem] = total.get(stem, 0) + weight
    return total


def extension(
    seeds: list[Seed], gaps: tuple[int, int], susp: list[Vector], src: list[Vector], th3: float
) -> list[Case]:
    """Extension: the cases that seeds grow into.

    Validation: the two fragments of a case, all their sentences included, must be more alike than th3. Seeds of one
    that fails are clustered again with narrower gaps.
    """
    cases: list[Case] = []
    for group in clustering(seeds, gaps, 0) if seeds else []:
        (a, b), (c, d) = [(min(seed[side] for seed in group), max(seed[side] for seed in group)) for side in (0, 1)]
        if cosine(add_up(susp[a : b + 1]), add_up(src[c : d + 1])) > th3:
            cases.append(((a, b), (c, d)))
        elif min(gaps) > 0:
            cases += extension(group, (gaps[0] - 1, gaps[1] - 1), susp, src, th3)
    return cases


def quality(case: Case, rival: Case, susp: list[Vector], src: list[Vector]) -> float:
    """Filtering: how well a case explains the sentences that it shares with its rival, then its other ones."""
    (a, b), (c, d) = case
    shared: list[float] = []
    own: list[float] = []
    for i in range(a, b + 1):
        best = max(cosine(susp[i], src[j]) for j in range(c, d + 1))
        (shared if rival[0][0] <= i <= rival[0][1] else own).append(best)
    value = sum(shared) / len(shared)
    return value + (1 - value) * sum(own) / len(own) if own else value


def resolve_overlaps(cases: list[Case], susp: list[Vector], src: list[Vector]) -> list[Case]:
    """Filtering: of cases that overlap on the suspicious side, the one of the highest quality."""
    cases = sorted(cases, key=lambda case: case[0][0])
    stay: list[Case] = []
    i, pending = 0, False
    while i < len(cases):
        current = stay[-1] if pending else cases[i]
        overlapping = sum(case[0][0] <= current[0][1] for case in cases[i + 1 :])
        if not overlapping:
            if not pending:
                stay.append(cases[i])
            pending = False
            i += 1
            continue
        winner, highest = current, 0.0
        for rival in cases[i + 1 : i + 1 + overlapping]:
            ours, theirs = quality(current, rival, susp, src), quality(rival, current, susp, src)
            if ours > NEAR_COPY and theirs > NEAR_COPY:
                better = rival[0][1] - rival[0][0] > current[0][1] - current[0][0]
            else:
                better = theirs > ours
            if better and theirs > highest:
                winner, highest = rival, theirs
        stay[-1:] = [winner] if pending else stay[-1:] + [winner]
        pending = True
        i += overlapping
    return stay


def remove_small_cases(
    cases: list[Case], susp_spans: list[Span], src_spans: list[Span], min_plaglen: int
) -> list[Passage]:
    """Filtering: the passages of the cases, without those of fewer than min_plaglen characters on either side."""
    passages = [((susp_spans[a][0], susp_spans[b][1]), (src_spans[c][0], src_spans[d][1])) for (a, b), (c, d) in cases]
    return [passage for passage in passages if min(end - start for start, end in passage) >= min_plaglen]


def words_in(text: str, sentences: list[Span], start: int, end: int) -> list[Word]:
    """The words of the sentences in [start, end); a sentence's first and last words reach to its ends."""
    words = []
    for a, b in sentences:
        if start <= a and b <= end:
            spans = [(a + x, a + y) for x, y in TOKENIZER.span_tokenize(text[a:b])]
            spans = [(x, y) for x, y in spans if not all(c in punctuation for c in text[x:y])]
            edges = [a] + [x for x, _ in spans[1:]], [y for _, y in spans[:-1]] + [b]
            words += [(text[x:y].lower(), s, e) for (x, y), s, e in zip(spans, *edges, strict=True)] if spans else []
    return words


def common_runs(susp: list[Word], src: list[Word]) -> list[Passage]:
    """Runs of words in both documents that go on neither way, each with its first place in the suspicious one.

    A run inside a longer one on the source side is left out.
    """
    runs: list[tuple[int, int, int]] = []
    previous: dict[int, int] = {}  # the length of the run that ends at each source word
    for i in range(len(susp) + 1):
        lengths = {}
        if i < len(susp):
            for j, word in enumerate(src):
                if word[0] == susp[i][0]:
                    lengths[j] = previous.get(j - 1, 0) + 1
        runs += [(n, i - n, j - n + 1) for j, n in previous.items() if j + 1 not in lengths]
        previous = lengths
    stay: list[tuple[int, int, int]] = []
    for n, i, j in sorted(runs, key=lambda run: (-run[0], run[1:])):
        if not any(other <= j and j + n <= other + m for m, _, other in stay):
            stay.append((n, i, j))
    return [((susp[i][1], susp[i + n - 1][2]), (src[j][1], src[j + n - 1][2])) for n, i, j in stay]


def verbatim_runs(
    passages: list[Passage],
    susp_text: str,
    src_text: str,
    susp_sentences: list[Span],
    src_sentences: list[Span],
    minlen: int,
) -> list[Passage]:
    """Adaptive behaviour: the common runs of more than minlen characters in the passages, in order."""
    runs = {
        run
        for susp, src in passages
        for run in common_runs(words_in(susp_text, susp_sentences, *susp), words_in(src_text, src_sentences, *src))
        if run[0][1] - run[0][0] > minlen
    }
    return sorted(runs)


def is_summary(passages: list[Passage], ratio: float) -> bool:
    """Adaptive behaviour: whether the source passages are at least `ratio` times as long as the suspicious ones."""
    susp, src = (sum(end - start for start, end in (passage[side] for passage in passages)) for side in (0, 1))
    return len(passages) > 0 and src >= ratio * susp


def align(
    susp_text: str, src_text: str, susp_sentences: list[Span], src_sentences: list[Span], profile: Profile
) -> tuple[str, list[Passage]]:
    """The kind of one pair of texts ("none", "verbatim", "summary" or "obfuscated") and its passages."""
    susp, susp_spans, susp_frequency = preprocess(susp_text, susp_sentences, profile.min_sentlen)
    src, src_spans, src_frequency = preprocess(src_text, src_sentences, profile.min_sentlen)
    susp, src = (
        weigh(susp, src, susp_frequency, src_frequency),
        weigh(src, susp, src_frequency, susp_frequency),
    )
    seeds = seeding(susp, src, profile.th1, profile.th2)

    def filtered_passages(gaps: tuple[int, int]) -> list[Passage]:
        cases = resolve_overlaps(extension(seeds, gaps, susp, src, profile.th3), susp, src)
        return remove_small_cases(cases, susp_spans, src_spans, profile.min_plaglen)

    narrow = filtered_passages((profile.susp_gap, profile.src_gap))
    runs = verbatim_runs(narrow, susp_text, src_text, susp_sentences, src_sentences, profile.verbatim_minlen)
    if runs:
        return "verbatim", runs
    wide = filtered_passages((profile.susp_gap_summary, profile.src_gap_summary))
    if is_summary(wide, profile.summary_ratio):
        return "summary", wide
    return ("obfuscated", narrow) if narrow else ("none", [])
