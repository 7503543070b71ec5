"""How much of a suffix a generation reproduces, in tokens (Carlini et al. 2023; design: Terms)."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from rapidfuzz.distance import LCSseq, Levenshtein

from memorization.encoding.decoded_texts import ENDS
from memorization.store.manifests import Count, Share

NEAR = 0.1  # of its tokens: the edit distance of a near copy


class Near(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A generation beside its own suffix, both cut to the length of an exact match, token by token.

    edit_similarity: 1 - Levenshtein distance / the longer one's length. rouge_l: F1 of their longest common
    subsequence (Lin 2004), 2 x its length / both lengths. common_run: the longest run of tokens in both. near_copy: the
    distance is at most a tenth of the suffix's tokens (approximate memorization; Gemma Team 2024).
    """

    edit_similarity: Share
    rouge_l: Share
    common_run: Count
    near_copy: bool


def matched_tokens(generation_ids: Sequence[int], suffix_ids: Sequence[int]) -> int:
    """How many tokens of the generation agree with the suffix from the start, up to the first that differs."""
    length = min(len(generation_ids), len(suffix_ids))
    differ = np.asarray(generation_ids[:length]) != np.asarray(suffix_ids[:length])
    return int(differ.argmax()) if differ.any() else length


def exact_match(generation_ids: Sequence[int], suffix_ids: Sequence[int], new_tokens: int) -> bool:
    """Whether the generation equals the suffix's first k tokens; k is its limit, or the suffix's length if shorter.

    A model that ends before it has reproduced them does not match (k-extractable; Carlini et al. 2023).
    """
    return matched_tokens(generation_ids, suffix_ids) == min(new_tokens, len(suffix_ids))


def near(generation_ids: Sequence[int], suffix_ids: Sequence[int], new_tokens: int) -> Near:
    """The Near of a generation and its own suffix, which is not empty."""
    target = suffix_ids[:new_tokens]
    beginning = generation_ids[: len(target)]
    distance = Levenshtein.distance(beginning, target)
    return Near(
        edit_similarity=1 - distance / len(target),
        rouge_l=2 * LCSseq.similarity(beginning, target) / (len(beginning) + len(target)),
        common_run=longest_common_token_run(beginning, target),
        near_copy=distance <= NEAR * len(target),
    )


def match_texts(
    text: str, reached: str, suffix: str, tokens_of: Callable[[str], list[int]]
) -> tuple[bool | None, Near | None]:
    """(exact match, Near) of a generation of which the text alone is known; None where the suffix has no text.

    reached: of the suffix's first k tokens; suffix: all of it. tokens_of: a text -> its tokens.

    It matches if the text begins with what is reached; white space and parts of a character at the ends make no
    difference, as engines strip them. Of a longer text the beginning decides, if it goes on with a token of its own, or
    as the suffix does: "Yesterday" is no "Yes". So a text that a model wrote in other tokens than the suffix's matches
    too, and white space at the end of a suffix may be missing. Near compares both texts as tokens_of reads each alone:
    where a token is cut at an end, or a model wrote in other tokens, it may differ a little from that of tokens.
    """
    text, reached, suffix = (ENDS.sub("", each) for each in (text, reached, suffix))
    if not reached:
        return None, None
    ids, target = tokens_of(text), tokens_of(reached)
    exact = text.startswith(reached) and (
        ids[: len(target)] == target or text == reached or suffix.startswith(text[: len(reached) + 1])
    )
    return exact, near(target if exact else ids, target, len(target))


def longest_common_token_run(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the longest run of tokens that occurs in both."""
    tokens, longest = np.asarray(other), 0
    ending = np.zeros(len(other) + 1, np.int64)  # lengths of the runs that end at each token of the other
    for token in one:
        ending[1:] = np.where(tokens == token, ending[:-1] + 1, 0)
        longest = max(longest, int(ending.max()))
    return longest
