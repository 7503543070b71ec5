"""Postings: of each term the documents that have it; and the best documents for a query.

A query's terms are taken from the rarest on. As soon as no document without any of those taken can be among the best,
only documents in hand are gone on with, fewer and fewer (MaxScore, Turtle and Flood 1995, a term at a time).
"""

import heapq

import numpy as np

from memorization.alignment.compiled import compiled

SLACK = 2.0**-22  # scores that differ by less, relatively, can be one number in 32 bits
FIRST = 4096  # postings before the first look at whether documents without a term so far can still come in
LOOKUP = 32  # postings that are passed in the time of one search among them


@compiled
def best(weights, bounds, begins, ends, k, least, documents, counts, norms):
    """(documents, scores, least): all that may be among the k best if the k-th best score is `least` or more.

    weights, bounds, begins, ends: of each term of the query, rarest first: its weight, the most of it that a document
    has, and where its postings are. documents, counts: of each posting, by document. norms: of each document.
    A score is the sum of weight x count / (count + norm) (bm25). The returned `least` counts these documents in.
    """
    rest = np.append(np.cumsum((weights * bounds)[::-1])[::-1], 0.0)  # what the terms from each on give at the most
    scores, inside, n = np.zeros(len(norms)), np.empty(len(norms) + 1, np.int32), 0
    i, passed, due = 0, 0, FIRST
    while i < len(weights):
        for place in range(begins[i], ends[i]):
            document = documents[place]
            inside[n] = document
            n += scores[document] == 0
            scores[document] += weights[i] * counts[place] / (counts[place] + norms[document])
        passed += ends[i] - begins[i]
        i += 1
        if passed >= due or i == len(weights):
            due = 2 * passed
            least = max(least, _least(scores, inside[:n], k, i, weights, begins, ends, documents, counts, norms))
            if rest[i] < least * (1 - SLACK):
                break
    while True:
        kept = 0
        for j in range(n):
            document = inside[j]
            if scores[document] + rest[i] >= least * (1 - SLACK):
                inside[kept] = document
                kept += 1
            else:
                scores[document] = 0
        n = kept
        if i == len(weights):
            return inside[:n], scores[inside[:n]], least
        if n * LOOKUP < ends[i] - begins[i]:
            for document in inside[:n]:
                count = _count(document, begins[i], ends[i], documents, counts)
                scores[document] += weights[i] * count / (count + norms[document])
        else:
            for place in range(begins[i], ends[i]):
                document = documents[place]
                if scores[document] > 0:
                    scores[document] += weights[i] * counts[place] / (counts[place] + norms[document])
        i += 1


@compiled
def _least(scores, inside, k, i, weights, begins, ends, documents, counts, norms):
    """The least whole score of k documents, those inside that have the best ones so far, from the terms before i.

    0 if there are fewer. What is among the k best scores no less than any k documents do.
    """
    if len(inside) < k:
        return 0.0
    heap = [(scores[document], document) for document in inside[:k]]
    heapq.heapify(heap)
    for document in inside[k:]:
        if scores[document] > heap[0][0]:
            heapq.heapreplace(heap, (scores[document], document))
    least = np.inf
    for score, document in heap:
        for later in range(i, len(weights)):
            count = _count(document, begins[later], ends[later], documents, counts)
            score += weights[later] * count / (count + norms[document])
        least = min(least, score)
    return least


@compiled
def _count(document, begin, end, documents, counts):
    """How often the term with these postings is in a document."""
    place = begin + np.searchsorted(documents[begin:end], document)
    return counts[place] if place < end and documents[place] == document else 0


@compiled
def counts_in(wanted, begins, ends, documents, counts):
    """How often each term is in each of the wanted documents, an int64 array [wanted, terms]; arguments as of best."""
    found = np.zeros((len(wanted), len(begins)), np.int64)
    for j in range(len(wanted)):
        for i in range(len(begins)):
            found[j, i] = _count(wanted[j], begins[i], ends[i], documents, counts)
    return found


@compiled
def bounds(begins, documents, counts, norms):
    """Of each term, whose postings are [begins[i], begins[i + 1]), the most of count / (count + norm): float64."""
    most = np.zeros(len(begins) - 1)
    for i in range(len(most)):
        for place in range(begins[i], begins[i + 1]):
            most[i] = max(most[i], counts[place] / (counts[place] + norms[documents[place]]))
    return most
