"""The published algorithm as it is published: plain dictionaries, every pair analysed from its texts.

A second oracle for memorization.alignment, and the yardstick of benchmarks/alignment.py. Slow on purpose: one
dictionary a sentence vector, one loop a formula of design.md, both documents analysed again for every pair.
"""

import math
from string import punctuation

from nltk.stem.porter import PorterStemmer
from nltk.tokenize.treebank import TreebankWordTokenizer

from memorization.alignment.sentences import PUNKT

TOKENIZER, STEMMER = TreebankWordTokenizer(), PorterStemmer()


def split(text):
    """Sentence spans as NLTK gives them with our parameters, decision by decision."""
    return list(PUNKT.span_tokenize(text))


def analyse(text, sentences, min_sentlen):
    """Sentence vectors as {stem: count}, their spans, and {stem: how many vectors hold it}."""
    vectors, spans = [], []
    for start, end in sentences:
        vector = {}
        for word in TOKENIZER.tokenize(text[start:end].lower()):
            if word[0].isalnum() and len(word) > 2:
                stem = STEMMER.stem(word)
                vector[stem] = vector.get(stem, 0) + 1
        if vector:
            vectors.append(vector)
            spans.append((start, end))
    frequency = {}
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


def weigh(vectors, other_vectors, frequency, other_frequency):
    n = len(vectors) + len(other_vectors)
    return [
        {stem: tf * math.log(n / (frequency.get(stem, 0) + other_frequency.get(stem, 0))) for stem, tf in v.items()}
        for v in vectors
    ]


def cosine(a, b):
    norms = math.sqrt(sum(w * w for w in a.values())) * math.sqrt(sum(w * w for w in b.values()))
    return sum(w * b[stem] for stem, w in a.items() if stem in b) / norms if norms else 0.0


def dice(a, b):
    return 2 * sum(stem in b for stem in a) / (len(a) + len(b))


def find_seeds(susp, src, th1, th2):
    return [
        (i, j)
        for i in range(len(susp))
        for j in range(len(src))
        if cosine(susp[i], src[j]) > th1 and dice(susp[i], src[j]) > th2
    ]


def total(vectors):
    result = {}
    for vector in vectors:
        for stem, weight in vector.items():
            result[stem] = result.get(stem, 0) + weight
    return result


def group(seeds, gaps, side, deeper=False):
    seeds = sorted(seeds, key=lambda seed: seed[side])
    groups = [seeds[:1]]
    for seed in seeds[1:]:
        if seed[side] - groups[-1][-1][side] <= gaps[side] + 1:
            groups[-1].append(seed)
        else:
            groups.append([seed])
    if len(groups) == 1 and deeper:
        return groups
    return [final for part in groups for final in group(part, gaps, 1 - side, True)]


def extend(seeds, gaps, susp, src, th3):
    cases = []
    for part in group(seeds, gaps, 0) if seeds else []:
        (a, b), (c, d) = [(min(s[side] for s in part), max(s[side] for s in part)) for side in (0, 1)]
        if cosine(total(susp[a : b + 1]), total(src[c : d + 1])) > th3:
            cases.append(((a, b), (c, d)))
        elif min(gaps) > 0:
            cases += extend(part, (gaps[0] - 1, gaps[1] - 1), susp, src, th3)
    return cases


def quality(case, other, susp, src):
    """How well `case` explains the sentences it shares with `other`, then its own."""
    (a, b), (c, d) = case
    shared, own = [], []
    for i in range(a, b + 1):
        best = max(cosine(susp[i], src[j]) for j in range(c, d + 1))
        (shared if other[0][0] <= i <= other[0][1] else own).append(best)
    value = sum(shared) / len(shared)
    return value + (1 - value) * sum(own) / len(own) if own else value


