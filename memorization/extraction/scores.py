"""Extraction and membership scores of a probe's suffix, from one teacher-forced pass (design.md, Terms).

All are of the suffix's first tokens, as many as a generation may have, given the prefix.
"""

import math
import zlib
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from memorization.extraction.engine import TokenScores
from memorization.store.manifests import Count, Positive, Real, Share

LENGTHS = (10, 25, 50, 100)  # tokens of an exact match
QUERIES = (1, 10, 100, 1_000, 10_000)
CHANCES = (0.5, 0.9)
LEAST = 0.2  # of the tokens, the least likely: min-k % and min-k %++

Log = Real | Literal["-inf"]  # a logarithm; float() reads both. JSON has no infinity: "-inf" is a probability of 0
NotComputed = UnsetType  # the field is missing: the engine did not give it, the manifest says why


class Scores(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of a probe. What an engine does not give is missing; the manifest says why.

    log_likelihood: the sum of the tokens' log probabilities; log_p_z the same under the sampling scheme
    (Hayes et al. 2025). matched_tokens: how many from the start are what greedy decoding gives. extraction_strength:
    1 - the shortest part of the tokens from which on greedy decoding gives the rest / their number (Carlini et al.
    2021, Wang et al. 2025). min_k, min_k_plus: of the fifth of the tokens with the least, the mean log probability
    (Shi et al. 2024), and the mean of it standardized over the vocabulary (Zhang et al. 2024). zlib_bytes: of the
    text, compressed (Carlini et al. 2021). In bytes, which are base64 in JSON: token_log_probs, the log probability of
    each token, little-endian float32; token_greedy, a bit for each, whether it is what greedy decoding gives
    (np.packbits); token_lengths, how many characters each is, little-endian uint16.
    """

    tokens: Positive
    log_likelihood: Log
    log_p_z: Log | NotComputed = UNSET
    matched_tokens: Count | NotComputed = UNSET
    extraction_strength: Share | NotComputed = UNSET
    min_k: Log
    min_k_plus: Log | NotComputed = UNSET
    zlib_bytes: Positive
    token_log_probs: bytes | NotComputed = UNSET
    token_greedy: bytes | NotComputed = UNSET
    token_lengths: bytes | NotComputed = UNSET

    def __post_init__(self) -> None:
        if (self.matched_tokens or 0) > self.tokens:
            raise ValueError(f"{self.matched_tokens} matched tokens of {self.tokens}")
        sizes = {"log_probs": 4 * self.tokens, "greedy": -(-self.tokens // 8), "lengths": 2 * self.tokens}
        for name, size in sizes.items():
            if (values := getattr(self, f"token_{name}")) is not UNSET and len(values) != size:
                raise ValueError(f"token_{name} are not of {self.tokens} tokens")
        if (
            any(float(value or 0) > 0 for value in (self.log_likelihood, self.log_p_z))
            or not (self.log_probs <= 0).all()
        ):
            raise ValueError("a probability over 1")

    @property
    def log_probs(self) -> np.ndarray:
        """The log probability of each token, float32; empty where they are missing."""
        return np.frombuffer(self.token_log_probs or b"", "<f4")

    @property
    def greedy(self) -> np.ndarray:
        """Whether greedy decoding gives each token, bool; empty where that is missing."""
        bits = np.frombuffer(self.token_greedy or b"", np.uint8)
        return np.unpackbits(bits, count=self.tokens if len(bits) else 0).view(bool)

    @property
    def lengths(self) -> np.ndarray:
        """The characters of each token, uint16; empty where they are missing."""
        return np.frombuffer(self.token_lengths or b"", "<u2")


def scores(tokens: TokenScores, text: str, lengths: np.ndarray | None = None) -> Scores:
    """The Scores of a suffix. text: that of its tokens. lengths: in characters, of each token, None if not known."""
    log_prob = np.minimum(tokens.log_prob, 0).astype(np.float64)
    length = len(log_prob)
    more: dict[str, Any] = {}  # what the engine gives beside the log probabilities
    if tokens.scheme is not None:
        more["log_p_z"] = _log(np.minimum(tokens.scheme, 0).sum(dtype=np.float64))
    if tokens.greedy is not None:
        differ = np.flatnonzero(~tokens.greedy)
        more["token_greedy"] = np.packbits(tokens.greedy).tobytes()
        more["matched_tokens"] = int(differ[0]) if len(differ) else length
        more["extraction_strength"] = 1 - (int(differ[-1]) + 1) / length if len(differ) else 1.0
    if tokens.mean is not None and tokens.std is not None:
        from_mean = np.divide(log_prob - tokens.mean, tokens.std, out=np.zeros(length), where=tokens.std > 0)
        more["min_k_plus"] = _log(least(from_mean))
    if lengths is not None:
        more["token_lengths"] = lengths.astype("<u2").tobytes()
    return Scores(
        tokens=length,
        log_likelihood=_log(log_prob.sum()),
        min_k=_log(least(log_prob)),
        zlib_bytes=len(zlib.compress(text.encode("utf-8", "surrogatepass"))),
        token_log_probs=log_prob.astype("<f4").tobytes(),
        **more,
    )


def least(values: np.ndarray) -> float:
    """The mean of the lowest fifth of the values, at least of one."""
    number = max(1, int(LEAST * len(values)))
    return np.partition(values, number - 1)[:number].mean()


def discoverable(log_p_z: np.ndarray | float, queries: int, chance: float) -> np.ndarray:
    """Whether a suffix is (n, p)-discoverable, n `queries` and p `chance`.

    log_p_z: -inf for a probability of 0. chance: in (0, 1).
    """
    return np.asarray(log_p_z) >= least_log_p_z(queries, chance)


def least_log_p_z(queries: int, chance: float) -> float:
    """The least log p_z of a suffix that is discoverable: solves 1 - (1 - p_z)^n = chance (Hayes et al. 2025)."""
    rate = np.log(-np.log1p(-chance)) - math.log(queries) - 1e-9  # what is reached exactly is reached
    return float(np.log(-np.expm1(-np.exp(rate))))


def _log(value: float) -> Log:
    return "-inf" if value == -math.inf else float(value)
