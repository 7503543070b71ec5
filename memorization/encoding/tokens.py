"""Samples as token ids, and the cut of a sample into the prefix and suffix of its probe (design: Terms).

The tokens of many samples lie in flat arrays, those of sample i in [bounds[i], bounds[i + 1]). Beside the ids stand the
`starts`: the character at which each text token starts, SPECIAL for a token that is not of the text, INSIDE for one
that begins inside a character, as tokens of single bytes do, and CONTROL - c for a special token whose name stands in
the text at character c, as a chat template writes it.

The `targets` of a sample are flat triples of its tokens: begin, end, closed. A target has the tokens [begin, end);
those of [end, closed) close it, as the end-of-text token does, and are learned with it.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from memorization.encoding.sample_store import SampleStore
from memorization.shell.parallel import in_order

SPECIAL, INSIDE, CONTROL = -1, -2, -3
TEXT, NAMED, CHAT = "text", "named", "chat"  # forms of texts: what their special tokens are (_tokenized)
Triples = tuple[np.ndarray, np.ndarray] | None  # targets, and where those of each sample begin


class Encoded(NamedTuple):
    """The tokens of many texts, int32. targets: triples, of shape (targets, 3); those of text i are
    [target_bounds[i], target_bounds[i + 1]), places among its own tokens. An empty target begins at what closes it."""

    ids: np.ndarray
    starts: np.ndarray
    bounds: np.ndarray
    targets: np.ndarray
    target_bounds: np.ndarray


class EncodedPairs(NamedTuple):
    """The tokens of the sources of many texts, and apart from them those of their outputs, int32.

    starts, output_starts: characters of the whole text; SPECIAL for tokens of the source prefix alone. targets: as of
    Encoded, among an output's tokens. source_ends: the character at which each source ends.
    """

    ids: np.ndarray
    starts: np.ndarray
    bounds: np.ndarray
    targets: np.ndarray
    target_bounds: np.ndarray
    output_ids: np.ndarray
    output_starts: np.ndarray
    output_bounds: np.ndarray
    source_ends: np.ndarray


def encode(
    texts: list[str], targets: Sequence[Sequence[int]], tokenizer: Tokenizer, eos: int, form: str = TEXT
) -> Encoded:
    """The tokens of texts. form: TEXT, NAMED or CHAT (_tokenized).

    targets: of each text, flat pairs of characters: where a target begins and ends. What closes a text also closes a
    target that ends with it.
    """
    ids, starts, bounds, ends = _tokenized(texts, tokenizer, eos, form)
    # what closes a text ends behind all of it
    spelled, width, each = starts != SPECIAL, int(ends.max(initial=0)) + 1, np.arange(len(texts))
    sample, count = np.repeat(each, np.diff(bounds)), np.cumsum(spelled)
    closing = ~spelled & (count == count[bounds[1:] - 1][sample])
    ends = sample * (width + 1) + np.where(closing, width, np.where(spelled, ends, 0))
    target_bounds = np.cumsum([0, *(len(own) // 2 for own in targets)])
    pairs = np.fromiter(chain.from_iterable(targets), np.int64, 2 * target_bounds[-1]).reshape(-1, 2)
    of_target = np.repeat(each, np.diff(target_bounds))  # the text of each target
    begin = np.searchsorted(ends, of_target * (width + 1) + np.minimum(pairs[:, 0], width - 1), side="right")
    last = np.searchsorted(ends, of_target * (width + 1) + np.maximum(pairs[:, 1] - 1, 0), side="right")
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    closed = np.where(pairs[:, 1] >= lengths[of_target], bounds[1:][of_target], last + 1)
    if form == TEXT:
        places = np.flatnonzero(_of_text(starts))
        end = np.append(places, 0)[np.searchsorted(places, closed) - 1] + 1
    else:
        each_target = zip(of_target.tolist(), pairs[:, 1].tolist(), begin.tolist(), closed.tolist(), strict=True)
        end = np.array(
            [_content_end(texts[text], stop, starts, *place) for text, stop, *place in each_target], np.int64
        )
    triples = np.stack([begin, np.clip(end, begin, closed), closed], 1) - bounds[of_target][:, None]
    return Encoded(ids, starts, bounds, triples.astype(np.int32), target_bounds.astype(np.int32))


def encode_pairs(
    texts: list[str],
    targets: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    eos: int,
    separator: str,
    source_prefix: str,
) -> EncodedPairs:
    """Source and output of each text apart, for an encoder-decoder model; `eos` closes each.

    targets: of each text, where its output begins and where it ends, which is the text's end. separator: the text
    between source and output. source_prefix: is put before each source.
    """
    begins = np.array([begin for begin, _ in targets], np.int32)
    source_ends = begins - len(separator)
    pairs = [(text[:end], text[begin:]) for text, end, begin in zip(texts, source_ends, begins, strict=True)]
    sources, outputs = zip(*pairs, strict=True)
    source = _tokenized([source_prefix + text for text in sources], tokenizer, eos, TEXT, len(source_prefix))
    of_output = encode(list(outputs), [(0, len(text)) for text in outputs], tokenizer, eos)
    ids, starts, bounds, *spans = of_output
    starts = np.where(starts >= 0, starts + np.repeat(begins, np.diff(bounds)), starts)
    return EncodedPairs(source[0], source[1], source[2], spans[0], spans[1], ids, starts, bounds, source_ends)


def _tokenized(texts, tokenizer, eos, form, skipped=0):
    """(ids, starts, bounds, ends) of texts, ends: the character behind each token.

    form: of a TEXT, the name of a special token is text like any other, and the tokenizer adds its own special tokens;
    where they are NAMED, as in a text that was rendered before, their names are these tokens, and none is added. Both
    are closed by `eos`. A CHAT's are named, and nothing closes it but what its template writes. skipped: so many
    characters before each text; what lies within them is SPECIAL.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = form == TEXT
    encoded = tokenizer.encode_batch(texts, add_special_tokens=form == TEXT)
    flat, bounds = chain.from_iterable, np.cumsum([0, *map(len, encoded)])
    # one text's Python lists at a time: kept for all texts, they cost more than the tokenizing
    ids = np.fromiter(flat(one.ids for one in encoded), np.int32, bounds[-1])
    spelled = np.fromiter(flat(one.special_tokens_mask for one in encoded), np.int8, bounds[-1]) == 0
    control = np.zeros(len(ids), bool)
    if form != TEXT:
        control = np.isin(ids, [id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special])
        spelled |= control
    offsets = np.fromiter(flat(flat(one.offsets for one in encoded)), np.int32, 2 * bounds[-1]).reshape(-1, 2)
    text_ends = bounds[1:]
    closed = np.full(len(texts), form == CHAT)
    if form != CHAT and len(ids):
        last = text_ends - 1
        closed = (np.diff(bounds) > 0) & (ids[last] == eos) & (control[last] | ~spelled[last])
    ids, spelled, control, offsets = (
        np.insert(array, text_ends[~closed], value, 0)
        for array, value in ((ids, eos), (spelled, False), (control, False), (offsets, 0))
    )
    bounds = np.concatenate([[0], text_ends + np.cumsum(~closed)]).astype(np.int32)
    begin, end = np.maximum(offsets.T - skipped, 0)
    if skipped:
        spelled &= end > 0

    sample = np.repeat(np.arange(len(texts)), np.diff(bounds))[spelled]
    before = np.zeros(len(sample), np.int32)  # the end of the spelled token before it in the same sample
    before[1:] = np.where(sample[1:] == sample[:-1], end[spelled][:-1], 0)
    starts = np.full(len(ids), SPECIAL, np.int32)
    # characters between two tokens, as blanks that a tokenizer trims off, belong to the later one
    starts[spelled] = np.where(begin[spelled] < before, INSIDE, before)
    starts[control] = CONTROL - begin[control]
    return ids, starts, bounds, end


