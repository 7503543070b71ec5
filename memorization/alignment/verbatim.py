"""Common runs of words, by a suffix automaton: makes reference.common_runs(), verbatim_runs() fast.

Time and memory are linear in the words.
"""

import numpy as np

from memorization.store.compiled import compiled


@compiled
def _slot_of(state, word, table, origin, label):
    """Where the edge from `state` by `word` is, or would be, in the open hash table of edges (0: empty)."""
    mask = len(table) - 1
    slot = ((word & mask) + state * 1000003) & mask
    while table[slot] and (origin[table[slot]] != state or label[table[slot]] != word):
        slot = (slot + 1) & mask
    return slot


@compiled
def common_runs(suspicious: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Runs of words in both documents, an (n, 3) array: first suspicious word, first source word, number of words.

    suspicious, source: int64 ids of words. For each place in the source the longest run that goes on neither way, with
    its first place in the suspicious document; a run inside a longer one of the source is left out. The automaton of
    all factors of the suspicious document (Blumer et al. 1985) reads the source once.
    """
    n = len(suspicious)
    length, link = np.zeros(2 * n + 2, np.int64), np.zeros(2 * n + 2, np.int64)
    first_end = np.zeros(2 * n + 2, np.int64)
    newest = np.zeros(2 * n + 2, np.int64)  # the newest edge of each state; edge 0 is none
    origin, label = np.zeros(3 * n + 4, np.int64), np.zeros(3 * n + 4, np.int64)
    target, older = np.zeros(3 * n + 4, np.int64), np.zeros(3 * n + 4, np.int64)
    size = 16
    while size < 6 * n:
        size *= 2
    table = np.zeros(size, np.int64)
    root, states, edges, last = 1, 2, 1, 1  # state 0 is none
    for i in range(n):
        word, state, new = suspicious[i], last, states
        states += 1
        length[new], first_end[new], link[new] = i + 1, i, root
        last = new
        while state:
            slot = _slot_of(state, word, table, origin, label)
            if table[slot]:
                break
            table[slot] = edges
            origin[edges], label[edges], target[edges], older[edges] = state, word, new, newest[state]
            newest[state] = edges
            edges += 1
            state = link[state]
        if state == 0:
            continue
        old = target[table[slot]]
        link[new] = old
        if length[old] == length[state] + 1:
            continue
        clone = states
        states += 1
        length[clone], link[clone], first_end[clone] = length[state] + 1, link[old], first_end[old]
        edge = newest[old]
        while edge:
            table[_slot_of(clone, label[edge], table, origin, label)] = edges
            origin[edges], label[edges], target[edges], older[edges] = clone, label[edge], target[edge], newest[clone]
            newest[clone] = edges
            edges += 1
            edge = older[edge]
        link[old] = link[new] = clone
        while state:
            slot = _slot_of(state, word, table, origin, label)
            if target[table[slot]] != old:
                break
            target[table[slot]] = clone
            state = link[state]

    runs, size = np.empty((len(source), 3), np.int64), 0
    state, words = root, 0
    for j in range(len(source) + 1):
        before, end, step = words, first_end[state], 0
        while j < len(source) and state:
            step = table[_slot_of(state, source[j], table, origin, label)]
            if step:
                break
            state = link[state]
            words = length[state]
        state, words = (target[step], words + 1) if step else (root, 0)
        if before and words <= before:
            runs[size] = end - before + 1, j - before, before
            size += 1
    return runs[:size]


@compiled
def long_runs(
    suspicious: np.ndarray, source: np.ndarray, reach_a: np.ndarray, reach_b: np.ndarray, minlen: int
) -> np.ndarray:
    """The common runs of more than minlen characters in the suspicious document: rows (s0, s1, r0, r1) in characters.

    reach_a, reach_b: the characters [start, end) that each word stands for.
    """
    runs, size = common_runs(suspicious, source), 0
    spans = np.empty((len(runs), 4), np.int64)
    for k in range(len(runs)):
        a, b, n = runs[k]
        if reach_a[a + n - 1, 1] - reach_a[a, 0] > minlen:
            spans[size, 0], spans[size, 1] = reach_a[a, 0], reach_a[a + n - 1, 1]
            spans[size, 2], spans[size, 3] = reach_b[b, 0], reach_b[b + n - 1, 1]
            size += 1
    return spans[:size]
