"""Whether a tokenizer makes of stage 1's texts the tokens that stage 1 stored (design: What makes a result).

Tokenizers are compared by this, not by their files: an added padding token, or any id that no text has, makes no
difference; another end-of-text token does, as it closes each text.
"""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from memorization.encoding.stored_sets import BAR_DELAY, flat
from memorization.encoding.tokens import TEXT, encode
from memorization.store.fingerprints import tokenizer_fingerprint

AT_ONCE = 1000  # texts


def tokenizer_agrees(tokenizer: PreTrainedTokenizerFast, paths: Iterable[Path], made_of: Mapping[str, Any]) -> bool:
    """Whether a tokenizer makes the stored tokens of every text of the training or held-out sets at these paths.

    made_of: of their manifests. No text is read where the tokenizer's fingerprint is the one that stage 1 recorded;
    otherwise they are read up to the first that differs.
    """
    if tokenizer_fingerprint(tokenizer) == made_of["tokenizer"]:
        return True
    from datasets import concatenate_datasets, load_from_disk  # slow to import

    rows = concatenate_datasets([load_from_disk(str(path)) for path in paths]).with_format("arrow")
    backend = copy.deepcopy(tokenizer.backend_tokenizer)  # `encode` changes its settings
    agrees = _agrees_on_pairs if made_of.get("encoder_decoder") else _agrees
    with tqdm(total=len(rows), desc="comparing tokenizers", unit=" texts", delay=BAR_DELAY) as bar:
        for batch in rows.iter(AT_ONCE):
            if not agrees(batch.combine_chunks(), backend, tokenizer.eos_token_id, made_of):
                return False
            bar.update(len(batch))
    return True


def _agrees(batch, tokenizer, eos, made_of):
    ids, bounds = _tokens(batch["text"].to_pylist(), tokenizer, eos, made_of.get("form", TEXT))
    stored, stored_bounds = flat(batch["input_ids"].chunk(0))
    return np.array_equal(bounds, stored_bounds) and np.array_equal(ids, stored)


def _agrees_on_pairs(batch, tokenizer, eos, made_of):
    """The same for source and target apart. A text that has the separator twice may be divided at either."""
    separator, pairs, row_of = made_of["separator"], [], []
    for row, text in enumerate(batch["text"].to_pylist()):
        pieces = text.split(separator)
        for n in range(1, len(pieces)):
            pairs.append((made_of["source_prefix"] + separator.join(pieces[:n]), separator.join(pieces[n:])))
            row_of.append(row)
    stored = list(zip(*(batch[name].to_pylist() for name in ("input_ids", "labels")), strict=True))
    sides = []
    for texts in zip(*pairs, strict=True):
        ids, bounds = _tokens(list(texts), tokenizer, eos)
        sides.append([part.tolist() for part in np.split(ids, bounds[1:-1])])
    equal = {row for row, *pair in zip(row_of, *sides, strict=True) if tuple(pair) == stored[row]}
    return len(equal) == len(stored)


def _tokens(texts, tokenizer, eos, form=TEXT):
    ids, _, bounds, *_ = encode(texts, [()] * len(texts), tokenizer, eos, form)
    return ids, bounds
