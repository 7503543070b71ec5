"""Samples as token ids, and the cut of a sample into the prefix and suffix of its probe (design: Terms).

The tokens of many samples lie in flat arrays, those of sample i in [bounds[i], bounds[i + 1]). Beside the ids stand the
`starts`: the character at which each text token starts, SPECIAL for a token that is not of the text, INSIDE for one
that begins inside a character, as tokens of single bytes do.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from memorization.encoding.sample_store import SampleStore
from memorization.shell.parallel import in_order

SPECIAL, INSIDE = -1, -2


class Encoded(NamedTuple):
    """The tokens of many texts, int32. first: of each text the index, among its own tokens, of the first one that holds
    a character of the target; of what closes the text if the target is empty."""

    ids: np.ndarray
    starts: np.ndarray
    bounds: np.ndarray
    first: np.ndarray


class EncodedPairs(NamedTuple):
    """The tokens of the sources of many texts, and apart from them those of their targets, int32.

    starts, target_starts: characters of the whole text; SPECIAL for tokens of the source prefix alone. first: as of
    Encoded, among a target's tokens. source_ends: the character at which each source ends.
    """

    ids: np.ndarray
    starts: np.ndarray
    bounds: np.ndarray
    first: np.ndarray
    target_ids: np.ndarray
    target_starts: np.ndarray
    target_bounds: np.ndarray
    source_ends: np.ndarray


def encode(texts: list[str], targets: np.ndarray, tokenizer: Tokenizer, eos: int) -> Encoded:
    """The tokens of texts; the token `eos` closes each, to be learned.

    targets: the character at which each text's target begins. A special token's name that occurs in a text is text like
    any other.
    """
    ids, starts, bounds, end = _tokenized(texts, tokenizer, eos)
    # the first token that ends behind the character where the target begins; what closes a text ends behind all of it
    text, width, each = starts != SPECIAL, int(end.max(initial=0)) + 1, np.arange(len(texts))
    sample, text_tokens = np.repeat(each, np.diff(bounds)), np.cumsum(text)
    closing = ~text & (text_tokens == text_tokens[bounds[1:] - 1][sample])
    ends = sample * (width + 1) + np.where(closing, width, np.where(text, end, 0))
    first = np.searchsorted(ends, each * (width + 1) + np.minimum(targets, width - 1), side="right") - bounds[:-1]
    return Encoded(ids, starts, bounds, first.astype(np.int32))


def encode_pairs(
    texts: list[str], targets: np.ndarray, tokenizer: Tokenizer, eos: int, separator: str, source_prefix: str
) -> EncodedPairs:
    """Source and target of each text apart, for an encoder-decoder model; `eos` closes each.

    targets: the character at which each text's target begins. separator: the text between source and target.
    source_prefix: is put before each source.
    """
    source_ends, targets = (np.array(targets, np.int32) - less for less in (len(separator), 0))
    pairs = [(text[:end], text[begin:]) for text, end, begin in zip(texts, source_ends, targets, strict=True)]
    sources, outputs = zip(*pairs, strict=True)
    source = _tokenized([source_prefix + text for text in sources], tokenizer, eos, len(source_prefix))
    ids, starts, bounds, first = encode(list(outputs), np.zeros_like(targets), tokenizer, eos)
    starts = np.where(starts >= 0, starts + np.repeat(targets, np.diff(bounds)), starts)
    return EncodedPairs(source[0], source[1], source[2], first, ids, starts, bounds, source_ends)


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
    # characters between two tokens, as blanks that a tokenizer trims off, belong to the later one
    starts[text] = np.where(begin[text] < before, INSIDE, before)
    return ids, starts, bounds, end


def cut(
    starts: np.ndarray, bounds: np.ndarray, prefix_length: int, first: np.ndarray | int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(begin, end) of each sample's suffix, int64, as places in the flat arrays; both -1 if it has none.

    The suffix begins at the first token that begins a character and has prefix_length text tokens or more before it,
    counted from token `first` of the sample on (a number, or an array: where each sample's target begins).
    """
    text = starts != SPECIAL
    text_before = np.concatenate([[0], np.cumsum(text)])  # text tokens before each place
    not_counted = np.repeat(text_before[bounds[:-1] + first], np.diff(bounds))
    places = np.flatnonzero((starts >= 0) & (text_before[:-1] - not_counted >= prefix_length))
    begins = np.searchsorted(places, bounds[:-1])
    has = begins < np.searchsorted(places, bounds[1:])
    begin, end = np.full((2, len(bounds) - 1), -1)
    begin[has] = places[begins[has]]
    text_places = np.flatnonzero(text)
    end[has] = text_places[text_before[bounds[1:]][has] - 1] + 1
    return begin, end


def encoded_batches(
    path: Path, tokenizer: PreTrainedTokenizerFast, num_proc: int, pairs: tuple[str, str] | tuple[()] = ()
) -> Iterator[tuple[pa.StringArray, Encoded | EncodedPairs]]:
    """(texts, their tokens) of each batch of a SampleStore, in order, by num_proc processes.

    pairs: for an encoder-decoder model, the separator and source_prefix of encode_pairs.
    """
    samples = SampleStore(path)
    settings = path, tokenizer.backend_tokenizer, tokenizer.eos_token_id, pairs
    for n, encoded in in_order(_encode_batch, range(len(samples)), num_proc, _start, settings, "--num-proc"):
        yield samples[n]["text"], encoded


def _start(path, *settings):
    global _settings  # of this process
    _settings = SampleStore(path), *settings


def _encode_batch(n):
    samples, tokenizer, eos, pairs = _settings
    batch = samples[n]
    encoding = encode_pairs if pairs else encode
    return encoding(batch["text"].to_pylist(), batch["target"].to_numpy(), tokenizer, eos, *pairs)
