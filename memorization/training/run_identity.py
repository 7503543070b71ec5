"""What makes the weights of a run: the made_of of stage 2, which run.json holds from the start of training."""

import json
import os
from typing import Any

from transformers import PreTrainedConfig, PreTrainedTokenizerBase, TrainingArguments

from memorization.store.files import read_json
from memorization.store.fingerprints import tokenizer_fingerprint
from memorization.store.manifests import Manifest, identity

# Training arguments that cannot change the weights, or that `device` and `precision` stand for. All others count, those
# of later versions too.
IRRELEVANT = frozenset(
    """
    output_dir do_train do_eval do_predict resume_from_checkpoint local_rank deepspeed debug ddp_timeout
    use_cpu fp16 bf16 gradient_checkpointing gradient_checkpointing_kwargs
    logging_strategy logging_steps logging_first_step log_on_each_node logging_nan_inf_filter log_level
    log_level_replica include_num_input_tokens_seen disable_tqdm skip_memory_metrics
    report_to run_name project trackio_space_id trackio_bucket_id trackio_static_space_id
    eval_strategy eval_steps eval_delay eval_on_start per_device_eval_batch_size bf16_full_eval fp16_full_eval
    prediction_loss_only eval_do_concat_batches eval_use_gather_object eval_accumulation_steps include_for_metrics
    batch_eval_metrics
    save_strategy save_steps save_total_limit save_only_model save_on_each_node enable_jit_checkpoint
    restore_callback_states_from_checkpoint
    push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision
    dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor
    dataloader_multiprocessing_context
    """.split()
)
# ... but where the held-out loss chooses the checkpoint or the learning rate, these count, and so does the set
BY_HELD_OUT = frozenset("eval_strategy eval_steps eval_delay eval_on_start save_strategy save_steps".split())
LED_BY_HELD_OUT = ("reduce_lr_on_plateau", "greedy")


def run_made_of(
    arguments: TrainingArguments,
    sets: dict[str, list[Manifest]],
    tokenizer: PreTrainedTokenizerBase,
    base_model: str | None,
    configuration: PreTrainedConfig,
    data_settings: dict[str, Any],
) -> dict[str, Any]:
    """Everything that makes the weights of a run, as a flat dict; equal for two runs that end in the same weights.

    sets: manifests by kind; of several, identities and contents are joined. base_model: its fingerprint, or None for
    one from scratch, which its configuration stands for. data_settings: how samples become training data. The kind of
    device counts, as random numbers differ between kinds; its model and the versions of libraries do not: they are
    facts of the manifest.
    """
    led = arguments.load_best_model_at_end or arguments.lr_scheduler_type in LED_BY_HELD_OUT
    irrelevant = IRRELEVANT - BY_HELD_OUT if led else IRRELEVANT
    launched_with = arguments.deepspeed_plugin.deepspeed_config if arguments.deepspeed_plugin else None
    parts = {
        "encoding": " ".join(manifest.identity for manifest in sets["training set"]),
        "training_set": " ".join(manifest.contents for manifest in sets["training set"]),
        "held_out_set": " ".join(manifest.contents for manifest in sets["held-out set"]) if led else None,
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "base_model": base_model,
        "configuration": None if base_model else _configuration_identity(configuration),
        **data_settings,
        "processes": arguments.world_size,
        "devices_a_process": max(arguments.n_gpu, 1),
        "device": arguments.device.type,
        "precision": arguments.mixed_precision,
        **{name: value for name, value in arguments.to_dict().items() if name not in irrelevant},
        "deepspeed": read_json(str(arguments.deepspeed), dict) if arguments.deepspeed else launched_with,
        **{name: value for name, value in os.environ.items() if name.startswith("FSDP_")},  # by accelerate launch
    }
    return {name: value for name, value in _flat(json.loads(json.dumps(parts))).items() if value is not None}


def _configuration_identity(config):
    facts = json.loads(config.to_json_string(use_diff=False))
    for name in ("transformers_version", "_name_or_path"):
        facts.pop(name, None)
    return identity(facts)


def _flat(parts):
    """A dict without dicts in it: {"deepspeed": {"stage": 2}} becomes {"deepspeed.stage": 2}; 2.0 becomes 2."""
    flat = {}
    for name, value in parts.items():
        if isinstance(value, dict) and value:
            flat |= _flat({f"{name}.{key}": part for key, part in value.items()})
        else:
            flat[name] = int(value) if isinstance(value, float) and value.is_integer() else value
    return flat
