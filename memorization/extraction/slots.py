"""Texts decoded together in slots: as soon as one is finished another takes its place, whatever batch it is of.

So all slots are in use until the last texts. All texts end in the same column, as if they were padded on the left.
"""

import inspect
from collections import deque
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from memorization.extraction.generation import leading, next_token, no_numbers, rounding
from memorization.extraction.memory import Room, ran_out
from memorization.extraction.scoring import keeping, read

SPARE = 64  # columns behind the longest text, before the slots' contents are moved back


@dataclass(eq=False)
class Text:
    """A prefix being continued. ids: its tokens so far. prefix: how many are the prefix's. limit: how many there may be
    in the end. cache, row: where the keys and values of all but the last of them are; None: to be computed.
    """

    ids: list
    prefix: int
    limit: int
    cache: Any = None
    row: int = 0
    ended: bool = False

    @property
    def done(self):
        return self.ended or len(self.ids) >= self.limit

    def add(self, token, eos):
        if token == eos:
            self.ended = True
        else:
            self.ids.append(token)


class Slots:
    """Texts that are decoded together. waiting: those that are to take the places of the finished ones."""

    def __init__(self, model, size, eos):
        self.model, self.room, self.eos = model, Room(size), eos
        self.texts, self.waiting = [], deque()
        self._cache, self._longest, self._end = None, 0, 0  # _end: the column behind every text
        self._arguments = inspect.signature(model.forward).parameters

    def step(self):
        """Fill the slots, and continue each of their texts by a token; with fewer of them if the memory runs out."""
        failed, following = ran_out(self._following)
        if failed:
            for text in (*self.texts, *self.waiting):  # what the pass left of them takes room too
                text.cache = None
            tried = len(self.texts)
            self.waiting.extendleft(reversed(self.texts))
            self.texts, self._cache = [], None
            self.room.halve(tried if tried > 1 else self.room.size)  # so many have their places in the buffers
            return
        for text, token in zip(self.texts, following, strict=True):
            text.add(token, self.eos)
        self._end += 1
        self._remove()

    def _following(self):
        tokens, leads = torch.stack([*leading(self.scores())]).cpu().numpy()
        tokens = tokens.astype(int).tolist()
        for slot in np.flatnonzero(~(leads > rounding(self.model))):
            if np.isnan(leads[slot]):
                raise no_numbers(self.model)
            tokens[slot] = next_token(self.model, self.texts[slot].ids)
        return tokens

    def scores(self):
        """Fill the slots; [texts, vocabulary], the scores of what follows each text in them."""
        self._fill()
        last, read_before = torch.tensor(
            [[text.ids[-1] for text in self.texts], [len(text.ids) - 1 for text in self.texts]],
            device=self.model.device,
        )[:, :, None]
        span = max(len(text.ids) for text in self.texts) - 1
        for layer in self._cache.layers:
            layer.rows, layer.columns = len(self.texts), slice(self._end - span, self._end)
        inputs = {
            "input_ids": last,
            "attention_mask": (torch.arange(span + 1, device=self.model.device) >= span - read_before).long(),
            "position_ids": read_before,
        }
        inputs = {name: value for name, value in inputs.items() if name in self._arguments}
        output = self.model(**inputs, past_key_values=self._cache, use_cache=True, **keeping(self.model, 1))
        return output.logits[:, -1].float()

    def _fill(self):
        begin = len(self.texts)
        while self.waiting and len(self.texts) < self.room.size:
            self.texts.append(self.waiting.popleft())
        new = self.texts[begin:]
        if unread := [text for text in new if text.cache is None]:
            cache = read(self.model, [text.ids[:-1] or text.ids for text in unread], 1, use_cache=True).past_key_values
            for row, text in enumerate(unread):
                text.cache, text.row = cache, row
        longest = max((text.limit for text in new), default=0)
        if longest > self._longest or self._cache is None or self._end == self._longest + SPARE:
            self._move(begin, new, max(longest, self._longest))
        for _, together in groupby(new, lambda text: id(text.cache)):
            begin = self._copy(begin, list(together))

    def _copy(self, begin, texts):
        """Copy what one pass left of texts into as many slots from `begin` on; return the slot behind them."""
        lengths = torch.tensor([len(text.ids) - 1 for text in texts], device=self.model.device)
        rows = torch.tensor([text.row for text in texts], device=self.model.device)
        span, end = max(len(text.ids) - 1 for text in texts), begin + len(texts)
        columns = (torch.arange(span, device=self.model.device) - (span - lengths)[:, None]).clamp(min=0)
        for layer, source in zip(self._cache.layers, texts[0].cache.layers, strict=True):
            for buffer, values in zip(layer.buffers, (source.keys, source.values), strict=True):
                moved = values[rows[:, None], :, columns].transpose(1, 2)  # a short text has its first in front of it
                buffer[begin:end, :, self._end - span : self._end] = moved
        for text in texts:
            text.cache = None
        return end

    def _move(self, number, new, longest):
        """Make buffers for texts of `longest` tokens, and move the contents of so many slots to their beginning."""
        old = self._cache
        self._cache = self._cache or slot_cache(new[0].cache)
        span = max((len(text.ids) - 1 for text in self.texts[:number]), default=0)
        for layer in self._cache.layers:
            for i, buffer in enumerate(layer.buffers):
                _, heads, _, width = buffer.shape
                moved = buffer.new_zeros(self.room.size, heads, longest + SPARE, width)
                if old:
                    kept = buffer[:number, :, self._end - span : self._end]
                    moved[:number, :, longest - span : longest] = kept
                layer.buffers[i] = moved
        self._longest = self._end = longest

    def _remove(self):
        """Take the finished texts out, the last ones into their slots."""
        done = [text.done for text in self.texts]
        going_on = [slot for slot, ended in enumerate(done) if not ended]
        if free := [slot for slot, ended in enumerate(done[: len(going_on)]) if ended]:
            last = going_on[-len(free) :]
            for slot, other in zip(free, last, strict=True):
                self.texts[slot] = self.texts[other]
            to, of = torch.tensor([free, last], device=self.model.device)
            for layer in self._cache.layers:
                for buffer in layer.buffers:
                    buffer.index_copy_(0, to, buffer[of])
        del self.texts[len(going_on) :]


