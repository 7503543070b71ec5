"""Every flag of every script: what is out of its range, empty or no name is one line and exit status 2, at once."""

import re
import runpy
from dataclasses import fields
from math import inf, nan, nextafter
from pathlib import Path

import pytest
from transformers import TrainingArguments

import run_clm
import run_seq2seq
from memorization.shell.cli import Parser, UserError
from memorization.shell.flags import NAMES, NESTED, RANGES, mistake
from memorization.training.flag_parser import TrainingFlagParser
from support.command_line import ROOT, one_line

SCRIPTS = [
    "encode_dialogue.py",
    "encode_qa.py",
    "encode_summarization.py",
    "encode_translation.py",
    "encode_classification.py",
    "run_clm.py",
    "run_seq2seq.py",
    "inference_prefix.py",
    "load_to_elastic.py",
    "plagiarism_detect.py",
    "report.py",
    "attention_analysis.py",
    "configs/make_tokenizer.py",
]
STAGE_2 = {"run_clm.py": run_clm, "run_seq2seq.py": run_seq2seq}


class Caught(BaseException):
    """Carries a script's parser out of it."""


def parser_of(script, monkeypatch):
    """The parser that a script makes when it is run."""

    def caught(parser, *_):
        raise Caught(parser)

    kind = TrainingFlagParser if script in STAGE_2 else Parser
    with monkeypatch.context() as patch, pytest.raises(Caught) as end:
        patch.setattr(kind, "parse_args", caught)
        if script in STAGE_2:
            STAGE_2[script].parse()
        else:
            runpy.run_path(str(ROOT / script), run_name="__main__")
    return end.value.args[0]


@pytest.fixture(params=SCRIPTS)
def told(request, monkeypatch, capsys):
    """(the script's flags by name, a function that gives the line with which it refuses one more flag, or None)."""
    parser = parser_of(request.param, monkeypatch)
    actions = {action.dest: action for action in parser._actions if action.option_strings}

    def refuse(option, value):
        if request.param in STAGE_2:
            needed = ["--train_file=a", "--output_dir=b", "--config_name=c"]
            with pytest.raises(UserError) as error:
                STAGE_2[request.param].parse([*needed, f"{option}={value}"])
            return str(error.value)
        needed = [f"{action.option_strings[0]}=x" for action in actions.values() if action.required]
        with pytest.raises(SystemExit) as end:
            parser.parse_args([*needed, "x"][: len(needed) + (request.param == "report.py")] + [f"{option}={value}"])
        assert end.value.code == 2
        return one_line(capsys)

    return actions, refuse


def outside(allowed):
    """The numbers just outside a range, and what is in none; as they are typed."""
    if allowed.kind == "whole":
        beyond = [allowed.least - 1, allowed.most + 1]
        beyond = [str(number) for number in beyond if number != allowed.also] + ["9" * 400]
    else:
        low = allowed.least if allowed.over else nextafter(allowed.least, -inf)
        high = allowed.most if allowed.under else nextafter(allowed.most, inf)
        beyond = [*map(repr, (low, high)), "1.5", "nan", "inf", "-inf", "-1"]
        beyond.remove("1.5") if allowed.kind == "real" else None
        beyond.remove("-1") if allowed.least < -1 else None
    return beyond


def test_every_numeric_flag_has_a_range_and_is_refused_outside(told):
    actions, refuse = told
    for name, action in actions.items():
        if action.type not in (int, float):
            continue
        assert name in RANGES, f"{name} has no range"
        assert (RANGES[name].kind == "whole") == (action.type is int)
        assert action.default is None or action.default in RANGES[name]
        for value in outside(RANGES[name]):
            line = refuse(action.option_strings[0], value)
            told_name = f"--{name.replace('_', '-')} {action.type(value)}: must be "
            assert told_name in line and str(RANGES[name]) in line and "\n" not in line


