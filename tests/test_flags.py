"""Every flag of every script: what is out of its range, empty or no name is one line and exit status 2, at once."""

import re
import runpy
from argparse import ArgumentTypeError
from dataclasses import fields
from math import inf, nan, nextafter
from pathlib import Path

import pytest
from transformers import TrainingArguments

import run_clm
import run_seq2seq
from memorization.shell.cli import Parser, UserError
from memorization.shell.flags import SEEDS, Range, any_text, file_name, nested_name, text, whole
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
    "audit.py",
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
def refusals(request, monkeypatch, capsys):
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
    if allowed.number is int:
        beyond = [str(number) for number in (allowed.least - 1, allowed.most + 1) if number != allowed.also]
        return [*beyond, "9" * 400, "9" * 5000, "1.5", "nan", "x", ""]
    low = allowed.least if allowed.over else nextafter(allowed.least, -inf)
    high = allowed.most if allowed.under else nextafter(allowed.most, inf)
    return [*map(repr, (low, high)), "nan", "inf", "-inf", "-1", "x", ""]


def test_every_number_of_ours_has_a_range_and_is_refused_outside(refusals):
    actions, refuse = refusals
    of_trainer = {field.name for field in fields(TrainingArguments)} if "learning_rate" in actions else set()
    for name, action in actions.items():
        if name in of_trainer:
            continue
        assert action.type not in (int, float), f"{name} has no range"
        if not isinstance(action.type, Range):
            continue
        assert action.default is None or action.default in action.type
        for value in outside(action.type):
            line = refuse(action.option_strings[0], value)
            assert f"--{name.replace('_', '-')}: must be {action.type}, not {value!r}" in line and "\n" not in line


def test_what_the_trainer_would_take_for_something_else_is_refused():
    for flag in ("--max_steps=0", "--num_train_epochs=0", "--num_train_epochs=-1"):
        with pytest.raises(UserError, match="--max-steps and --num-train-epochs: must be over 0"):
            run_clm.parse(["--train_file=a", "--output_dir=b", "--config_name=c", flag])


def test_a_text_flag_given_empty_is_refused(refusals):
    actions, refuse = refusals
    flags = [
        name
        for name, action in actions.items()
        if action.type in (None, str, text, Path, file_name, nested_name) and action.nargs != 0
    ]
    for name in flags:
        if name.endswith(("_column", "instruction", "separator", "source_prefix")):
            continue
        line = refuse(actions[name].option_strings[0], "")
        assert re.search(rf"(?i){name.replace('_', '[-_]')}.*(must not be empty|invalid|expected)", line), line


RANGES = [whole(1), whole(0, SEEDS), whole(1, 1000), Range(0), Range(0.1, 1), Range(0, 1, over=True)]
RANGES += [Range(0, 1, under=True), Range(0, 1, over=True, under=True), Range(0.001, 1000, also=0)]


@pytest.mark.parametrize("allowed", RANGES, ids=str)
def test_a_range_holds_its_ends_and_no_more(allowed):
    step = 1 if allowed.number is int else 1e-9
    assert (allowed.least in allowed) != allowed.over and allowed.least + step in allowed
    assert allowed.least - step not in allowed
    if allowed.most < inf:
        assert (allowed.most in allowed) != allowed.under and allowed.most + max(step, 1e-6) not in allowed
    assert not any(value in allowed for value in (nan, inf, -inf))
    assert allowed.also is None or allowed.also in allowed
    assert type(allowed(str(allowed.least + step))) is allowed.number


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (whole(1, 10), "a whole number from 1 to 10"),
        (Range(0, 1, over=True, under=True), "a number over 0 and under 1"),
        (Range(0.001, 1000, also=0), "a number from 0.001 to 1000, or 0"),
        (Range(0), "a number from 0"),
    ],
)
def test_a_range_says_what_is_in_it(allowed, message):
    assert str(allowed) == message


