"""The flags of stage 2 that both kinds of model have, and their checks."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from memorization.shell.flags import whole
from memorization.store.files import read_json
from memorization.training.help import Parser
from memorization.training.launch import join_deepspeed, prepare_deepspeed, say
from memorization.training.mixture import check_weights


def flag(text, default=None, **options):
    return field(default=default, metadata={"help": text, **options})


@dataclass
class ModelArguments:
    model_name_or_path: str | None = flag("model to fine-tune: a path or hub name")
    config_name: str | None = flag("train from scratch with this configuration: a path or hub name")
    tokenizer_name: str | None = flag("tokenizer, where it isn't beside the model or configuration")
    model_type: str | None = flag("published flag: a model of another type is pointed out")
    lora_rank: int | None = flag("train adapters of this rank beside the linear layers, nothing else", check=whole(1))


@dataclass
class DataArguments:
    train_file: list[str] | None = flag("stage 1's training set, a directory, or several", action="extend")
    validation_file: list[str] | None = flag("stage 1's held-out set, a directory, or several", action="extend")
    task_weights: str | None = flag("how often each training set is drawn from, as 1,2,1 (default: by its size)")
    goldfish_k: int | None = flag("leave one token in k out of the loss, by a hash of the 13 before it", check=whole(2))
    memorization_probes: str | None = flag(
        "stage 1's probes, tokenized_<name>_prefix: measure what comes out meanwhile"
    )
    memorization_samples: int = flag(
        "so many members, and held-out probes, of them (default: %(default)s)", 32, check=whole(1)
    )
    memorization_steps: int | None = flag(
        "every so many steps (default: at each evaluation, else each epoch)", check=whole(1)
    )
    prefix_length: int | None = flag(
        "tokens of a prefix of these probes, as stage 3's (default: stage 1's)", check=whole(1)
    )
    overwrite_output_dir: bool = flag("start over: remove the output directory's checkpoints first", False)
    overwrite_cache: bool = flag("published flag: has no effect, nothing is cached", False)


def parse_flags(script, description, data_arguments, argv=None):
    """The flags of a script as ModelArguments, data_arguments (a dataclass that adds to DataArguments) and
    TrainingArguments, which set up the devices and ranks."""
    parser = Parser((ModelArguments, data_arguments, TrainingArguments), script, description)
    by_epoch = dict.fromkeys(("save_strategy", "logging_strategy"), "epoch")
    ours = {"ddp_find_unused_parameters": False, "logging_nan_inf_filter": False}  # such a loss ends the run
    parser.set_defaults(**by_epoch, **ours, eval_strategy=None, train_sampling_strategy=None)
    options = vars(parser.parse_args(argv))
    if options["max_steps"] == 0 or options["num_train_epochs"] <= 0:  # the Trainer would take the epochs, or not train
        parser.error("--max-steps and --num-train-epochs: must be over 0; leave out the one that does not count")
    train, evaluate = options["train_file"], options["validation_file"]
    if (options["do_train"] or not evaluate) and not train:
        parser.error("--train-file is missing: name stage 1's training set")
    if (options["do_eval"] or options["eval_strategy"] not in (None, "no")) and not evaluate:
        parser.error("--validation-file is missing: name stage 1's held-out set")
    if not options["output_dir"]:
        parser.error("--output-dir is missing: name the directory to write the model to")
    options["output_dir"] = str(Path(options["output_dir"]).expanduser().resolve())  # its manifest lies beside it
    if Path(options["output_dir"]).is_file():
        parser.error(f"--output-dir {options['output_dir']}: is a file; name a directory")
    if options["resume_from_checkpoint"]:
        parser.error("--resume-from-checkpoint: leave it out; a stopped run goes on from its own last checkpoint")
    if bool(options["model_name_or_path"]) == bool(options["config_name"]):
        parser.error("name either a --model-name-or-path to fine-tune or a --config-name to train from scratch")
    if options["lora_rank"] and not options["model_name_or_path"]:
        parser.error("--lora-rank: adapts a model that is trained; name one by --model-name-or-path")
    if options["task_weights"]:
        try:
            options["task_weights"] = check_weights(options["task_weights"], train or ())
        except ValueError as error:
            parser.error(f"--task-weights {options['task_weights']}: {error}")
    ordered = "task_weights" if options["task_weights"] else options.get("packing") and "packing"
    if ordered and options["train_sampling_strategy"]:
        parser.error(f"--train-sampling-strategy: has no effect with --{ordered.replace('_', '-')}; leave it out")
    options["train_sampling_strategy"] = options["train_sampling_strategy"] or (
        "random" if ordered else "group_by_length"
    )
    options["do_train"], options["do_eval"] = bool(train), bool(evaluate)
    options["eval_strategy"] = options["eval_strategy"] or ("epoch" if train and evaluate else "no")
    if not torch.accelerator.is_available():
        options["use_cpu"] = True
        say(f"no GPU found: working on the CPU, processes: {os.environ.get('WORLD_SIZE', 1)}")
    if options["deepspeed"]:
        read_json(options["deepspeed"], dict)  # names the line of a mistake in it
        prepare_deepspeed(options["use_cpu"])
    try:
        names, data, args = parser.parse_dict(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        for callback in get_reporting_integration_callbacks(args.report_to):
            callback()
    except (ValueError, RuntimeError, ImportError) as error:  # it is none, or its library is missing
        parser.error(f"--report-to {' '.join(args.report_to)}: {error}")
    if args.deepspeed:
        if mismatches := args.hf_deepspeed_config.mismatches:
            parser.error(f"{args.deepspeed}: {', '.join(mismatches)}; write auto there")
        join_deepspeed()
    if args.fsdp and args.use_cpu:
        say("--fsdp has no effect on CPUs: each process holds the whole model")
    return names, data, args
