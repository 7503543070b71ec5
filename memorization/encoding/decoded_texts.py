"""Texts that token ids were decoded to, and whether they are the text that they should be."""

import re

from transformers import PreTrainedTokenizerBase

HALF = "\ufffd"  # what the bytes of a part of a character are decoded to
ENDS = re.compile(rf"^[\s{HALF}]+|[\s{HALF}]+$")


def decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """The text of token ids, special tokens left out."""
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)  # as of one list of ids
    return text


def same_text(of_ids: str, text: str) -> bool:
    """Whether a text is the one that ids were decoded to, but for the ends. A character of which some bytes are missing
    there may be whole in the text, or missing."""
    before = r"(\S?\s*)" if of_ids.lstrip().startswith(HALF) else ""
    after = r"(\s*\S?)" if of_ids.rstrip().endswith(HALF) else ""
    return bool(re.fullmatch(before + re.escape(ENDS.sub("", of_ids)) + after, ENDS.sub("", text)))
