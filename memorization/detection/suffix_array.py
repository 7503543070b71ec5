"""Searching runs of words by a suffix array, the sorted list of a text's suffixes (Manber and Myers 1993).

A text is an int32 array of words 1, 2, ..., with a 0 behind each of its documents. suffixes: the places in it, sorted
by the words that follow. buckets: where in `suffixes` those begin whose first word is 0, 1, 2, ...; last where they
end. A query is an int32 array of words too, -1 for a word that the text lacks.
"""

import numpy as np

from memorization.store.compiled import compiled


@compiled
def common(query: np.ndarray, text: np.ndarray, place: int) -> int:
    """How many words the query and the text at a place have in common."""
    n = 0
    while n < len(query) and query[n] == text[place + n]:
        n += 1
    return n


@compiled
def insertion(query: np.ndarray, text: np.ndarray, suffixes: np.ndarray, low: int, high: int, after: bool) -> int:
    """The first of suffixes[low:high] that is not before the query; with `after`, nor begins with it."""
    left = right = 0  # words that the query shares with the suffixes before low and at high, and so with all between
    while low < high:
        middle, n = (low + high) // 2, min(left, right)
        n += common(query[n:], text, suffixes[middle] + n)
        if n == len(query):
            before = after
        else:
            before = text[suffixes[middle] + n] < query[n]
        if before:
            low, left = middle + 1, n
        else:
            high, right = middle, n
    return low


@compiled
def longest(
    query: np.ndarray, text: np.ndarray, suffixes: np.ndarray, buckets: np.ndarray, skip_begin: int, skip_end: int
) -> int:
    """How many words of the query, from its first on, occur somewhere in the text; arguments as of longest_matches."""
    if query[0] < 1:
        return 0
    first, end, most = buckets[query[0]], buckets[query[0] + 1], 0
    place = insertion(query, text, suffixes, first, end, False)
    for step in (-1, 1):  # the neighbours of the query in their order have most in common with it
        k = place - 1 if step < 0 else place
        while first <= k < end and skip_begin <= suffixes[k] < skip_end:
            k += step
        if first <= k < end:
            most = max(most, common(query, text, suffixes[k]))
    return most


@compiled
def longest_matches(
    query: np.ndarray, text: np.ndarray, suffixes: np.ndarray, buckets: np.ndarray, skip_begin: int, skip_end: int
) -> np.ndarray:
    """For each place in the query how many words from there on occur somewhere in the text, int64.

    What begins in text[skip_begin:skip_end], in one document, does not count.
    """
    n, begin = len(query), 0
    lengths = np.zeros(n, np.int64)
    while begin < n:
        lengths[begin] = longest(query[begin:], text, suffixes, buckets, skip_begin, skip_end)
        end = begin + lengths[begin]
        if end == n:
            following = n
        else:  # the first place whose match goes beyond this end, or that end itself
            low, following = begin + 1, max(end, begin + 1)
            while low < following:
                middle = (low + following) // 2
                run = query[middle : end + 1]
                if longest(run, text, suffixes, buckets, skip_begin, skip_end) == len(run):
                    following = middle
                else:
                    low = middle + 1
        for i in range(begin + 1, following):
            lengths[i] = end - i  # the rest of this match: no longer one begins here
        begin = following
    return lengths


@compiled
def occurrences(
    query: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    text: np.ndarray,
    suffixes: np.ndarray,
    buckets: np.ndarray,
    document_ends: np.ndarray,
) -> np.ndarray:
    """Where each of the runs query[begin:end] occurs: rows (run, document, place of its first word in it), int64.

    document_ends: the place behind each document. A run that occurs twice in a document has two rows.
    """
    ranges, total = np.empty((len(begins), 2), np.int64), 0
    for k in range(len(begins)):
        run = query[begins[k] : ends[k]]
        ranges[k] = 0
        if run[0] > 0:
            first, end = buckets[run[0]], buckets[run[0] + 1]
            ranges[k, 0] = insertion(run, text, suffixes, first, end, False)
            ranges[k, 1] = insertion(run, text, suffixes, ranges[k, 0], end, True)
        total += ranges[k, 1] - ranges[k, 0]
    rows, n = np.empty((total, 3), np.int64), 0
    for k in range(len(begins)):
        for i in range(ranges[k, 0], ranges[k, 1]):
            document = np.searchsorted(document_ends, suffixes[i], "right")
            rows[n, 0], rows[n, 1] = k, document
            rows[n, 2] = suffixes[i] - (document_ends[document - 1] if document else 0)
            n += 1
    return rows
