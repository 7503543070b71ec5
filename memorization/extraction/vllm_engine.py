"""The engine that runs a model by vLLM in this process: on all GPUs that it sees, or on the CPU."""

import importlib.util
import os
import re
import warnings
import zlib
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch

from memorization.extraction.engine import DecodingSettings, Prompt, TokenScores
from memorization.models.adapted import weight_shapes
from memorization.models.adapters import Adapter
from memorization.models.loading import CAUSAL, architecture_of, load_config
from memorization.shell.cli import UserError, is_out_of_memory

TOGETHER = (
    8  # times the batch size: texts that vLLM is given at a time, of which it works on as many as it has room for
)
COOLEST = 0.01  # vLLM takes this temperature for a lower one
ONLY_LORA = re.compile(r"(?<!\.lm_head)\.lora_[AB]\.weight$")  # vLLM leaves the output layer's out of prompts' scores
ENVIRONMENT = {  # of vLLM, where it is not set
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a batch is worked through in the same steps whenever it is given
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",  # by the token behind a scored text, which is not read
    "VLLM_CPU_KVCACHE_SPACE": "4",  # GiB; else nearly all memory
    "VLLM_LOGGING_LEVEL": "ERROR",
}
CHECKED = 32  # tokens of a made-up text
SHOWN = 200  # characters of an error of vLLM
OTHERWISE = "merge it into its base model (merge_and_unload of peft), or take --engine transformers"


