"""The settings of stage 2 beside transformers.TrainingArguments: the flags of run_clm.py and run_seq2seq.py."""

from dataclasses import dataclass, field
from typing import Any, Literal

from memorization.shell.flags import any_text, whole

PROBE = "kind of prompt of these probes, as stage 3's --probe (default: stage 1's)"


def flag(text: str, default: Any = None, **options: Any) -> Any:
    """A dataclass field that HfArgumentParser takes for a flag, with its help text."""
    return field(default=default, metadata={"help": text, **options})


@dataclass(frozen=True)
class FineTuneSettings:
    """What both kinds of model need. task_weights: as shares once the flags are checked (parse_task_weights)."""

    model_name_or_path: str | None = flag("model to fine-tune: a path or hub name")
    config_name: str | None = flag("train from scratch with this configuration: a path or hub name")
    tokenizer_name: str | None = flag("tokenizer, where it is not beside the model or configuration")
    model_type: str | None = flag("published flag: a model of another type is reported")
    adapter: str | None = flag("adapter of peft (LoRA ...) on that model, to go on training: a path or hub name")
    lora_rank: int | None = flag("train adapters of this rank beside the linear layers, nothing else", check=whole(1))
    train_file: list[str] | None = flag("stage 1's training set, a directory, or several", action="extend")
    validation_file: list[str] | None = flag("stage 1's held-out set, a directory, or several", action="extend")
    task_weights: str | None = flag("how often each training set is drawn from, as 1,2,1 (default: by its size)")
    goldfish_k: int | None = flag("leave one token in k out of the loss, by a hash of the 13 before it", check=whole(2))
    memorization_probes: str | None = flag(
        "stage 1's probes, tokenized_<name>_prefix: measure during training how much of them the model reproduces"
    )
    memorization_samples: int = flag(
        "number of members, and of held-out probes, to measure (default: %(default)s)", 32, check=whole(1)
    )
    memorization_steps: int | None = flag(
        "steps between measurements (default: at each evaluation, else each epoch)", check=whole(1)
    )
    probe: str | None = flag(PROBE)
    prefix_length: int | None = flag(
        "tokens of a prefix of these probes, as stage 3's (default: stage 1's)", check=whole(0)
    )
    overwrite_output_dir: bool = flag("start over: remove the output directory's checkpoints first", False)
    overwrite_cache: bool = flag("published flag: has no effect, nothing is cached", False)


@dataclass(frozen=True)
class BlockSettings(FineTuneSettings):
    """For a causal language model."""

    probe: Literal["text", "target"] | None = flag(PROBE)
    block_size: int | None = flag("most tokens of a sample (default: the model's context)", check=whole(2))
    long_samples: Literal["cut", "split"] = flag(
        "keep the first block of a longer sample, or all (default: cut)", "cut"
    )
    packing: bool = flag("train on several samples a row, none of which sees another; evaluation is not packed", False)
    loss_on: Literal["all", "output", "last"] = flag(
        "the tokens that are learned: all; the output's only, of a chat the assistant's turns; or the last of these",
        "all",
    )


@dataclass(frozen=True)
class SourceTargetSettings(FineTuneSettings):
    """For an encoder-decoder model."""

    max_source_length: int | None = flag(
        "most tokens of a source (default: the model's context, T5: no limit)", check=whole(2)
    )
    max_target_length: int | None = flag(
        "most tokens of a target (default: the model's context, T5: no limit)", check=whole(1)
    )
    probe: Literal["source", "target"] | None = flag(PROBE)
    source_prefix: str | None = flag(
        "only checked: stage 1's --source-prefix stands before each source", check=any_text
    )