STAGE_1 = {"prefix_length": None, "min_suffix_length": None, "test_size": None, "seed": None, "num_proc": 1}
STAGE_1 |= {"max_samples": None, "canaries": 0, "canary_digits": 4}
BOTH_KINDS = {"goldfish_k": None, "lora_rank": None, "prefix_length": None}
BOTH_KINDS |= {"memorization_samples": 32, "memorization_steps": None}
DEFAULTS = {  # of ours: what is measured without a flag
    **{script: STAGE_1 for script in SCRIPTS if script.startswith("encode_")},
    "run_clm.py": BOTH_KINDS | {"block_size": None},
    "run_seq2seq.py": BOTH_KINDS | {"max_source_length": None, "max_target_length": None},
    "inference_prefix.py": {"prefix_length": None, "max_new_tokens": 100, "batch_size": 32, "num_samples": 1, "seed": 5}
    | {"temperature": 0, "top_k": 0, "top_p": 1, "members": None, "held_out": None}
    | {"max_requests": None, "max_tokens": None},
    "load_to_elastic.py": {"prefix_length": None, "jobs": None, "shards": None, "replicas": None},
    "plagiarism_detect.py": {"candidates": 10, "span_length": 50, "loop_repeats": 10, "jobs": None},
    "report.py": {"cases": 10_000},
    "attention_analysis.py": {"matched_tokens": None, "samples": None, "batch_size": 8, "boot": 2000, "seed": 5},
    "configs/make_tokenizer.py": {"vocab_size": 2048},
}
AUDIT = {
    "inference_prefix.py": (),
    "plagiarism_detect.py": (),
    "report.py": (),
    "encode_dialogue.py": ("max_samples", "num_proc"),
}
DEFAULTS["audit.py"] = {"min_suffix_length": None} | {
    name: value
    for script, only in AUDIT.items()
    for name, value in DEFAULTS[script].items()
    if (name in only or not only) and name != "prefix_length"  # there of several lengths, no Range
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_numbers_have_the_defaults_that_are_promised(script, monkeypatch):
    actions = parser_of(script, monkeypatch)._actions
    assert {action.dest: action.default for action in actions if isinstance(action.type, Range)} == DEFAULTS[script]


BEYOND = {
    "encode_dialogue.py": "max_samples=0 prefix_length=-1 min_suffix_length=0 test_size=0 test_size=1 num_proc=0 "
    "num_proc=1025 canaries=-1 canaries=100001 canary_digits=0 canary_digits=19 seed=-1 seed=4294967296 "
    "near_duplicates=0.09 near_duplicates=1.01",
    "run_clm.py": "block_size=1 goldfish_k=1 lora_rank=0 memorization_samples=0 memorization_steps=0 prefix_length=-1",
    "run_seq2seq.py": "max_source_length=1 max_target_length=0",
    "inference_prefix.py": "max_new_tokens=0 batch_size=0 batch_size=2147483648 temperature=1e-9 temperature=-1 "
    "top_k=-1 top_p=0 top_p=1.001 num_samples=0 members=0 held_out=0",
    "load_to_elastic.py": "shards=0 replicas=-1 jobs=0 jobs=1025",
    "plagiarism_detect.py": "span_length=0 candidates=0 candidates=1001 loop_repeats=1 jobs=0",
    "attention_analysis.py": "samples=0 boot=99 boot=1000001 matched_tokens=0",
    "configs/make_tokenizer.py": "vocab_size=256",
}
SMALLEST = {
    "encode_dialogue.py": "max_samples=1 prefix_length=0 min_suffix_length=1 test_size=1e-9 seed=0 num_proc=1 "
    "canaries=0 canary_digits=1 seed=4294967295 near_duplicates=0.1 near_duplicates=none",
    "run_clm.py": "block_size=2",
    "inference_prefix.py": "max_new_tokens=1 batch_size=1 temperature=0.001 temperature=0 temperature=0.0 top_k=0 "
    "top_p=1e-9 top_p=1 num_samples=1 batch_size=2147483647",
    "load_to_elastic.py": "shards=1 replicas=0 jobs=1",
    "plagiarism_detect.py": "span_length=1 jobs=1024",
}


@pytest.mark.parametrize("script", BEYOND)
def test_what_means_nothing_is_refused(script, monkeypatch):
    types = {action.dest: action.type for action in parser_of(script, monkeypatch)._actions}
    for name, value in (flag.split("=") for flag in BEYOND[script].split()):
        with pytest.raises(ArgumentTypeError, match=f"must be .*, not '{value}'"):
            types[name](value)
    for name, value in (flag.split("=") for flag in SMALLEST.get(script, "").split()):
        types[name](value)


BAD_NAMES = ["/", "..", "a\nb", "a\x1b[2Jb", "caf\udce9", "a\0b", "\u202e", ""]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_name_that_would_leave_its_place_or_break_a_line_is_refused(script, monkeypatch):
    types = {action.dest: action.type for action in parser_of(script, monkeypatch)._actions}
    names = {"name", "output_name", "dir_name", "subset_name"} & types.keys()
    for name in names:
        assert types[name] is file_name
    if script == "plagiarism_detect.py":
        assert types["type"] is types["dataset"] is nested_name
    assert names or not script.startswith(("encode_", "inference"))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_bad_name_is_one(name):
    for type in (file_name, nested_name):
        with pytest.raises(ArgumentTypeError) as refused:
            type(name)
        assert str(refused.value).isprintable()


def test_good_names_are_taken_as_they_are():
    assert file_name("größe 1.b-c_d") == "größe 1.b-c_d"
    for name in ("a/b", ".", "./gpt-neo-1.3B", "/models/gpt"):
        with pytest.raises(ArgumentTypeError):
            file_name(name)
        assert name == "." or nested_name(name) == name


def test_no_text_is_empty_or_holds_a_nul():
    assert any_text("") == "" and text("caf\udce9/x\ny") == "caf\udce9/x\ny"
    for type, value in ((text, ""), (text, "a\0b"), (any_text, "a\0b")):
        with pytest.raises(ArgumentTypeError):
            type(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "Expected `object`, got `array`"),
        ("3", "Expected `object`"),
        ('{"a": NaN}', "NaN is no number"),
        ("{", "line 1"),
    ],
)
def test_a_configuration_of_deepspeed_is_an_object(tmp_path, content, message):
    (tmp_path / "ds.json").write_text(content)
    needed = ["--train_file=a", f"--output_dir={tmp_path / 'out'}", "--config_name=c"]
    with pytest.raises(UserError, match=f"ds.json: .*{message}"):
        run_clm.parse([*needed, "--deepspeed", str(tmp_path / "ds.json")])
