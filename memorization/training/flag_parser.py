"""The flags of stage 2: ours and those of transformers.TrainingArguments, parsed and checked.

--help shows ours and those of the Trainer that people use, --help-all all.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn, TypeVar

import torch
from transformers import HfArgumentParser, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from memorization.shell.cli import UserError
from memorization.shell.flags import text
from memorization.store.files import read_json
from memorization.training.distributed import join_deepspeed, prepare_deepspeed, print_once
from memorization.training.settings import FineTuneSettings
from memorization.training.task_mixture import parse_task_weights

OFTEN = {  # fields of transformers.TrainingArguments that --help shows -> their help
    "output_dir": "directory to write the model and everything else to",
    "num_train_epochs": "passes over the training set (default: %(default)s)",
    "max_steps": "number of steps, whatever the number of epochs",
    "per_device_train_batch_size": "blocks in a batch on each device (default: %(default)s)",
    "train_sampling_strategy": "group_by_length (default), random or sequential",
    "gradient_accumulation_steps": "batches that make a step (default: %(default)s)",
    "learning_rate": "highest learning rate (default: %(default)s)",
    "lr_scheduler_type": "its course: linear, cosine, constant, ... (default: %(default)s)",
    "warmup_steps": "steps in which it rises from 0 (default: %(default)s)",
    "weight_decay": "of AdamW (default: %(default)s)",
    "bf16": "compute in bfloat16, with weights of 32 bits",
    "gradient_checkpointing": "take less memory and more time",
    "seed": "of dropout, order and weights from scratch (default: %(default)s)",
    "save_strategy": "when to keep a checkpoint: epoch, steps, no (default: %(default)s)",
    "save_total_limit": "most checkpoints to keep",
    "deepspeed": "DeepSpeed configuration, such as ds_config.json",
}
Settings = TypeVar("Settings", bound=FineTuneSettings)


class TrainingFlagParser(HfArgumentParser):
    """Parses our settings and the Trainer's arguments. A mistake is a UserError."""

    def __init__(self, settings: type[FineTuneSettings], script: str, description: str) -> None:
        types: Any = (settings, TrainingArguments)
        super().__init__(types, description=description, usage=f"{script} [flags]", formatter_class=_OneSpelling)
        self.register("type", str, text)
        show_all = {"action": _HelpAll, "nargs": 0, "default": argparse.SUPPRESS}
        self.add_argument("--help-all", **show_all, help="show every flag of the Trainer too, and exit")
        often: dict[str, argparse.Action] = {}
        ours: list[argparse.Action] = []
        self.used_less: list[argparse.Action] = []
        for action in self._actions:
            action.help = OFTEN.get(action.dest, action.help or "")
            if action.dest in OFTEN:
                often[action.dest] = action
            else:
                of_trainer = action.dest in TrainingArguments.__dataclass_fields__
                (self.used_less if of_trainer else ours).append(action)
        self._action_groups = []
        self.add_help_section("flags", ours)
        self.add_help_section("flags of the Trainer (--help-all shows all of them)", [often[name] for name in OFTEN])

    def add_argument(self, *flags: str, check: Any = None, **options: Any) -> argparse.Action:
        """check: the argparse type of a flag, in place of that of the dataclass's field."""
        return super().add_argument(*flags, **options | ({"type": check} if check else {}))

    def add_help_section(self, title: str, actions: list[argparse.Action]) -> None:
        self.add_argument_group(title)._group_actions.extend(actions)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help shows a command that works)")


class _HelpAll(argparse.Action):
    def __call__(self, parser, *_):
        parser.add_help_section("flags of the Trainer that are used less", parser.used_less)
        parser.print_help()
        parser.exit()


class _OneSpelling(argparse.RawDescriptionHelpFormatter):
    def _format_action_invocation(self, action):
        """A flag in one spelling, with a short name of its value."""
        flag = min((one for one in action.option_strings if one.startswith("--")), key=lambda one: one.count("_"))
        if action.nargs == 0 or isinstance(action.const, bool):
            return flag
        value = {int: "N", float: "X"}.get(getattr(action.type, "number", action.type), "VALUE")
        if action.choices and len(action.choices) < 4:
            value = f"{{{','.join(action.choices)}}}"
        return f"{flag} {value} [{value} ...]" if action.nargs == "+" else f"{flag} {value}"


