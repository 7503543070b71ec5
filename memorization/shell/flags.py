"""What the flags of all scripts may be: the ranges of numbers, and which texts will do.

A flag is known by its name in the namespace, so that one of the same name means the same in every script.
"""

from math import inf
from pathlib import PurePath
from typing import NamedTuple

LARGEST = 2**31 - 1
SEEDS = 2**32 - 1  # what numpy takes
PROCESSES = 1024


class Range(NamedTuple):
    """Numbers from `least` to `most`; neither an infinity nor NaN is in any.

    over, under: `least`, `most` itself is not in it. kind: "whole", "real", or "steps", a share of all steps below 1 or
    a whole number of them. also: one number more, with a meaning of its own.
    """

    least: float
    most: float = inf
    kind: str = "real"
    over: bool = False
    under: bool = False
    also: float | None = None

    def __contains__(self, value):
        if value == self.also:
            return True
        inside = self.least < value if self.over else self.least <= value
        inside = inside and value < inf and (value < self.most if self.under else value <= self.most)
        return inside and (self.kind == "real" or value == int(value) or (self.kind == "steps" and value < 1))

    def __str__(self):
        kinds = {
            "whole": "a whole number",
            "real": "a number",
            "steps": "a share below 1 or a whole number of steps",
        }
        least = f"{'over' if self.over else 'from'} {self.least:g}"
        most = f" {'and under' if self.under else 'to'} {self.most:.10g}" if self.most < inf else ""
        return f"{kinds[self.kind]} {least}{most}" + ("" if self.also is None else f", or {self.also:g}")


def whole(least, most=LARGEST, also=None):
    return Range(least, most, "whole", also=also)


RANGES = {
    # stage 1
    "max_samples": whole(1),
    "prefix_length": whole(1),
    "min_suffix_length": whole(1),
    "near_duplicates": Range(0.1, 1),
    "test_size": Range(0, 1, over=True, under=True),
    "seed": whole(0, SEEDS),
    "num_proc": whole(1, PROCESSES),
    "canaries": whole(0, 100_000),
    "canary_digits": whole(1, 18),
    # stage 2: ours
    "block_size": whole(2),
    "max_source_length": whole(2),
    "max_target_length": whole(1),
    "memorization_samples": whole(1),
    "memorization_steps": whole(1),
    "goldfish_k": whole(2),
    "lora_rank": whole(1),
    # stage 2: the Trainer's
    "per_device_train_batch_size": whole(1),
    "per_device_eval_batch_size": whole(1),
    "num_train_epochs": Range(0, 1e6, over=True),
    "max_steps": whole(1, also=-1),
    "learning_rate": Range(0),
    "warmup_steps": Range(0, LARGEST, "steps"),
    "weight_decay": Range(0),
    "adam_beta1": Range(0, 1, under=True),
    "adam_beta2": Range(0, 1, under=True),
    "adam_epsilon": Range(0, 1, over=True),
    "gradient_accumulation_steps": whole(1),
    "max_grad_norm": Range(0),
    "label_smoothing_factor": Range(0, 1, under=True),
    "neftune_noise_alpha": Range(0, over=True),
    "torch_empty_cache_steps": whole(1),
    "logging_steps": Range(0, LARGEST, "steps", over=True),
    "eval_steps": Range(0, LARGEST, "steps", over=True),
    "save_steps": Range(0, LARGEST, "steps", over=True),
    "eval_delay": Range(0),
    "eval_accumulation_steps": whole(1),
    "save_total_limit": whole(1),
    "data_seed": whole(0, SEEDS),
    "dataloader_num_workers": whole(0, PROCESSES),
    "dataloader_prefetch_factor": whole(1),
    "ddp_bucket_cap_mb": whole(1),
    "ddp_timeout": whole(1),
    "local_rank": whole(0, also=-1),
    # stage 3
    "max_new_tokens": whole(1),
    "batch_size": whole(1),
    "temperature": Range(0.001, 1000, also=0),  # beyond, scores divided by it are infinite or all alike
    "top_k": whole(0),
    "top_p": Range(0, 1, over=True),
    "num_samples": whole(1),
    # stage 4
    "shards": whole(1),
    "replicas": whole(0),
    # stage 5
    "candidates": whole(1, 1000),
    "span_length": whole(1),
    "loop_repeats": whole(2),
    "jobs": whole(1, PROCESSES),
    # attention_analysis.py
    "samples": whole(1),
    "boot": whole(100, 1_000_000),
    "matched_tokens": whole(1),
    # configs/make_tokenizer.py
    "vocab_size": whole(257),  # every byte and the end-of-text token
}
NAMES = frozenset(("name", "output_name", "dir_name", "subset_name"))  # of one file or directory
NESTED = frozenset(("type", "dataset"))  # of directories below one of ours; detections_path lets none leave it
# ends of names of flags for which "" says that there is none
MAY_BE_EMPTY = ("instruction", "separator", "_column", "source_prefix")


def mistake(options):
    """What is wrong with the first flag that will not do, as one line; None if all will.

    options: dict name -> value, as of a parsed namespace; None is a flag that was not given.
    """
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if name in RANGES and value is not None and value not in RANGES[name]:
            return f"{flag} {value}: must be {RANGES[name]}"
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and (wrong := _mistake_of_text(name, text)):
                return f"{flag} {text if text and text.isprintable() else repr(text)}: {wrong}"
    return None


def _mistake_of_text(name, text):
    if not text and not name.endswith(MAY_BE_EMPTY):
        return "must not be empty; give a value or leave the flag out"
    if "\0" in text:
        return "must not hold a NUL"
    if name in NAMES | NESTED and not text.isprintable():
        return "must have none but printable characters"
    if name in NAMES and ("/" in text or text in (".", "..")):
        return "is a name, not a path; leave out / and .. and give the directory by another flag"
    if name in NESTED and not set(PurePath(text).parts) - {"/", ".."}:
        return "names no directory; give it a name"
    return None