class VllmEngine:
    """An Engine of a causal model.

    vLLM scores a text as a prompt, and continues its prefix in a second pass. Even in 32 bits, tokens and the last
    digits of scores depend on the texts that share a batch. A batch that is given again, as by a run that goes on,
    gives the same on the same machine: it is worked through in the same steps, and nothing is cached from one batch to
    the next. What else vLLM's kernels do alike is not promised. The draws of a generation depend on the seed and its
    key.

    llm: of load_llm. ends: the tokens that end a text. batch_size: TOGETHER times as many are best given at a time.
    adapter: one of those that the model was loaded for; None for the model without.
    """

    def __init__(
        self, llm: Any, ends: Sequence[int], decoding: DecodingSettings, batch_size: int, adapter: Adapter | None = None
    ) -> None:
        if 0 < decoding.temperature < COOLEST:
            raise UserError(
                f"--temperature {decoding.temperature:g}: vLLM samples at {COOLEST} or above; take that, or --engine "
                "transformers"
            )
        self._llm, self._ends, self._decoding = llm, ends, decoding
        self._adapter = adapter and _request(adapter)
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
        return [
            self._token_scores(log_probs[-len(suffix) :])
            for log_probs, suffix in zip(prompt_log_probs(self._llm, texts, self._adapter), suffixes, strict=True)
        ]

    def generate(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        from vllm import SamplingParams

        decoding = self._decoding
        each = [
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
        outputs = _ask(self._llm, [prompt.probe["prefix_ids"] for prompt in prompts], each, self._adapter)
        continuations = [[*output.outputs[0].token_ids] for output in outputs]
        return [tokens[:-1] if tokens and tokens[-1] in self._ends else tokens for tokens in continuations]

    def _token_scores(self, log_probs: np.ndarray) -> TokenScores:
        own, best = log_probs.T
        return TokenScores(own, own >= best, None if "scores.log_p_z" in self.not_computed else own)


def prompt_log_probs(llm: Any, texts: Sequence[list[int]], adapter: Any = None) -> list[np.ndarray]:
    """The log probabilities, float32 [tokens - 1, 2], of each token of a text but the first, and of the likeliest in its
    place, for each of some texts. adapter: vLLM's request for one. Raises UserError for scores that are not numbers.
    """
    from vllm import SamplingParams

    asked = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=1, flat_logprobs=True, detokenize=False)
    results = []
    for text, output in zip(texts, _ask(llm, texts, asked, adapter), strict=True):
        flat = output.prompt_logprobs
        tokens = np.array(flat.token_ids).reshape(-1, 2)[:, 0]
        assert tokens.tolist() == text[1:]
        results.append(np.array(flat.logprobs, np.float32).reshape(-1, 2))
        if np.isnan(results[-1]).any():
            dtype = llm.llm_engine.vllm_config.model_config.dtype
            raise UserError(f"the model's scores are not numbers in {dtype}; choose --dtype float32 or bfloat16")
    return results


def _ask(llm: Any, texts: Sequence[list[int]], asked: Any, adapter: Any) -> list[Any]:
    """vLLM's outputs for texts. adapter: its request for one."""
    prompts = [{"prompt_token_ids": text} for text in texts]
    return llm.generate(prompts, asked, use_tqdm=False, lora_request=adapter)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _request(adapter: Adapter) -> Any:
    """vLLM's request for an adapter."""
    from vllm.lora.request import LoRARequest

    directory = str(adapter.directory.resolve())
    return LoRARequest(adapter.name, 1 + zlib.crc32(directory.encode()), directory)


def load_llm(name: str, dtype: str, context: int, adapters: Sequence[Adapter] = ()) -> Any:
    """vLLM's model at a path or hub name, on all GPUs that are visible, in memory once for the adapters on it.

    dtype: "auto" is the checkpoint's. context: the most tokens of a text. Raises UserError where vLLM is not installed,
    for a model or an adapter that it does not take, for an adapter that changes nothing, and without enough memory.
    """
    config = load_config(name)
    if (architecture := architecture_of(config)) is not CAUSAL:
        raise UserError(f"{name}: is {architecture.what}, which vLLM does not run here; take --engine transformers")
    if importlib.util.find_spec("vllm") is None:
        raise UserError("--engine vllm: vLLM is not installed; docs/scaling.md describes its environment")
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from vllm import LLM
    heads, devices = config.get_text_config().num_attention_heads, torch.accelerator.device_count() or 1
    options: dict[str, Any] = {
        "dtype": str(config.dtype or torch.float32).removeprefix("torch.") if dtype == "auto" else dtype,
        "max_model_len": context + 1,  # vLLM generates a token behind a text that it scores
        "tensor_parallel_size": max(number for number in range(1, devices + 1) if heads % number == 0),
        "enforce_eager": not torch.accelerator.is_available(),  # a CPU compiles longer than it saves
        "enable_prefix_caching": False,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",  # nothing of the checkpoint's, which may penalize repetitions
        "use_tqdm_on_load": False,
    }
    if adapters:
        ranks = [_checked_rank(adapter) for adapter in adapters]
        options |= {"enable_lora": True, "max_lora_rank": max(ranks), "max_cpu_loras": len(adapters)}
    try:
        llm = LLM(name, **options)
    except Exception as error:  # vLLM raises any
        raise _refusal(name, error, "take --engine transformers") from None
    text = [3 + 7 * place % (config.get_text_config().vocab_size - 3) for place in range(min(CHECKED, context))]
    (plain,) = prompt_log_probs(llm, [text]) if adapters else [None]
    for adapter in adapters:
        try:
            (adapted,) = prompt_log_probs(llm, [text], _request(adapter))
        except Exception as error:
            raise _refusal(adapter.name, error, OTHERWISE) from None
        if np.array_equal(plain, adapted):
            raise UserError(
                f"{adapter.name}: changes nothing of {name}: it was not trained, or is of another model; name another"
            )
    return llm


def _checked_rank(adapter: Adapter) -> int:
    """The rank, one that vLLM knows, for which an adapter needs room. Raises UserError for one that it does not take
    as peft does."""
    from vllm.config.lora import LoRAConfig, MaxLoRARanks
    from vllm.lora.peft_helper import PEFTHelper

    if (kind := adapter.config.get("peft_type")) != "LORA":
        raise UserError(f"{adapter.name}: is an adapter of the kind {kind}, vLLM takes LoRA alone; {OTHERWISE}")
    if others := [name for name in weight_shapes(adapter) if not ONLY_LORA.search(name)]:
        raise UserError(f"{adapter.name}: has weights that vLLM does not apply ({others[0]}); {OTHERWISE}")
    needed = max([adapter.config["r"], *(adapter.config.get("rank_pattern") or {}).values()])
    rank = next((rank for rank in sorted(get_args(MaxLoRARanks)) if rank >= needed), None)
    if rank is None:
        raise UserError(f"{adapter.name}: has rank {needed}, more than vLLM takes; {OTHERWISE}")
    try:
        PEFTHelper.from_dict(adapter.config).validate_legal(LoRAConfig(max_lora_rank=rank))
    except ValueError as error:
        raise _refusal(adapter.name, error, OTHERWISE) from None
    return rank


def _refusal(name: str, error: Exception, remedy: str) -> UserError:
    """The UserError for what vLLM refused, with the first sentence of what it says."""
    if isinstance(error, UserError):
        return error
    reason = " ".join(str(error).split())
    if is_out_of_memory(error) or "emory" in reason:
        remedy = "free some, lower VLLM_CPU_KVCACHE_SPACE on a CPU, or take more or larger GPUs"
    return UserError(f"{name}: vLLM cannot load it ({reason[:SHOWN] or type(error).__name__}); {remedy}")