def _content_end(text, stop, starts, begin, closed):
    """The place behind the last token of [begin, closed) that is of the target itself: without the control tokens at
    its end, and the blanks behind and among them. stop: the character behind the target."""
    end = closed
    for place in range(closed - 1, begin - 1, -1):
        start = int(starts[place])
        if start <= CONTROL or start == SPECIAL:
            end = place
            continue
        if start == INSIDE or text[start : text_end(starts[:closed], place + 1, text[:stop])].strip():
            break
    return end


def character(start: int) -> int:
    """The character at which a token that is spelled in the text begins. start: of it, not SPECIAL nor INSIDE."""
    return start if start >= 0 else CONTROL - start


def _of_text(starts):
    return (starts >= 0) | (starts == INSIDE)


def text_end(starts: np.ndarray, place: int, text: str) -> int:
    """The character at which the text of the tokens before a place ends. starts: of all tokens of the text."""
    return next((character(int(start)) for start in starts[place:] if start >= 0 or start <= CONTROL), len(text))


def cut(
    kind: str, prefix_length: int, starts: np.ndarray, bounds: np.ndarray, targets: Triples = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(sample, turn, begin, end) of the suffix of each probe, int64; begin, end: places in the flat arrays, or -1.

    A probe of kind "target" is cut from a target, and turn is the target's number in its sample; one of another kind
    from the whole sample, whose suffix ends at the next control token: what follows is another's turn. A suffix begins
    at the first token that begins a character and has prefix_length text tokens of these or more before it, and ends
    with their last text token. targets: triples and their bounds, for kind "target".
    """
    text = _of_text(starts)
    before = np.concatenate([[0], np.cumsum(text)])  # text tokens before each place
    places, text_places = np.flatnonzero(starts >= 0), np.append(np.flatnonzero(text), -1)
    if kind == "target":
        assert targets is not None
        triples, target_bounds = targets
        sample = np.repeat(np.arange(len(bounds) - 1), np.diff(target_bounds))
        turn = np.arange(len(sample)) - target_bounds[sample]
        begin, end = (bounds[sample] + triples[:, column] for column in (0, 1))
    else:
        sample = np.arange(len(bounds) - 1)
        turn, begin, end = np.zeros_like(sample), bounds[:-1], bounds[1:]
    first = np.maximum(begin, np.searchsorted(before, before[begin] + prefix_length))
    suffix = np.append(places, len(starts))[np.searchsorted(places, first)]
    last = text_places[before[end] - 1] + 1
    if kind != "target":
        controls = np.flatnonzero(starts <= CONTROL)
        last = np.minimum(last, np.append(controls, len(starts))[np.searchsorted(controls, suffix)])
    else:
        suffix = np.where(suffix > bounds[sample], suffix, len(starts))  # a prompt has one token at least
    has = suffix < last
    return sample, turn, np.where(has, suffix, -1), np.where(has, last, -1)


def encoded_batches(
    path: Path, tokenizer: PreTrainedTokenizerFast, num_proc: int, form: str = TEXT, pairs: tuple[str, ...] = ()
) -> Iterator[tuple[pa.StringArray, Encoded | EncodedPairs]]:
    """(texts, their tokens) of each batch of a SampleStore, in order, by num_proc processes.

    form: of `encode`. pairs: for an encoder-decoder model, the separator and source_prefix of encode_pairs.
    """
    samples = SampleStore(path)
    encoding, how = (encode_pairs, pairs) if pairs else (encode, (form,))
    settings = path, encoding, tokenizer.backend_tokenizer, tokenizer.eos_token_id, *how
    for n, encoded in in_order(_encode_batch, range(len(samples)), num_proc, _start, settings, "--num-proc"):
        yield samples[n]["text"], encoded


def _start(path, *settings):
    global _settings  # of this process
    _settings = SampleStore(path), *settings


def _encode_batch(n):
    samples, encoding, *settings = _settings
    batch = samples[n]
    return encoding(batch["text"].to_pylist(), batch["targets"].to_pylist(), *settings)
