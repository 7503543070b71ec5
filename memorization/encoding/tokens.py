"""Samples as token ids, and the cut of a sample into the prefix and suffix of its probe (design: Terms)."""


def encode(samples, tokenizer, num_proc):
    """Tokenize a datasets.Dataset with a column `text`; the end-of-text token closes every sample, to be learned.

    Adds input_ids, attention_mask, labels (equal to input_ids) and `starts`, the character at which each text token
    starts (end-of-text and other special tokens have none: -1).
    """

    def batch(rows):
        encoded = tokenizer(rows["text"], return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
        starts = [
            [-1 if special else start for (start, _), special in zip(offsets, specials, strict=True)]
            for offsets, specials in zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
        ]
        ids = encoded["input_ids"]
        for row, row_starts in zip(ids, starts, strict=True):
            if not row or row[-1] != tokenizer.eos_token_id:
                row.append(tokenizer.eos_token_id)
                row_starts.append(-1)
        return {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "labels": ids, "starts": starts}

    return samples.map(batch, batched=True, num_proc=num_proc if num_proc > 1 else None, desc="tokenizing")


def probe_ids(sample, prefix_length):
    """Cut an encoded sample behind its first prefix_length text tokens, or None if it has no more than those.

    Returns prefix_ids (with the special tokens that come before the text), suffix_ids (without end-of-text) and `cut`,
    the character of the text at which the suffix starts.
    """
    text_tokens = [i for i, start in enumerate(sample["starts"]) if start >= 0]
    if len(text_tokens) <= prefix_length:
        return None
    begin, end = text_tokens[prefix_length], text_tokens[-1] + 1
    ids = sample["input_ids"]
    return {"prefix_ids": ids[:begin], "suffix_ids": ids[begin:end], "cut": sample["starts"][begin]}
