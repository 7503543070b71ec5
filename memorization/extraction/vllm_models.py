"""The backend of models that vLLM runs in this process: on all GPUs that it sees, or on the CPU."""

import gc
import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from memorization.extraction.backend import ModelIdentity, OpenModel
from memorization.extraction.inputs import Inputs, check_context
from memorization.extraction.local_models import LocalModels, identify
from memorization.extraction.settings import ExtractionSettings
from memorization.extraction.vllm_engine import COOLEST, VllmEngine, adapter_request, prompt_log_probs
from memorization.models import hub
from memorization.models.adapted import weight_shapes
from memorization.models.adapters import Adapter, ModelSource
from memorization.models.limits import context_length
from memorization.models.loading import CAUSAL, architecture_of, load_config
from memorization.shell.cli import UserError, is_out_of_memory

ENVIRONMENT = {  # of vLLM, where it is not set
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # whenever a batch is given, it is worked through in the same steps
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",  # by the token that vLLM puts behind a text that it scores, and never reads
    "VLLM_CPU_KVCACHE_SPACE": "4",  # GiB; else it takes nearly all memory
    "VLLM_LOGGING_LEVEL": "ERROR",
}
HELD = 1 << 28  # scores of a text that a step may hold: a GiB in 32 bits
STEP = 2048, 8192  # tokens of a step at least, and at most
ROOM = 2048  # tokens of a text, where the model has them: those of the probes may be fewer
CHECKED = 32  # tokens of a made-up text
SHOWN = 200  # characters of what vLLM says
ONLY_LORA = re.compile(r"(?<!\.lm_head)\.lora_[AB]\.weight$")  # vLLM leaves that of the output layer out of its scores
OTHERWISE = "merge it into its base model (peft's merge_and_unload), or take --engine transformers"


class VllmModels(LocalModels):
    """A Backend. One model is in memory at a time, once for all adapters on it; with them also its own generations are
    made.

    Raises UserError for what vLLM does not take, as far as that is known before it loads.
    """

    one_process = True

    def __init__(self, settings: ExtractionSettings) -> None:
        super().__init__(settings)
        if importlib.util.find_spec("vllm") is None:
            raise UserError("--engine vllm: vLLM is not installed here; docs/scaling.md describes its environment")
        if 0 < settings.temperature < COOLEST:
            raise UserError(
                f"--temperature {settings.temperature:g}: vLLM samples at {COOLEST} or above; take that, or --engine "
                "transformers"
            )
        for name, config in self.configs.items():
            if (architecture := architecture_of(config)) is not CAUSAL:
                raise UserError(f"{name}: is {architecture.what}; take --engine transformers")
        self._adapters = [source.adapter for source in self.sources if source.adapter]
        for adapter in self._adapters:
            check_adapter(adapter)
        own = self.configs[self.sources[0].plain].dtype or "auto"
        self._dtype = str(own if settings.dtype == "auto" else settings.dtype).removeprefix("torch.")
        self._llm: Any = None
        self._directory: Path | None = None

    def identify_base(self, source: ModelSource, inputs: Inputs) -> ModelIdentity:
        return identify(source)

    @contextmanager
    def opened(self, source: ModelSource, inputs: Inputs) -> Iterator[OpenModel]:
        settings, probes, config = inputs.settings, inputs.probes, self.configs[source.plain]
        longest = probes.longest_prefix + settings.max_new_tokens
        context = max(longest, min(ROOM, context_length(config) or ROOM))
        check_context(source.name, config, probes.greatest_id, probes.longest_prefix, settings.max_new_tokens)
        llm = self._llm_of(source.plain, context)
        engine = VllmEngine(llm, inputs.ends, settings.decoding, settings.batch_size, source.adapter)
        yield OpenModel(engine, identify(source), config, context=context)

    def _llm_of(self, name: str, context: int) -> Any:
        directory = hub.directory(name).resolve()
        if self._directory != directory:
            self._llm = None  # there may be no room for both
            print(f"loading {name}", flush=True)
            adapters = self._adapters if name == self.sources[0].plain else []
            self._llm, self._directory = load_llm(name, self._dtype, context, adapters), directory
        return self._llm


