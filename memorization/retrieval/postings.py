"""Postings: of each term the documents that have it, with the term's impact on each; and the best ones for a query.

Documents are looked at in blocks, a query's terms from the rarest on. As soon as no document without any of the terms
taken can be among the best, only those in hand are gone on with, fewer and fewer (MaxScore, Turtle and Flood 1995).
What the best have at the least is known early from the documents of the rarest terms.
"""

import heapq

import numpy as np

from memorization.store.compiled import compiled

SLACK = 2.0**-22  # scores that differ by less, relatively, can be one number in 32 bits
BLOCK = 8192  # documents, whose scores stay in a processor's own cache
LOOKUP = 16  # postings that are passed in the time of one search among them
RARE = 16  # of so many documents, those with the rarest terms are looked at first


@compiled
def best(weights, bounds, begins, ends, k, least, documents, impacts, totals):
    """(documents, scores, least): all that may be among the k best if the k-th best score is `least` or more.

    weights, bounds, begins, ends: of each term of the query, rarest first: its weight, its greatest impact, and where
    its postings are. documents, impacts: the postings, by document. totals: float64, a 0 for each document, before and
    after. A score is the sum of weight x impact. The returned `least` counts these documents in.
    """
    size, least = len(totals), max(least, _least(weights, begins, ends, k, documents, impacts, totals))
    rest = np.append(np.cumsum((weights * bounds)[::-1])[::-1], 0.0)  # what the terms from each on give at the most
    scores, inside = np.zeros(BLOCK), np.empty(BLOCK + 1, np.int64)
    found, found_scores, known = np.empty(size, np.int32), np.empty(size), 0
    top = [0.0 for _ in range(0)]
    for first in range(0, size, BLOCK):
        stops = np.empty_like(begins)
        for i in range(len(begins)):
            stops[i] = begins[i] + np.searchsorted(documents[begins[i] : ends[i]], first + BLOCK)
        n = _gather(weights, rest, begins, stops, least, first, documents, impacts, scores, inside)
        for document in inside[:n]:
            if len(top) < k:
                heapq.heappush(top, scores[document])
            elif scores[document] > top[0]:
                heapq.heapreplace(top, scores[document])
        if len(top) == k:
            least = max(least, top[0])
        for document in inside[:n]:
            if scores[document] >= least * (1 - SLACK):
                found[known], found_scores[known] = first + document, scores[document]
                known += 1
            scores[document] = 0
        begins = stops
    return found[:known], found_scores[:known], least


@compiled
def _least(weights, begins, ends, k, documents, impacts, totals):
    """A score that k documents have or more: of the k to which the rarest terms give most; arguments as of best."""
    taken = n = 0
    while taken < len(begins) and n + ends[taken] - begins[taken] <= len(totals) // RARE:
        n += ends[taken] - begins[taken]
        taken += 1
    inside, n = np.empty(n + 1, np.int64), 0
    for i in range(taken):
        for place in range(begins[i], ends[i]):
            inside[n] = documents[place]
            n += totals[documents[place]] == 0
            totals[documents[place]] += weights[i] * impacts[place]
    top = [(0.0, 0) for _ in range(0)]
    for document in inside[:n]:
        if len(top) < k:
            heapq.heappush(top, (totals[document], document))
        elif totals[document] > top[0][0]:
            heapq.heapreplace(top, (totals[document], document))
        totals[document] = 0
    if len(top) < k:
        return 0.0
    least = np.inf
    for score, document in top:
        for i in range(taken, len(begins)):
            score += weights[i] * _impact(document, begins[i], ends[i], documents, impacts)
        least = min(least, score)
    return least


@compiled
def _gather(weights, rest, begins, ends, least, first, documents, impacts, scores, inside):
    """Score the documents from `first` on that may have `least`; put them into `inside`, and return how many they are.

    scores: of each document of the block, 0 before; afterwards of those inside, which are numbered as in the block.
    """
    least, n, i = least * (1 - SLACK), 0, 0
    while i < len(weights) and rest[i] >= least:
        weight = weights[i]
        for place in range(begins[i], ends[i]):
            document = documents[place] - first
            inside[n] = document
            n += scores[document] == 0
            scores[document] += weight * impacts[place]
        i += 1
    while True:
        kept = 0
        for document in inside[:n]:
            if scores[document] + rest[i] >= least:
                inside[kept] = document
                kept += 1
            else:
                scores[document] = 0
        n = kept
        if i == len(weights):
            return n
        weight = weights[i]
        if n * LOOKUP < ends[i] - begins[i]:
            for document in inside[:n]:
                scores[document] += weight * _impact(first + document, begins[i], ends[i], documents, impacts)
        else:
            for place in range(begins[i], ends[i]):
                document = documents[place] - first
                scores[document] += (scores[document] > 0) * weight * impacts[place]  # a branch would be guessed wrong
        i += 1


@compiled
def _impact(document, begin, end, documents, impacts):
    """That of the term with these postings on a document."""
    place = begin + np.searchsorted(documents[begin:end], document)
    return impacts[place] if place < end and documents[place] == document else 0.0


@compiled
def impacts_on(wanted, begins, ends, documents, impacts):
    """The impact of each term on each of the wanted documents, float64 [wanted, terms]; arguments as of best."""
    found = np.zeros((len(wanted), len(begins)))
    for j in range(len(wanted)):
        for i in range(len(begins)):
            found[j, i] = _impact(wanted[j], begins[i], ends[i], documents, impacts)
    return found
