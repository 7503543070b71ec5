"""Greedy decoding of what the pass over a suffix did not verify, in 32 bits: the same tokens, for less work.

The pass reads a prefix with its suffix, and says at each token which scores highest. As long as that is the suffix's
own, greedy decoding would have written it. So a suffix that is reproduced costs no decoding, and other texts begin
at their first disagreement, from the keys and values that the pass has computed.
"""

from collections import deque

import numpy as np
import torch

from memorization.extraction.generation import continue_prefixes, next_token, rounding
from memorization.extraction.memory import Room, free_memory, in_parts, ran_out
from memorization.extraction.scoring import passed
from memorization.extraction.slots import Slots, Text, slot_bytes

MORE = 4  # slots to each text of a batch, where there is memory: a step takes little longer with more texts


@torch.inference_mode()
def continued(model, batches, new_tokens, eos, size, scheme=(1.0, 0, 1.0)):
    """For each batch, in order, what continuing its prefixes gives: (list of TokenScores, list of lists of token ids).

    The continuations are those of generation.continue_prefixes, greedy; the model computes in 32 bits. batches:
    iterable of (prefixes, suffixes), lists of token ids, the suffixes neither empty nor longer than new_tokens. size:
    texts at a time; for decoding up to MORE times as many, as a quarter of the free memory holds. scheme: as of
    scoring.passed.
    """
    room, begun, slots = Room(size), deque(), None

    def begin(pairs):
        of_pairs = passed(model, *zip(*pairs, strict=True), scheme, isinstance(slots, Slots))
        texts = [verified(model, *pair, one, new_tokens, eos) for pair, one in zip(pairs, of_pairs, strict=True)]
        slots.waiting += [text for text in texts if not text.done]
        found = [(one.scores, text) for one, text in zip(of_pairs, texts, strict=True)]
        del of_pairs, texts
        while slots.waiting or len(slots.texts) >= slots.room.size:  # what the pass keeps of them is let go
            slots.step()
        return found

    for prefixes, suffixes in batches:
        if slots is None:
            needed = ran_out(slot_bytes, model, max(map(len, prefixes)) + new_tokens)[1]  # None: no room to try it
            allowed = needed and max(1, int(free_memory(model.device) / 4 / needed))
            slots = Slots(model, min(MORE * size, allowed), eos) if needed else Batches(model, size, eos)
        begun.append(in_parts(begin, [*zip(prefixes, suffixes, strict=True)], room))
        while begun and all(text.done for _, text in begun[0]):
            yield _result(begun.popleft())
    while begun:
        while not all(text.done for _, text in begun[0]):
            slots.step()
        yield _result(begun.popleft())


def _result(batch):
    return [scores for scores, _ in batch], [text.ids[text.prefix :] for _, text in batch]


def verified(model, prefix, suffix, one, new_tokens, eos):
    """The Text of a prefix with the tokens that a pass has verified, and where it disagreed, its own next token.

    Where rounding may decide, the text is read alone here: what is reproduced but for such places costs no decoding.
    """
    certain, known = one.lead > rounding(model), suffix
    for number in np.flatnonzero(~(one.scores.greedy & certain)):
        best = one.best[number] if certain[number] else next_token(model, [*prefix, *suffix[:number]])
        if best != suffix[number]:
            known = [*suffix[:number], int(best)]
            break
    ended = eos in known
    known = known[: known.index(eos)] if ended else known
    text = Text([*prefix, *known], len(prefix), len(prefix) + new_tokens, one.cache, one.row, ended)
    if text.done:
        text.cache = None  # it takes room
    return text


class Batches:
    """What Slots is, for a model without keys and values that can be moved: a batch at a time."""

    def __init__(self, model, size, eos):
        self.model, self.room, self.eos = model, Room(size), eos
        self.texts, self.waiting = (), deque()

    def step(self):
        """Continue all texts that wait to their ends."""
        texts = list(self.waiting)
        for text, ids in zip(texts, in_parts(self._continue, texts, self.room), strict=True):
            text.ids += ids[: text.limit - len(text.ids)]
            text.ended = True
        self.waiting.clear()

    def _continue(self, texts):
        new_tokens = max(text.limit - len(text.ids) for text in texts)
        return continue_prefixes(self.model, [text.ids for text in texts], new_tokens, self.eos)
