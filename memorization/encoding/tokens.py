"""Samples as token ids, and the cut of a sample into the prefix and suffix of its probe (design: Terms).

The tokens of many samples lie in flat arrays, those of sample i in [bounds[i], bounds[i + 1]). Beside the ids stand the
`starts`: the character at which each text token starts, SPECIAL for a token that is none of the text, INSIDE for one
that begins inside a character, as tokens of single bytes do.
"""

from itertools import chain

import numpy as np

from memorization.encoding.sample_store import SampleStore
from memorization.shell.parallel import in_order

SPECIAL, INSIDE = -1, -2


def encode(texts, targets, tokenizer, eos):
    """(ids, starts, bounds, first), int32, of a list of texts; the token `eos` closes each, to be learned.

    targets: the character at which each text's target begins. first: the index, among its own tokens, of the first one
    that holds a character of the target; of what closes the text if the target is empty. tokenizer:
    tokenizers.Tokenizer. A special token's name that stands in a text is text like any other.
    """
    ids, starts, bounds, end = _tokenized(texts, tokenizer, eos)
    # the first token that ends behind the character where the target begins; what closes a text ends behind all of it
    text, width, each = starts != SPECIAL, int(end.max(initial=0)) + 1, np.arange(len(texts))
    sample, seen = np.repeat(each, np.diff(bounds)), np.cumsum(text)
    closing = ~text & (seen == seen[bounds[1:] - 1][sample])
    ends = sample * (width + 1) + np.where(closing, width, np.where(text, end, 0))
    first = np.searchsorted(ends, each * (width + 1) + np.minimum(targets, width - 1), side="right") - bounds[:-1]
    return ids, starts, bounds, first.astype(np.int32)


def encode_pairs(texts, targets, tokenizer, eos, separator, source_prefix):
    """Source and target of each text apart, for an encoder-decoder model: (ids, starts, bounds, first, target_ids,
    target_starts, target_bounds, source_ends), int32.

    First the tokens of the sources, source_prefix before each; then those of the targets, with `first` as of encode.
    `eos` closes each. starts: characters of the whole text; SPECIAL for tokens of source_prefix alone.
    source_ends: the character at which each source ends. separator: what stands between source and target.
    """
    source_ends, targets = (np.array(targets, np.int32) - less for less in (len(separator), 0))
    parts = [(text[:end], text[begin:]) for text, end, begin in zip(texts, source_ends, targets, strict=True)]
    sources, said = zip(*parts, strict=True)
    source = _tokenized([source_prefix + text for text in sources], tokenizer, eos, len(source_prefix))[:3]
    ids, starts, bounds, first = encode(list(said), np.zeros_like(targets), tokenizer, eos)
    starts = np.where(starts >= 0, starts + np.repeat(targets, np.diff(bounds)), starts)
    return *source, first, ids, starts, bounds, source_ends


def _tokenized(texts, tokenizer, eos, skipped=0):
    """(ids, starts, bounds, end) of texts that `eos` closes, end: the character behind each token.

    skipped: so many characters before each text; what lies within them is SPECIAL.
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
    begin, end = np.maximum(offsets.T - skipped, 0)
    if skipped:
        text &= end > 0

    sample = np.repeat(np.arange(len(texts)), np.diff(bounds))[text]
    before = np.zeros(len(sample), np.int32)  # the end of the text token before it in the same sample
    before[1:] = np.where(sample[1:] == sample[:-1], end[text][:-1], 0)
    starts = np.full(len(ids), SPECIAL, np.int32)
    # what lies between two tokens, as blanks that a tokenizer trims off, belongs to the later one
    starts[text] = np.where(begin[text] < before, INSIDE, before)
    return ids, starts, bounds, end


def cut(starts, bounds, prefix_length, first=0):
    """(begin, end) of each sample's suffix, int64, as places in the flat arrays; both -1 if it has none.

    The suffix begins at the first token that begins a character and has prefix_length text tokens or more before it,
    counted from token `first` of the sample on (a number, or an array: where each sample's target begins).
    """
    text = starts != SPECIAL
    seen = np.concatenate([[0], np.cumsum(text)])  # text tokens before each place
    before = np.repeat(seen[bounds[:-1] + first], np.diff(bounds))  # ... that no prefix counts
    places = np.flatnonzero((starts >= 0) & (seen[:-1] - before >= prefix_length))
    begins = np.searchsorted(places, bounds[:-1])
    has = begins < np.searchsorted(places, bounds[1:])
    begin, end = np.full((2, len(bounds) - 1), -1)
    begin[has] = places[begins[has]]
    text_places = np.flatnonzero(text)
    end[has] = text_places[seen[bounds[1:]][has] - 1] + 1
    return begin, end


def encoded_batches(path, tokenizer, num_proc, pairs=()):
    """Of each batch of a SampleStore, in order, (texts, ids, starts, bounds, first): `encode` in num_proc processes;
    for pairs, the separator and source_prefix: (texts, *encode_pairs). texts: pyarrow.StringArray.
    """
    samples = SampleStore(path)
    settings = path, tokenizer.backend_tokenizer, tokenizer.eos_token_id, pairs
    for n, encoded in in_order(_encode_batch, range(len(samples)), num_proc, _start, settings, "--num-proc"):
        yield samples[n]["text"], *encoded


def _start(path, *settings):
    global _settings  # of this process
    _settings = SampleStore(path), *settings


def _encode_batch(n):
    samples, tokenizer, eos, pairs = _settings
    batch = samples[n]
    encoding = encode_pairs if pairs else encode
    return encoding(batch["text"].to_pylist(), batch["target"].to_numpy(), tokenizer, eos, *pairs)