def resolve(cases, susp, src):
    cases = sorted(cases, key=lambda case: case[0][0])
    kept, i, pending = [], 0, False
    while i < len(cases):
        current = kept[-1] if pending else cases[i]
        overlapping = sum(case[0][0] <= current[0][1] for case in cases[i + 1 :])
        if not overlapping:
            if not pending:
                kept.append(cases[i])
            pending = False
            i += 1
            continue
        winner, highest = current, 0.0
        for rival in cases[i + 1 : i + 1 + overlapping]:
            ours, theirs = quality(current, rival, susp, src), quality(rival, current, susp, src)
            if ours > 0.99 and theirs > 0.99:
                better = rival[0][1] - rival[0][0] > current[0][1] - current[0][0]
            else:
                better = theirs > ours
            if better and theirs > highest:
                winner, highest = rival, theirs
        kept[-1:] = [winner] if pending else kept[-1:] + [winner]
        pending = True
        i += overlapping
    return kept


def words(text, sentences, start, end):
    """(word, start, end) in a case; a sentence's first and last words reach to its ends."""
    found = []
    for a, b in sentences:
        if start <= a and b <= end:
            spans = [(a + x, a + y) for x, y in TOKENIZER.span_tokenize(text[a:b])]
            spans = [(x, y) for x, y in spans if not all(c in punctuation for c in text[x:y])]
            edges = [a] + [x for x, _ in spans[1:]], [y for _, y in spans[:-1]] + [b]
            found += [(text[x:y].lower(), s, e) for (x, y), s, e in zip(spans, *edges, strict=True)] if spans else []
    return found


def common_runs(susp, src):
    """For each source run that cannot be extended, its first twin, as ((s0, s1), (r0, r1)) in characters.

    A run inside a longer one on the source side is left out.
    """
    runs, previous = [], {}
    for i in range(len(susp) + 1):
        lengths = {}
        if i < len(susp):
            for j, word in enumerate(src):
                if word[0] == susp[i][0]:
                    lengths[j] = previous.get(j - 1, 0) + 1
        runs += [(n, i - n, j - n + 1) for j, n in previous.items() if j + 1 not in lengths]
        previous = lengths
    kept = []
    for n, i, j in sorted(runs, key=lambda run: (-run[0], run[1:])):
        if not any(other <= j and j + n <= other + m for m, _, other in kept):
            kept.append((n, i, j))
    return [((susp[i][1], susp[i + n - 1][2]), (src[j][1], src[j + n - 1][2])) for n, i, j in kept]


def passages_of(cases, susp_spans, src_spans, min_plaglen):
    """Cases in characters, ((s0, s1), (r0, r1)), without those that are too short on either side."""
    found = [((susp_spans[a][0], susp_spans[b][1]), (src_spans[c][0], src_spans[d][1])) for (a, b), (c, d) in cases]
    return [passage for passage in found if min(end - start for start, end in passage) >= min_plaglen]


def verbatim_runs(passages, susp_text, src_text, susp_sentences, src_sentences, minlen):
    found = {
        run
        for susp, src in passages
        for run in common_runs(words(susp_text, susp_sentences, *susp), words(src_text, src_sentences, *src))
        if run[0][1] - run[0][0] > minlen
    }
    return sorted(found)


def is_summary(passages, ratio):
    susp, src = (sum(end - start for start, end in (passage[side] for passage in passages)) for side in (0, 1))
    return len(passages) > 0 and src >= ratio * susp


def align(susp_text, src_text, susp_sentences, src_sentences, profile):
    """(kind, passages) of one pair of texts."""
    susp, susp_spans, susp_frequency = analyse(susp_text, susp_sentences, profile.min_sentlen)
    src, src_spans, src_frequency = analyse(src_text, src_sentences, profile.min_sentlen)
    susp, src = (
        weigh(susp, src, susp_frequency, src_frequency),
        weigh(src, susp, src_frequency, susp_frequency),
    )
    seeds = find_seeds(susp, src, profile.th1, profile.th2)

    def passages(*gaps):
        cases = resolve(extend(seeds, gaps, susp, src, profile.th3), susp, src)
        return passages_of(cases, susp_spans, src_spans, profile.min_plaglen)

    narrow = passages(profile.susp_gap, profile.src_gap)
    runs = verbatim_runs(narrow, susp_text, src_text, susp_sentences, src_sentences, profile.verbatim_minlen)
    if runs:
        return "verbatim", runs
    wide = passages(profile.susp_gap_summary, profile.src_gap_summary)
    if is_summary(wide, profile.summary_ratio):
        return "summary", wide
    return ("obfuscated", narrow) if narrow else ("none", [])
