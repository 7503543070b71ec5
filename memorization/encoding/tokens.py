"""Samples as token ids, and the cut of a sample into the prefix and suffix of its probe (design: Terms).

The tokens of many samples lie in flat arrays, those of sample i in [bounds[i], bounds[i + 1]). Beside the ids stand the
`starts`: the character at which each text token starts, SPECIAL for a token that is none of the text, INSIDE for one
that begins inside a character, as tokens of single bytes do.
"""

from itertools import chain

import numpy as np

from memorization.encoding.samples import Samples
from memorization.parallel import in_order

SPECIAL, INSIDE = -1, -2


def encode(texts, targets, tokenizer, eos):
    """(ids, starts, bounds, first), int32, of a list of texts; the token `eos` closes each, to be learned.

    targets: the character at which each text's target begins. first: the index, among its own tokens, of the first one
    that holds a character of the target; of what closes the text if the target is empty. tokenizer:
    tokenizers.Tokenizer. A special token's name that stands in a text is text like any other.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    encoded = tokenizer.encode_batch(texts)
    flat, bounds = chain.from_iterable, np.cumsum([0, *map(len, encoded)])
    # one text's Python lists at a time: kept for all texts, they cost more than the tokenizing
    ids = np.fromiter(flat(one.ids for one in encoded), np.int32, bounds[-1])
    text = np.fromiter(flat(one.special_tokens_mask for one in encoded), np.int8, bounds[-1]) == 0
    offsets = np.fromiter(flat(flat(one.offsets for one in encoded)), np.int32, 2 * bounds[-1]).reshape(-1, 2)
    ends = bounds[1:]
    closed = (np.diff(bounds) > 0) & (ids[ends - 1] == eos) & ~text[ends - 1] if len(ids) else np.zeros(len(ends), bool)
    ids, text, offsets = (
        np.insert(array, ends[~closed], value, 0) for array, value in ((ids, eos), (text, False), (offsets, 0))
    )
    bounds = np.concatenate([[0], ends + np.cumsum(~closed)]).astype(np.int32)
    begin, end = offsets.T

    sample = np.repeat(np.arange(len(texts)), np.diff(bounds))[text]
    before = np.zeros(len(sample), np.int32)  # the end of the text token before it in the same sample
    before[1:] = np.where(sample[1:] == sample[:-1], end[text][:-1], 0)
    starts = np.full(len(ids), SPECIAL, np.int32)
    # what lies between two tokens, as blanks that a tokenizer trims off, belongs to the later one
    starts[text] = np.where(begin[text] < before, INSIDE, before)

    # the first token that ends behind the character where the target begins; what closes a text ends behind all of it
    width, each = int(end.max(initial=0)) + 1, np.arange(len(texts))
    sample, seen = np.repeat(each, np.diff(bounds)), np.cumsum(text)
    closing = ~text & (seen == seen[bounds[1:] - 1][sample])
    ends = sample * (width + 1) + np.where(closing, width, np.where(text, end, 0))
    first = np.searchsorted(ends, each * (width + 1) + np.minimum(targets, width - 1), side="right") - bounds[:-1]
    return ids, starts, bounds, first.astype(np.int32)


def cut(starts, bounds, prefix_length):
    """(begin, end) of each sample's suffix, int64, as places in the flat arrays; both -1 if it has none.

    The suffix begins at the first token that begins a character and has prefix_length text tokens or more before it.
    """
    text = starts != SPECIAL
    seen = np.concatenate([[0], np.cumsum(text)])  # text tokens before each place
    before = np.repeat(seen[bounds[:-1]], np.diff(bounds))  # ... of earlier samples
    places = np.flatnonzero((starts >= 0) & (seen[:-1] - before >= prefix_length))
    first = np.searchsorted(places, bounds[:-1])
    has = first < np.searchsorted(places, bounds[1:])
    begin, end = np.full((2, len(bounds) - 1), -1)
    begin[has] = places[first[has]]
    text_places = np.flatnonzero(text)
    end[has] = text_places[seen[bounds[1:]][has] - 1] + 1
    return begin, end


def encoded_batches(path, tokenizer, num_proc):
    """(texts, ids, starts, bounds, first) of each batch of samples.store's file, in order: `encode` in num_proc
    processes. texts: pyarrow.StringArray.
    """
    samples = Samples(path)
    settings = path, tokenizer.backend_tokenizer, tokenizer.eos_token_id
    for n, encoded in in_order(_encode_batch, range(len(samples)), num_proc, _start, settings, "--num-proc"):
        yield samples[n]["text"], *encoded


def _start(path, tokenizer, eos):
    global _settings  # of this process
    _settings = Samples(path), tokenizer, eos


def _encode_batch(n):
    samples, tokenizer, eos = _settings
    batch = samples[n]
    return encode(batch["text"].to_pylist(), batch["target"].to_numpy(), tokenizer, eos)