def load_llm(name: str, dtype: str, context: int, adapters: Sequence[Adapter] = ()) -> Any:
    """vLLM's model at a path or hub name, on all GPUs that are visible, in memory once for the adapters on it.

    dtype: float32 ..., or "auto", which vLLM chooses. context: the most tokens of a text. Raises UserError for a model
    or an adapter that vLLM does not take, for an adapter that changes nothing, and without enough memory.
    """
    gc.collect()  # an earlier model holds memory until then
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from vllm import LLM
    config = load_config(name).get_text_config()
    heads, devices = getattr(config, "num_attention_heads", 1), torch.accelerator.device_count() or 1
    options: dict[str, Any] = {
        "dtype": dtype,
        "max_model_len": context + 1,
        "max_num_batched_tokens": int(np.clip(HELD // config.vocab_size, *STEP)),
        "tensor_parallel_size": max(number for number in range(1, devices + 1) if heads % number == 0),
        "enforce_eager": not torch.accelerator.is_available(),  # on a CPU, compiling takes longer than it saves
        "enable_prefix_caching": False,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",  # nothing of the checkpoint's, which may penalize repetitions
        "use_tqdm_on_load": False,
    }
    if adapters:
        layers = {name.split(".")[-3] for adapter in adapters for name in weight_shapes(adapter)}
        options |= {"enable_lora": True, "max_cpu_loras": len(adapters)}
        options |= {"max_lora_rank": max(map(_checked_rank, adapters))}
        options |= {"lora_target_modules": sorted(layers)}  # else the output layer too, and prompts' scores are wrong
    hidden = sys.modules.pop(llvmlite := "llvmlite.binding.ffi", None)  # vLLM for CPUs looks into all, and fails at it
    text = [3 + 7 * place % (config.vocab_size - 3) for place in range(min(CHECKED, context))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            llm = LLM(str(hub.directory(name)), **options)
        (plain,) = prompt_log_probs(llm, [text])
    except Exception as error:  # vLLM raises any
        raise _refusal(name, error, "take --engine transformers") from None
    finally:
        if hidden:
            sys.modules[llvmlite] = hidden
    for adapter in adapters:
        try:
            (adapted,) = prompt_log_probs(llm, [text], adapter_request(adapter))
        except Exception as error:
            raise _refusal(adapter.name, error, OTHERWISE) from None
        if np.array_equal(plain, adapted):
            raise UserError(
                f"{adapter.name}: changes nothing of {name}: it was not trained, or is of another model; name another"
            )
    return llm


def check_adapter(adapter: Adapter) -> None:
    """Raise UserError for an adapter that is not LoRA alone, which vLLM does not take, or would take in part."""
    if (kind := adapter.config.get("peft_type")) != "LORA":
        raise UserError(f"{adapter.name}: is an adapter of the kind {kind}, vLLM takes LoRA alone; {OTHERWISE}")
    if others := sorted(name for name in weight_shapes(adapter) if not ONLY_LORA.search(name)):
        raise UserError(f"{adapter.name}: has weights that vLLM does not apply ({others[0]}); {OTHERWISE}")


def _checked_rank(adapter: Adapter) -> int:
    """The rank, of those that vLLM has room for, that holds an adapter's. Raises UserError as vLLM's checks do."""
    from vllm.config.lora import LoRAConfig, MaxLoRARanks
    from vllm.lora.peft_helper import PEFTHelper

    try:
        helper = PEFTHelper.from_dict(adapter.config)
        needed = max([helper.r, *helper.rank_pattern.values()])
        rank = min((rank for rank in get_args(MaxLoRARanks) if rank >= needed), default=max(get_args(MaxLoRARanks)))
        helper.validate_legal(LoRAConfig(max_lora_rank=rank))
    except ValueError as error:
        raise _refusal(adapter.name, error, OTHERWISE) from None
    return rank


def _refusal(name: str, error: Exception, remedy: str) -> UserError:
    """The UserError for what vLLM refuses."""
    if isinstance(error, UserError):
        return error
    reason = " ".join(str(error).split())
    if is_out_of_memory(error) or "memory" in reason.lower():
        remedy = "free some, or take more GPUs or larger ones; on a CPU, lower VLLM_CPU_KVCACHE_SPACE"
    return UserError(f"{name}: vLLM cannot load it ({reason[:SHOWN] or type(error).__name__}); {remedy}")
