"""The parser of stage 2, whose --help shows our flags and those of the Trainer that people use, --help-all all."""

import argparse
from copy import copy

from transformers import HfArgumentParser

from memorization.shell.cli import UserError
from memorization.shell.flags import text

OFTEN = {  # of transformers.TrainingArguments -> what it does, in few words
    "output_dir": "directory to write the model and everything else to",
    "num_train_epochs": "passes over the training set (default: %(default)s)",
    "max_steps": "steps at which training ends, whatever the epoch",
    "per_device_train_batch_size": "blocks a device takes at a time (default: %(default)s)",
    "train_sampling_strategy": "group_by_length (default), random or sequential",
    "gradient_accumulation_steps": "batches that make a step (default: %(default)s)",
    "learning_rate": "at its highest (default: %(default)s)",
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


class Parser(HfArgumentParser):
    """Parses dataclasses, the Trainer's arguments last. A mistake is a UserError."""

    def __init__(self, groups, script, description):
        layout = {"usage": f"{script} [flags]", "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(groups, description=description, **layout)
        self.register("type", str, text)
        self.add_argument(
            "--help-all",
            action=_HelpAll,
            nargs=0,
            default=argparse.SUPPRESS,
            help="show every flag of the Trainer too, and exit",
        )
        self._trainers = set(groups[-1].__dataclass_fields__)

    def add_argument(self, *flags, check=None, **options):
        """Add a flag. check: its argparse type, in place of that of the dataclass's field."""
        return super().add_argument(*flags, **options | ({"type": check} if check else {}))

    def error(self, message):
        raise UserError(f"{message} (--help shows a command that works)")

    def format_help(self, everything=False):
        ours = [action for action in self._actions if action.dest not in self._trainers]
        theirs = [action for action in self._actions if action.dest in self._trainers]
        often = sorted((action for action in theirs if action.dest in OFTEN), key=lambda a: list(OFTEN).index(a.dest))
        sections = {"flags": ours, "flags of the Trainer (--help-all shows all of them)": often}
        if everything:
            sections["flags of the Trainer that are used less"] = [a for a in theirs if a.dest not in OFTEN]
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, [], [])
        formatter.add_text(self.description)
        for title, actions in sections.items():
            formatter.start_section(title)
            formatter.add_arguments([_documented(action) for action in actions])
            formatter.end_section()
        return formatter.format_help()


class _HelpAll(argparse.Action):
    def __call__(self, parser, *_):
        print(parser.format_help(everything=True))
        parser.exit()


def _documented(action):
    """A flag as the help shows it: in one spelling, with few words about it."""
    action = copy(action)
    long = [flag for flag in action.option_strings if flag.startswith("--")]
    action.option_strings = [min(long, key=lambda flag: flag.count("_"))]
    action.help = OFTEN.get(action.dest, action.help or "")
    if isinstance(action.const, bool) and action.nargs == "?":
        action.nargs = 0
    elif action.nargs != 0:
        short = action.choices and len(action.choices) < 4
        action.choices, action.metavar = (action.choices, None) if short else (None, _kind(action.type))
    return action


def _kind(type):
    return {int: "N", float: "X"}.get(getattr(type, "number", type), "VALUE")