class SlotLayer(DynamicLayer):
    """The keys and values of one layer of the model. buffers: [slots, heads, columns, width] of both. rows, columns:
    how many slots are in use, and the columns that have been read, a slice.
    """

    def __init__(self, layer):
        super().__init__()
        self.is_initialized = True
        self.buffers = [layer.keys[:0], layer.values[:0]]

    def update(self, keys, values, *_, **__):
        begin, end = self.columns.start, self.columns.stop
        for buffer, new in zip(self.buffers, (keys, values), strict=True):
            buffer[: self.rows, :, end : end + 1] = new
        return tuple(buffer[: self.rows, :, begin : end + 1] for buffer in self.buffers)

    def get_seq_length(self):
        return self.columns.stop - self.columns.start


def slot_cache(cache):
    """A cache of SlotLayers for a model that keeps such a cache of a pass."""
    new = DynamicCache()
    new.layers = [SlotLayer(layer) for layer in cache.layers]
    return new


@torch.inference_mode()
def slot_bytes(model, longest):
    """How many bytes a slot takes of texts of up to `longest` tokens; 0 for a model that can't decode in slots.

    What it keeps must be keys and values of every token, and nothing else, and its scores of texts in slots those of
    each text alone: tried on two of unlike length.
    """
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return 0
    texts = [[1, 2, 3, 4, 5, 6], [3, 1]]
    cache = getattr(read(model, texts, 1, use_cache=True), "past_key_values", None)
    if type(cache) is not DynamicCache or not all(_is_whole(layer, longest, 6) for layer in cache.layers):
        return 0
    slots = Slots(model, 2, None)
    slots.waiting += [Text(ids, 0, 9) for ids in texts]
    for token in (2, 5):
        together = slots.scores()
        for text, scores in zip(slots.texts, together, strict=True):
            alone = model(input_ids=torch.tensor([text.ids], device=model.device), use_cache=False).logits[0, -1]
            if not (scores - alone).abs().max() <= 1e-3 * (1 + alone.abs().max()):
                return 0
            text.add(token, None)
        slots._end += 1
    kept = [(states.shape, states.element_size()) for layer in cache.layers for states in (layer.keys, layer.values)]
    return sum(shape[1] * (longest + SPARE) * shape[3] * size for shape, size in kept)


def _is_whole(layer, longest, number):
    whole = type(layer) is DynamicLayer or type(layer) is DynamicSlidingWindowLayer and layer.sliding_window > longest
    return whole and layer.keys is not None and layer.keys.ndim == 4 and layer.keys.shape[2] == number