def test_a_text_flag_given_empty_is_refused(told):
    actions, refuse = told
    texts = [name for name, action in actions.items() if action.type in (None, str, Path) and action.nargs != 0]
    for name in texts:
        if name.endswith(("_column", "instruction", "separator", "source_prefix")):
            continue
        line = refuse(actions[name].option_strings[0], "")
        assert re.search(rf"(?i){name.replace('_', '[-_]')}.*(must not be empty|invalid|expected)", line), line


@pytest.mark.parametrize("name", sorted(RANGES))
def test_a_range_holds_its_ends_and_no_more(name):
    allowed = RANGES[name]
    step = 1 if allowed.kind == "whole" else 1e-9
    assert (allowed.least in allowed) != allowed.over and allowed.least + step in allowed
    assert allowed.least - step not in allowed or allowed.least - step == allowed.also
    if allowed.most < inf:
        assert (allowed.most in allowed) != allowed.under and allowed.most + max(step, 1e-6) not in allowed
    assert not any(value in allowed for value in (nan, inf, -inf))
    assert allowed.also is None or allowed.also in allowed
    assert allowed.kind == "real" or allowed.least + 1.5 not in allowed
    assert (allowed.least + 0.5 in allowed) == (allowed.kind != "whole" and allowed.most > allowed.least + 0.5)


STAGE_1 = {"prefix_length": 50, "min_suffix_length": 20, "test_size": 0.1, "seed": 5, "num_proc": 1}
STAGE_1 |= {"max_samples": None, "canaries": 0, "canary_digits": 4}
BOTH_KINDS = {"goldfish_k": None, "lora_rank": None, "prefix_length": None}
BOTH_KINDS |= {"memorization_samples": 32, "memorization_steps": None}
DEFAULTS = {  # of ours: what is measured without a flag
    **{script: STAGE_1 for script in SCRIPTS if script.startswith("encode_")},
    "run_clm.py": BOTH_KINDS | {"block_size": None},
    "run_seq2seq.py": BOTH_KINDS | {"max_source_length": None, "max_target_length": None},
    "inference_prefix.py": {"prefix_length": None, "max_new_tokens": 100, "batch_size": 32, "num_samples": 1, "seed": 5}
    | {"temperature": 0, "top_k": 0, "top_p": 1},
    "load_to_elastic.py": {"prefix_length": None, "jobs": None, "shards": None, "replicas": None},
    "plagiarism_detect.py": {"candidates": 10, "span_length": 50, "loop_repeats": 10, "jobs": None},
    "report.py": {},
    "attention_analysis.py": {"matched_tokens": None, "samples": None, "batch_size": 8, "boot": 2000, "seed": 5},
    "configs/make_tokenizer.py": {"vocab_size": 2048},
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_numbers_have_the_defaults_that_are_promised(script, monkeypatch):
    actions = parser_of(script, monkeypatch)._actions
    found = {action.dest: action.default for action in actions if action.type in (int, float)}
    of_trainer = {field.name for field in fields(TrainingArguments)} if script in STAGE_2 else set()
    assert {name: value for name, value in found.items() if name not in of_trainer} == DEFAULTS[script]


SMALLEST = {"max_samples": 1, "prefix_length": 1, "min_suffix_length": 1, "test_size": 1e-9, "seed": 0, "num_proc": 1}
SMALLEST |= {"canaries": 0, "canary_digits": 1}
SMALLEST |= {"block_size": 2, "max_steps": 1, "learning_rate": 0, "num_train_epochs": 0.01, "save_total_limit": 1}
SMALLEST |= {"max_new_tokens": 1, "batch_size": 1, "temperature": 0.001, "top_k": 0, "top_p": 1e-9, "num_samples": 1}
SMALLEST |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1, "warmup_steps": 0, "weight_decay": 0}
SMALLEST |= {"shards": 1, "replicas": 0, "span_length": 1, "jobs": 1, "dataloader_num_workers": 0, "max_grad_norm": 0}
LARGEST = {"seed": 2**32 - 1, "data_seed": 2**32 - 1, "top_p": 1, "adam_beta1": 0.999999, "batch_size": 2**31 - 1}


