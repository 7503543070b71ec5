"""An Engine: what stage 3 asks of whatever runs a language model. The rest of the pipeline does not know which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from memorization.store.rows import Key


@dataclass(frozen=True)
class DecodingSettings:
    """How an engine generates, and under which sampling scheme it scores.

    max_new_tokens: the most tokens of a generation, and of a suffix that is scored. temperature: 0 is greedy, scored
    at temperature 1. top_k: 0 is all. seed: of the sampling.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 5

    @property
    def scheme(self) -> tuple[float, int, float]:
        """Temperature, top-k and top-p of the sampling scheme."""
        return self.temperature or 1.0, self.top_k, self.top_p


class TokenScores(NamedTuple):
    """One suffix, scored given its prefix: arrays with a value a token; None for what an engine does not compute.

    log_prob: float32, of the token under the softmax of the model's scores. greedy: bool, whether no token scores
    higher, as greedy decoding chooses. scheme: float32, log_prob under the sampling scheme, -inf outside of it. mean,
    std: float32, of the log probabilities of all tokens of the vocabulary, weighted by their probabilities. best:
    int64, the token that scores highest. margin: float32, by how much (decoding.best_tokens).
    """

    log_prob: np.ndarray
    greedy: np.ndarray | None = None
    scheme: np.ndarray | None = None
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    best: np.ndarray | None = None
    margin: np.ndarray | None = None


class Prompt(NamedTuple):
    """A probe (encoding.probes.Probes) to continue. sample: the number of this generation among those of the probe.

    scores: those of the probe, None where it was not scored. An engine need not generate again what they verify.
    """

    probe: dict[str, Any]
    sample: int
    scores: TokenScores | None

    @property
    def key(self) -> Key:
        """That of its row."""
        return self.probe["id"], self.probe["turn"], self.sample


class Engine(Protocol):
    """Scores and continues probes.

    identity: everything about the engine that makes a result what it is: its name, version, precision; JSON-ready.
    not_computed: what it does not give -> the reason: names of fields of generations.Generation, such as "scores", or
    of its scores, such as "scores.min_k_plus". batch_size: how many prompts `generate` is best given at a time. How it
    batches them itself is the engine's own business.
    """

    not_computed: dict[str, str]
    batch_size: int

    @property
    def identity(self) -> dict[str, Any]: ...

    def score(self, probes: Sequence[dict[str, Any]]) -> Sequence[TokenScores | None]:
        """The scores of each probe's suffix, as far as it may be generated; None from an engine without scores."""

    def generate(self, prompts: Sequence[Prompt]) -> Sequence[list[int] | str]:
        """What follows each prompt, the prompt and the end-of-text token left out: token ids, or from an engine that
        gives no tokens a text.
        """