def parse_flags(
    script: str, description: str, settings_type: type[Settings], argv: Sequence[str] | None = None
) -> tuple[Settings, TrainingArguments]:
    """The flags of a script as its settings and the TrainingArguments, which set up the devices and ranks."""
    parser = TrainingFlagParser(settings_type, script, description)
    by_epoch = dict.fromkeys(("save_strategy", "logging_strategy"), "epoch")
    ours = {"ddp_find_unused_parameters": False, "logging_nan_inf_filter": False}  # such a loss ends the run
    parser.set_defaults(**by_epoch, **ours, eval_strategy=None, train_sampling_strategy=None)
    options: dict[str, Any] = vars(parser.parse_args(argv))
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
        parser.error("--resume-from-checkpoint: leave it out; a stopped run continues from its own last checkpoint")
    if bool(options["model_name_or_path"] or options["adapter"]) == bool(options["config_name"]):
        parser.error("name either a --model-name-or-path to fine-tune or a --config-name to train from scratch")
    if options["lora_rank"] and options["adapter"]:
        parser.error("--lora-rank: leave it out; with --adapter it is that one that is trained")
    if options["lora_rank"] and not options["model_name_or_path"]:
        parser.error("--lora-rank: adapts a model that is trained; name one by --model-name-or-path")
    if options["task_weights"]:
        try:
            options["task_weights"] = parse_task_weights(options["task_weights"], train or ())
        except ValueError as error:
            parser.error(f"--task-weights {options['task_weights']}: {error}")
    orders = "task_weights" if options["task_weights"] else options.get("packing") and "packing"
    if orders and options["train_sampling_strategy"]:
        parser.error(f"--train-sampling-strategy: has no effect with --{orders.replace('_', '-')}; leave it out")
    options["train_sampling_strategy"] = options["train_sampling_strategy"] or (
        "random" if orders else "group_by_length"
    )
    options["do_train"], options["do_eval"] = bool(train), bool(evaluate)
    options["eval_strategy"] = options["eval_strategy"] or ("epoch" if train and evaluate else "no")
    if not torch.accelerator.is_available():
        options["use_cpu"] = True
        print_once(f"no GPU: working on the CPU, processes: {os.environ.get('WORLD_SIZE', 1)}")
    if options["deepspeed"]:
        read_json(options["deepspeed"], dict)  # an error names the line
        prepare_deepspeed(options["use_cpu"])
    try:
        settings, arguments = parser.parse_dict(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        for callback in get_reporting_integration_callbacks(arguments.report_to):
            callback()
    except (ValueError, RuntimeError, ImportError) as error:  # unknown, or its library is missing
        parser.error(f"--report-to {' '.join(arguments.report_to)}: {error}")
    if arguments.deepspeed:
        if mismatches := arguments.hf_deepspeed_config.mismatches:
            parser.error(f"{arguments.deepspeed}: {', '.join(mismatches)}; write auto there")
        join_deepspeed()
    if arguments.fsdp and arguments.use_cpu:
        print_once("--fsdp has no effect on CPUs: each process holds the whole model")
    return settings, arguments


@contextmanager
def refused_flags_named(arguments: TrainingArguments) -> Iterator[None]:
    """Make a UserError of what the Trainer and the libraries below it raise for values of flags that they cannot use.

    Their ranges are not listed here. An error is taken for theirs if the last of our modules on the way to it is one
    that calls the Trainer, and it is not from within a step.
    """
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, AssertionError, LookupError, ImportError) as error:
        way = [(frame.f_globals.get("__name__", ""), frame.f_code.co_name) for frame, _ in walk_tb(error.__traceback__)]
        *_, ours = (module for module, _ in way if module.startswith("memorization."))
        in_a_step = any(name in ("training_step", "prediction_step") for _, name in way)
        if in_a_step or way[-1][0] == ours or not ours.endswith((".fine_tune", ".trainer")):
            raise
        numbers = (
            f"--{field.name.replace('_', '-')} {value}"
            for field in fields(arguments)
            if type(value := getattr(arguments, field.name)) in (int, float) and value != field.default
        )
        raise UserError(
            f"the Trainer cannot use the flags as they are ({type(error).__name__}: {error}); correct them (--help-all "
            f"describes each). Numbers given: {', '.join(numbers)}"
        ) from error