BEYOND = {
    "max_samples": (0,),
    "prefix_length": (0,),
    "min_suffix_length": (0,),
    "test_size": (0, 1),
    "num_proc": (0, 1025),
    "canaries": (-1, 100_001),
    "canary_digits": (0, 19),
}
BEYOND |= {
    "seed": (-1, 2**32),
    "data_seed": (-1, 2**32),
    "block_size": (1,),
    "max_steps": (0, -2),
    "save_total_limit": (0,),
}
BEYOND |= {"learning_rate": (-1e-9,), "num_train_epochs": (0,), "warmup_steps": (-1, 1.5), "eval_steps": (0, 2.5)}
BEYOND |= {
    "adam_beta1": (1,),
    "adam_beta2": (-0.1, 1),
    "gradient_accumulation_steps": (0,),
    "label_smoothing_factor": (1,),
}
BEYOND |= {"per_device_train_batch_size": (0,), "per_device_eval_batch_size": (0,), "dataloader_num_workers": (-1,)}
BEYOND |= {
    "max_new_tokens": (0,),
    "batch_size": (0, 2**31),
    "temperature": (1e-9, -1),
    "top_k": (-1,),
    "top_p": (0, 1.001),
}
BEYOND |= {"num_samples": (0,), "shards": (0,), "replicas": (-1,), "span_length": (0,), "jobs": (0, 1025)}
BEYOND |= {"candidates": (0, 1001), "loop_repeats": (1,)}
BEYOND |= {"samples": (0,), "boot": (99, 1_000_001), "matched_tokens": (0,)}


@pytest.mark.parametrize("name", BEYOND)
def test_what_means_nothing_is_refused(name):
    for value in BEYOND[name]:
        assert mistake({name: value}).startswith(f"--{name.replace('_', '-')} {value}: must be ")


BAD_NAMES = ["a/b", "/", "..", ".", "a\nb", "a\x1b[2Jb", "caf\udce9", "a\0b", "\u202e", ""]


@pytest.mark.parametrize("name", sorted(NAMES | NESTED))
@pytest.mark.parametrize("value", BAD_NAMES)
def test_a_name_that_would_leave_its_place_or_break_a_line_is_refused(name, value):
    if name in NESTED and value == "a/b":
        assert mistake({name: value}) is None
        return
    line = mistake({name: value})
    assert line.startswith(f"--{name.replace('_', '-')} ") and line.isprintable()


@pytest.mark.parametrize(
    "options",
    [
        {"name": "größe 1.b-c_d"},
        {"type": "./gpt-neo-1.3B", "dataset": "a/b"},
        {"type": "/models/gpt"},
        {"instruction_column": "", "input_column": "", "instruction": ""},
        {"seed": None, "data": None, "elastic_url": []},
        {"data": "caf\udce9/x\ny"},
        SMALLEST,
        LARGEST,
        {"max_steps": -1, "temperature": 0.0, "warmup_steps": 0.25, "logging_steps": 500.0},
    ],
)
def test_what_is_right_passes(options):
    assert mistake(options) is None


@pytest.mark.parametrize("options", [{"data": "a\0b"}, {"elastic_url": ["http://h", ""]}, {"tokenizer": ""}])
def test_no_text_flag_is_empty_or_holds_a_nul(options):
    assert mistake(options)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "Expected `object`, got `array`"),
        ("3", "Expected `object`"),
        ('{"a": NaN}', "NaN is no number"),
        ("{", "line 1"),
    ],
)
def test_a_configuration_of_deepspeed_is_an_object(tmp_path, content, said):
    (tmp_path / "ds.json").write_text(content)
    needed = ["--train_file=a", f"--output_dir={tmp_path / 'out'}", "--config_name=c"]
    with pytest.raises(UserError, match=f"ds.json: .*{said}"):
        run_clm.parse([*needed, "--deepspeed", str(tmp_path / "ds.json")])
