"""The engine that scores and continues texts by vLLM in this process."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from memorization.extraction.engine import DecodingSettings, Prompt, TokenScores
from memorization.models.adapters import Adapter
from memorization.shell.cli import UserError

TOGETHER = 8  # times the batch size: texts that vLLM is given at a time, and batches itself as it has room
COOLEST = 0.01  # vLLM takes this temperature for a lower one


class VllmEngine:
    """An Engine of a causal model.

    vLLM scores a text as a prompt, and continues its prefix in another pass. Even in 32 bits, tokens and the last
    digits of scores depend on the texts that share a batch. A batch that is given again, as by a run that goes on, is
    worked through in the same steps, and nothing is cached from one batch to the next: it gives the same as far as
    vLLM's kernels do, which promise nothing. The draws of a generation depend on the seed and its key.

    llm: of vllm_models.load_llm. ends: the tokens that end a text. batch_size: TOGETHER times as many texts are best
    given at a time. adapter: one of those that the model was loaded with; None for the model without.
    """

    def __init__(
        self, llm: Any, ends: Sequence[int], decoding: DecodingSettings, batch_size: int, adapter: Adapter | None = None
    ) -> None:
        self._llm, self._ends, self._decoding = llm, ends, decoding
        self._adapter = adapter and adapter_request(adapter)
        self.batch_size = TOGETHER * batch_size
        self.not_computed = {"scores.min_k_plus": "vLLM gives the log probabilities of the tokens alone"}
        if decoding.scheme != (1.0, 0, 1.0):
            self.not_computed["scores.log_p_z"] = "vLLM scores at temperature 1, without top-k and top-p"

    @property
    def identity(self) -> dict[str, Any]:
        import vllm

        config = self._llm.llm_engine.vllm_config
        made_of = {"engine": "vllm", "engine_version": vllm.__version__, "batch_size": self.batch_size}
        made_of["dtype"] = str(config.model_config.dtype).removeprefix("torch.")
        return made_of | {"tensor_parallel": config.parallel_config.tensor_parallel_size}

    def score(self, probes: Sequence[dict[str, Any]]) -> list[TokenScores]:
        suffixes = [probe["suffix_ids"][: self._decoding.max_new_tokens] for probe in probes]
        texts = [[*probe["prefix_ids"], *suffix] for probe, suffix in zip(probes, suffixes, strict=True)]
        scores = []
        for log_probs, suffix in zip(prompt_log_probs(self._llm, texts, self._adapter), suffixes, strict=True):
            own, likeliest = log_probs[-len(suffix) :].T
            in_scheme = None if "scores.log_p_z" in self.not_computed else own
            scores.append(TokenScores(own, own >= likeliest, in_scheme))
        return scores

    def generate(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        from vllm import SamplingParams

        decoding = self._decoding
        asked = [
            SamplingParams(
                temperature=decoding.temperature,
                top_k=decoding.top_k,
                top_p=decoding.top_p,
                seed=_seed(decoding.seed, *prompt.key),
                max_tokens=decoding.max_new_tokens,
                stop_token_ids=[*self._ends],
                ignore_eos=True,  # of the checkpoint
                detokenize=False,
            )
            for prompt in prompts
        ]
        outputs = _ask(self._llm, [prompt.probe["prefix_ids"] for prompt in prompts], asked, self._adapter)
        continuations = [[*output.outputs[0].token_ids] for output in outputs]
        return [tokens[:-1] if tokens[-1] in self._ends else tokens for tokens in continuations]


def prompt_log_probs(llm: Any, texts: Sequence[list[int]], adapter: Any = None) -> list[np.ndarray]:
    """For each text, the log probabilities of its tokens but the first, and of the likeliest ones in their places:
    float32 [tokens - 1, 2].

    adapter: an adapter_request. Raises UserError for scores that are not numbers.
    """
    from vllm import SamplingParams

    asked = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=1, flat_logprobs=True, detokenize=False)
    log_probs = []
    for text, output in zip(texts, _ask(llm, texts, asked, adapter), strict=True):
        flat = output.prompt_logprobs
        assert flat.token_ids[::2] == text[1:]
        log_probs.append(np.array(flat.logprobs, np.float32).reshape(-1, 2))
        if np.isnan(log_probs[-1]).any():
            dtype = llm.llm_engine.vllm_config.model_config.dtype
            raise UserError(f"the model's scores are not numbers in {dtype}; choose --dtype float32 or bfloat16")
    return log_probs


def adapter_request(adapter: Adapter) -> Any:
    """vLLM's request for an adapter."""
    from vllm.lora.request import LoRARequest

    directory = str(adapter.directory.resolve())
    return LoRARequest(adapter.name, 1 + zlib.crc32(directory.encode()), directory)


def _ask(llm: Any, texts: Sequence[list[int]], asked: Any, adapter: Any) -> list[Any]:
    return llm.generate([{"prompt_token_ids": ids} for ids in texts], asked, use_tqdm=False, lora_request=adapter)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
