"""Stage 2: labels, blocks, the same result after a kill, only its own run resumed, one line for each mistake."""

import dataclasses
import logging
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    Trainer,
    TrainingArguments,
)

import run_clm
from memorization.encoding.kinds import OF_ENCODING, TRAINING_SET
from memorization.models import hub
from memorization.models.loading import load_for_generation
from memorization.models.trained import MODEL, RECORD, SUMS, model_made_of, write_sums
from memorization.shell import cli
from memorization.store import fingerprints, manifests
from memorization.store.files import locked, read_json, write_json
from memorization.training.checkpoints import complete_checkpoints, last_checkpoint
from memorization.training.distributed import quietly
from memorization.training.flag_parser import OFTEN
from memorization.training.run_identity import BY_HELD_OUT, IRRELEVANT, run_made_of
from memorization.training.token_blocks import Blocks, collate
from support.command_line import ROOT, read_jsonl
from support.tiny_models import damage, edited, flipped, save_word_tokenizer, weights
from support.training_runs import (
    EOS,
    EVERY_STEP,
    FEATURES,
    KINDS,
    TRAIN,
    as_killed,
    everything,
    flags,
    free_port,
    two_ranks,
    write_set,
)


@pytest.fixture(scope="module")
def stepwise(home):
    """The same run with a checkpoint every step."""
    run_clm.main([*flags(home, home / "stepwise"), *EVERY_STEP])
    return home / "stepwise"


# ---- rows, blocks, batches


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 9), max_size=30), min_size=1, max_size=8), st.integers(2, 12))
def test_splitting_keeps_every_token_in_order_and_cutting_the_first_block(ids, block_size):
    rows = Dataset.from_dict({"input_ids": ids, "labels": ids}, FEATURES)
    wanted = [[row[at : at + block_size] for at in range(0, len(row), block_size)] for row in ids]
    split = [block["input_ids"] for block in Blocks(rows, block_size, "split")]
    assert split == [block for row in wanted for block in row if len(block) > 1]
    cut = [block["labels"] for block in Blocks(rows, block_size)]
    assert cut == [row[0] for row in wanted if row and len(row[0]) > 1]
    assert Blocks(rows, block_size).longer == sum(len(row) > block_size for row in ids)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from([-100, -100, 5]), max_size=20), min_size=1, max_size=8), st.integers(2, 8))
def test_a_block_without_a_label_to_predict_is_left_out(labels, block_size):
    ids = [list(range(len(row))) for row in labels]
    rows = Dataset.from_dict({"input_ids": ids, "labels": labels}, FEATURES)
    wanted = [row[at : at + block_size] for row in labels for at in range(0, len(row), block_size)]
    split = [block["labels"] for block in Blocks(rows, block_size, "split")]
    assert split == [block for block in wanted if set(block[1:]) > {-100} or 5 in block[1:]]


def test_the_loss_learns_every_token_eos_too_and_no_padding(home):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=32)).eval()
    rows = [[5, 9, 2, EOS], [7, 7, EOS], [1, 2, 3, 4, 5, 6, 7, EOS]]
    batch = collate([{"input_ids": row, "labels": row} for row in rows], pad_token_id=EOS)
    assert batch["attention_mask"].tolist() == [[1] * len(row) + [0] * (8 - len(row)) for row in rows]
    assert batch["labels"].tolist() == [row + [-100] * (8 - len(row)) for row in rows]
    losses = []  # by hand: each row alone, without padding
    for row in rows:
        chances = model(torch.tensor([row])).logits[0].softmax(-1)
        losses += [-chances[at, token].log() for at, token in enumerate(row[1:])]
    assert model(**batch).loss.item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-5)


# ---- runs


def test_the_held_out_loss_is_the_mean_over_tokens(home, finished):
    model = AutoModelForCausalLM.from_pretrained(finished).eval()
    losses = []
    for row in Dataset.load_from_disk(str(home / "data_test"))["input_ids"]:
        ids = torch.tensor([row[:32]])
        losses.append(torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none"))
    loss = torch.cat(losses).mean().item()
    figures = read_json(finished / "eval_results.json")
    assert figures["eval_loss"] == pytest.approx(loss, rel=1e-5)
    assert figures["eval_perplexity"] == pytest.approx(np.exp(loss), rel=1e-5)
    epochs = read_jsonl(finished / "losses.jsonl")
    assert [(row["epoch"], row["step"]) for row in epochs] == [(1, 5), (2, 10)]
    assert epochs[-1]["eval_loss"] == figures["eval_loss"] and epochs[1]["train_loss"] < epochs[0]["train_loss"]
    # without training: the same model, the same figure
    run_clm.main(
        shlex.split(f"--model_name_or_path {finished} --validation_file {home}/data_test --output_dir {home}/eval")
    )
    assert read_json(home / "eval" / "eval_results.json")["eval_loss"] == pytest.approx(loss, rel=1e-5)


def test_the_training_loss_is_the_mean_over_the_steps(home, finished, tmp_path):
    run_clm.main([*flags(home, tmp_path / "out"), "--logging_strategy", "steps", "--logging_steps", "1"])
    steps = [row["train_loss"] for row in read_jsonl(tmp_path / "out" / "losses.jsonl")]
    epochs = [row["train_loss"] for row in read_jsonl(finished / "losses.jsonl")]
    assert len(steps) == 10 and epochs == pytest.approx([np.mean(steps[:5]), np.mean(steps[5:])], rel=1e-6)
    assert read_json(finished / "train_results.json")["train_loss"] == pytest.approx(np.mean(steps), rel=1e-6)


def test_the_same_seed_gives_the_same_bytes(finished, stepwise):
    for name in ("model.safetensors", "losses.jsonl", RECORD):
        assert (stepwise / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize("last", [1, 3, 5, 8, 10])
def test_a_killed_run_ends_in_the_same_bytes(home, finished, stepwise, last, tmp_path, capsys):
    output = as_killed(stepwise, tmp_path / "killed", last)
    (output / "checkpoint-11").mkdir()  # killed while saving this one
    (output / "checkpoint-11" / "trainer_state.json").write_text('{"epoch": ')
    run_clm.main([*flags(home, output), *EVERY_STEP])
    assert f"going on from {output}/checkpoint-{last} " in capsys.readouterr().out
    for name in ("model.safetensors", "losses.jsonl", RECORD):
        assert (output / name).read_bytes() == (finished / name).read_bytes()
    total = [read_json(run / "train_results.json")["train_loss"] for run in (output, finished)]
    assert total[0] == total[1]
    assert model_made_of(output) == model_made_of(finished)


@pytest.mark.parametrize(
    "more",
    [
        "--logging_strategy steps --logging_steps 3 --eval_on_start",
        "--max_steps 7",  # ends within an epoch
        "--eval_strategy steps --eval_steps 1 --load_best_model_at_end --bf16",
    ],
)
def test_a_run_of_any_schedule_is_the_same_after_a_kill(home, tmp_path, more):
    run_clm.main([*flags(home, tmp_path / "whole"), *EVERY_STEP, *more.split()])
    steps = [int(path.name.split("-")[1]) for path in (tmp_path / "whole").glob("checkpoint-*")]
    for last in (4, max(steps)):
        output = as_killed(tmp_path / "whole", tmp_path / f"killed-{last}", last)
        run_clm.main([*flags(home, output), *EVERY_STEP, *more.split()])
        for name in ("model.safetensors", "losses.jsonl"):
            assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (last, name)


@pytest.mark.slow
def test_plain_python_needs_no_deepspeed_and_survives_a_real_kill(home, finished, tmp_path):
    killed = """if True:
        import os, runpy, sys
        sys.modules["deepspeed"] = None  # as if it were not installed
        from transformers.trainer_callback import TrainerState
        save = TrainerState.save_to_json
        def save_or_die(self, path):
            os.kill(os.getpid(), 9) if self.global_step == 8 else save(self, path)
        TrainerState.save_to_json = save_or_die
        sys.argv = ["run_clm.py", *sys.argv[1:]]
        runpy.run_path("run_clm.py", run_name="__main__")"""
    argv = [*flags(home, tmp_path / "out"), *EVERY_STEP]
    done = subprocess.run([sys.executable, "-c", killed, *argv], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    with pytest.raises(cli.UserError, match="its training did not finish"):
        model_made_of(tmp_path / "out")
    run_clm.main(argv)
    for name in ("model.safetensors", "losses.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (finished / name).read_bytes()


def test_starting_over_removes_the_checkpoints_and_says_so(home, finished, tmp_path, capsys):
    output = as_killed(finished, tmp_path / "over", 5)
    (output / "checkpoint-thesis").mkdir()
    run_clm.main([*flags(home, output), "--overwrite_output_dir", "--overwrite_cache", "--num_train_epochs", "1"])
    assert "starting over: removing 1 checkpoints" in capsys.readouterr().out
    assert (
        read_jsonl(output / "losses.jsonl")[0]["step"],
        sorted(path.name for path in output.glob("checkpoint-*")),
    ) == (
        5,
        ["checkpoint-5", "checkpoint-thesis"],
    )
    assert model_made_of(output)["num_train_epochs"] == 1


@pytest.mark.parametrize("name", ["checkpoint-1", "losses.jsonl", "model.safetensors"])
def test_what_stands_in_the_way_is_told_before_anything_is_removed(home, finished, tmp_path, name):
    output = as_killed(finished, tmp_path / "over", 5)
    if name == "checkpoint-1":
        (output / name).write_text("mine")
    else:
        (output / name).mkdir()
    before = everything(output)
    with pytest.raises(cli.UserError, match=rf"{name}: .*; move it away"):
        run_clm.main([*flags(home, output), "--overwrite_output_dir"])
    assert everything(output) == before and (output / name).exists()


def test_an_edited_manifest_of_a_finished_run_is_told(home, finished, tmp_path):
    output = tmp_path / "again"
    shutil.copytree(finished, output)
    manifest = read_json(manifests.manifest_path(finished))
    for other in ({**manifest, "rows": 1}, {"kind": "model"}, {**manifest, "made_of": None}):
        write_json(manifests.manifest_path(output), other)
        with pytest.raises(cli.UserError, match=r"manifest.json: .*, with --overwrite-output-dir"):
            run_clm.main(flags(home, output))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--report_to nowhere", "--report-to nowhere: nowhere is not supported, only .*wandb"),
        ("--report_to azure_ml", "--report-to azure_ml: AzureMLCallback requires azureml"),
        ("--load_best_model_at_end --save_strategy no", "load_best_model_at_end requires"),
        ("--half_precision_backend nothing --bf16 --fp16", "At most one of fp16 and bf16|half_precision_backend"),
    ],
)
def test_a_flag_that_transformers_refuses_is_a_mistake(home, tmp_path, more, message):
    with pytest.raises(cli.UserError, match=message):
        run_clm.main(flags(home, tmp_path / "out", more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--per_device_train_batch_size 0", "batch_size=0"),
        ("--per_device_eval_batch_size -1", "batch_size=-1"),
        ("--gradient_accumulation_steps 0", "by zero.* --gradient-accumulation-steps 0"),
        ("--gradient_accumulation_steps -1", "has made no step; .*--gradient-accumulation-steps"),
        ("--learning_rate -1", "Invalid learning rate: -1.0.* --learning-rate -1.0"),
        ("--num_train_epochs nan", "cannot convert float NaN"),
        ("--data_seed -4", "Seed must be between"),
        ("--dataloader_num_workers -1", "num_workers option should be non-negative"),
        ('--lr_scheduler_type cosine_with_restarts --lr_scheduler_kwargs {\\"x\\":1}', "argument 'x'"),
        ("--torch_compile_backend nothing", "'NOTHING' is not a valid"),
        ("--metric_for_best_model x --load_best_model_at_end --save_strategy epoch", "eval_x"),
        ("--optim adamw_bnb_8bit", "install `bitsandbytes`"),
    ],
)
def test_a_value_that_the_trainer_cannot_use_is_a_mistake_and_the_right_one_goes_on(home, tmp_path, more, message):
    """Whatever the libraries raise, at the start or later: there is no list of ranges."""
    with pytest.raises(cli.UserError, match=message):
        run_clm.main(flags(home, tmp_path / "out", f"{TRAIN} {more}"))
    assert not (tmp_path / "out" / "model.safetensors").exists()
    if "scheduler" in more:
        run_clm.main([*flags(home, tmp_path / "out"), "--max_steps", "2"])


def test_an_error_within_a_step_is_none_of_the_flags(home, tmp_path, monkeypatch):
    def failing(*_, **__):
        raise ValueError("a shape")

    monkeypatch.setattr(Trainer, "compute_loss", failing)
    with pytest.raises(ValueError, match="a shape"):
        run_clm.main(flags(home, tmp_path / "out"))


def test_a_finished_run_is_evaluated_again_and_stays_as_it_is(home, finished, tmp_path, capsys):
    output = tmp_path / "again"
    shutil.copytree(finished, output)
    shutil.copy(manifests.manifest_path(finished), manifests.manifest_path(output))
    before = everything(output)
    harmless = "--logging_steps 7 --save_total_limit 1 --eval_strategy no --per_device_eval_batch_size 2 --run_name x"
    run_clm.main([*flags(home, output), *harmless.split()])
    assert "this run is finished, nothing to train" in capsys.readouterr().out
    after = everything(output)
    assert before.keys() == after.keys()
    assert [path.name for path in before if before[path] != after[path]] == ["eval_results.json"]
    losses = [read_json(run / "eval_results.json")["eval_loss"] for run in (output, finished)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


# ---- only its own run


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--seed 6", "seed (5, not 6)"),
        ("--learning_rate 2e-2", "learning_rate (0.01, not 0.02)"),
        ("--weight_decay 0.1", "weight_decay (0, not 0.1)"),
        ("--lr_scheduler_type cosine", "lr_scheduler_type (linear, not cosine)"),
        ("--warmup_steps 3", "warmup_steps (0, not 3)"),
        ("--gradient_accumulation_steps 1", "gradient_accumulation_steps (2, not 1)"),
        ("--num_train_epochs 3", "num_train_epochs (2, not 3)"),
        ("--bf16", "precision (no, not bf16)"),
        ("--block_size 16 --long_samples split", "block_size (32, not 16) and long_samples (cut, not split)"),
        ("--config_name {home}/wide", "configuration ("),
        ("", "encoding ("),
        ("--lr_scheduler_type greedy", "held_out_set (unknown, not "),
    ],
)
@pytest.mark.parametrize("state", ["killed", "finished"])
def test_another_run_is_not_gone_on_with(home, finished, tmp_path, state, more, message):
    config = GPTNeoConfig.from_pretrained(home / "small", hidden_size=64)
    for part in (config, hub.load_tokenizer(home / "small")):
        part.save_pretrained(home / "wide")
    output = finished if state == "finished" else as_killed(finished, tmp_path / "killed", 5)
    before = everything(output)
    with pytest.raises(cli.UserError) as error:
        encoding = "data" if more else "other"
        run_clm.main(flags(home, output, f"{TRAIN} {more.format(home=home)}", encoding))
    assert f"{output}: is of a run with another " in str(error.value) and message in str(error.value)
    assert "; --overwrite-output-dir starts over, or name another --output-dir" in str(error.value)
    assert everything(output) == before


def test_another_base_model_is_not_gone_on_with(home, finished, tmp_path):
    tuned = shlex.split(f"--model_name_or_path {finished} --train-file {home}/data_train {TRAIN} --max_steps 2")
    argv = [*tuned, "--save_strategy", "steps", "--save_steps", "1", "--output_dir", str(tmp_path / "tuned")]
    run_clm.main(argv)
    assert model_made_of(tmp_path / "tuned")["base_model"] == fingerprints.model_fingerprint(finished)
    other = shutil.copytree(finished, tmp_path / "other", ignore=shutil.ignore_patterns("run.json", "checkpoint-*"))
    weights(lambda tensors: [tensor.add_(0.01) for tensor in tensors.values()])(other)
    with pytest.raises(cli.UserError, match=r"another base_model \(\w{12}, not \w{12}\); --overwrite"):
        run_clm.main([*argv, "--model_name_or_path", str(other)])
    # made of the same weights elsewhere it is the same run
    moved = shutil.copytree(finished, tmp_path / "moved", ignore=shutil.ignore_patterns("run.json", "checkpoint-*"))
    run_clm.main([*argv, "--model_name_or_path", str(moved)])


def test_every_training_argument_counts_unless_named(home, tmp_path):
    class Config:
        def to_json_string(self, use_diff):
            return "{}"

    tokenizer = hub.load_tokenizer(home / "small")
    sets = {kind: [manifests.read_manifest(home / f"data_{name}", OF_ENCODING[kind])] for name, kind in KINDS.items()}

    def of(args):
        return run_made_of(args, sets, tokenizer, None, Config(), {"block_size": 32, "long_samples": "cut"})

    names = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    assert names >= IRRELEVANT >= BY_HELD_OUT
    for led in ({}, {"lr_scheduler_type": "greedy", "eval_strategy": "steps", "eval_steps": 2}):
        args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **led)
        before = of(args)
        for name in sorted(names - {"deepspeed", "parallelism_config"}):
            value = getattr(args, name)
            setattr(args, name, "another")
            after = of(args)
            changed = {key for key in {**before, **after} if before.get(key) != after.get(key)}
            counts = name not in IRRELEVANT or led and name in BY_HELD_OUT
            if name in ("lr_scheduler_type", "load_best_model_at_end"):  # they decide whether the held-out set counts
                assert name in changed
            else:
                assert {key.split(".")[0] for key in changed} == ({name} if counts else set()), name
            setattr(args, name, value)


SAVED = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]


@pytest.mark.parametrize("lost", ["run.json", *SAVED])
def test_a_checkpoint_that_lacks_something_is_not_gone_on_with(home, finished, tmp_path, lost):
    output = as_killed(finished, tmp_path / "killed", 5)
    (output / lost if lost == RECORD else output / "checkpoint-5" / lost).unlink()
    before = everything(output)
    with pytest.raises(cli.UserError, match=f"checkpoint-5: .*{lost}.*--overwrite-output-dir"):
        run_clm.main(flags(home, output))
    assert everything(output) == before


@pytest.mark.parametrize("file", [*SAVED, SUMS])
@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_damaged_checkpoint_is_not_gone_on_with(home, finished, tmp_path, file, how):
    """None of these files holds a sum that is checked when it is read."""
    output = as_killed(finished, tmp_path / "killed", 5)
    path = output / "checkpoint-5" / file
    size = path.stat().st_size
    damage(file, lambda data: flipped(data, size // 2) if how == "flipped" else data[: size // 2])(path.parent)
    before = everything(output)
    named = "" if file == SUMS else file  # where that is what is wrong, it is another that does not agree
    with pytest.raises(cli.UserError, match=f"checkpoint-5.*{named}") as error:
        run_clm.main(flags(home, output))
    assert how == "cut" and file == SUMS or "remove this checkpoint to go on from the one before" in str(error.value)
    assert everything(output) == before
    if file != SUMS:  # the same checkpoint as a model
        with pytest.raises(cli.UserError, match=f"checkpoint-5: {file} is damaged or changed"):
            model_made_of(output / "checkpoint-5")


def test_a_run_goes_on_from_the_checkpoint_before_an_unfinished_one(home, finished, stepwise, tmp_path, capsys):
    """Killed between the last file of a checkpoint and the mark that it is complete."""
    output = as_killed(stepwise, tmp_path / "killed", 3, 4)
    (output / "checkpoint-4" / SUMS).unlink()
    run_clm.main([*flags(home, output), *EVERY_STEP])
    assert f"going on from {output}/checkpoint-3 " in capsys.readouterr().out
    assert (output / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def test_an_older_checkpoint_goes_only_when_the_new_one_is_complete(home, tmp_path, monkeypatch):
    def killed(_):
        raise KeyboardInterrupt

    argv = [*flags(home, tmp_path / "out"), *EVERY_STEP, "--save_total_limit", "1", "--max_steps", "3"]
    with monkeypatch.context() as patch:
        patch.setattr("memorization.training.trainer.write_sums", killed)
        with pytest.raises(KeyboardInterrupt):
            run_clm.main(argv)
    assert not complete_checkpoints(tmp_path / "out")
    run_clm.main(argv)  # over what was left
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-3"]

    def killed_at_the_second(checkpoint):
        if checkpoint.name == "checkpoint-2":
            raise KeyboardInterrupt
        write_sums(checkpoint)

    monkeypatch.setattr("memorization.training.trainer.write_sums", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_clm.main([*argv, "--overwrite-output-dir"])
    assert [path.name for path in complete_checkpoints(tmp_path / "out")] == ["checkpoint-1"]


def test_the_best_checkpoint_is_checked_before_it_becomes_the_model(home, tmp_path):
    more = "--eval_strategy steps --eval_steps 1 --load_best_model_at_end --learning_rate 1 --max_steps 3"
    argv = [*flags(home, tmp_path / "out"), *EVERY_STEP, *more.split()]
    run_clm.main(argv)
    best = Path(read_json(tmp_path / "out" / "checkpoint-3" / "trainer_state.json")["best_model_checkpoint"])
    assert best.name == "checkpoint-1"
    shutil.rmtree(tmp_path / "out" / "checkpoint-3")
    manifests.manifest_path(tmp_path / "out").unlink()
    damage("model.safetensors", lambda data: flipped(data, -5))(best)
    with pytest.raises(cli.UserError, match="checkpoint-1: model.safetensors is damaged or changed"):
        run_clm.main(argv)


def test_a_checkpoint_without_an_optimizer_is_not_gone_on_with(home, tmp_path):
    argv = [*flags(home, tmp_path / "out"), "--save_only_model"]
    run_clm.main(argv)
    output = as_killed(tmp_path / "out", tmp_path / "killed", 5)
    with pytest.raises(cli.UserError, match="checkpoint-5: was saved with --save-only-model, so no run can continue"):
        run_clm.main([*argv, "--output_dir", str(output)])


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_damaged_set_or_model_is_refused(home, finished, tmp_path, how):
    hurt = {"flipped": lambda data: flipped(data, -2000), "cut": lambda data: data[: len(data) // 2]}[how]
    train = edited(home / "data_train", tmp_path / "data_train", damage("data-00000-of-00001.arrow", hurt))
    shutil.copy(manifests.manifest_path(home / "data_train"), manifests.manifest_path(train))
    with pytest.raises(cli.UserError, match="train: has changed since it was written"):
        run_clm.main([*flags(home, tmp_path / "out")[:2], *flags(tmp_path, tmp_path / "out")[2:]])

    model = edited(finished, tmp_path / "model", damage("model.safetensors", hurt))
    shutil.copy(manifests.manifest_path(finished), manifests.manifest_path(model))
    message = "has changed since" if how == "flipped" else "model.safetensors is cut short"
    argv = f"--model_name_or_path {model} --validation_file {home}/data_test --output_dir {tmp_path}/out"
    with pytest.raises(cli.UserError, match=f"model: .*{message}"):
        run_clm.main(shlex.split(argv))
    assert not (tmp_path / "out").exists()


def test_no_other_result_is_written_over(home, finished, tmp_path):
    tuned = shlex.split(f"--model_name_or_path {finished} --train-file {home}/data_train --overwrite-output-dir")
    evaluated = shlex.split(f"--model_name_or_path {finished} --validation-file {home}/data_test")
    strange = shutil.copytree(finished, tmp_path / "strange", ignore=shutil.ignore_patterns("run.json"))
    changed = shutil.copytree(finished, tmp_path / "changed")
    shutil.copy(manifests.manifest_path(finished), manifests.manifest_path(changed))
    (changed / "config.json").write_text((changed / "config.json").read_text() + " ")
    other = as_killed(finished, tmp_path / "other")
    before = everything(home), everything(tmp_path)
    for argv, output, message in [
        (flags(home, "here"), strange, "no run.json says which run wrote it"),
        (flags(home, "here"), changed, "its model has changed since it was trained"),
        (tuned, finished, "holds the model to fine-tune"),
        (tuned, home, "holds the model to fine-tune"),
        (tuned, home / "data_test", "is of kind 'held-out set', not 'model'"),
        (evaluated, other, "holds another model than the one to evaluate"),
    ]:
        with pytest.raises(cli.UserError, match=message):
            run_clm.main([*argv, "--output-dir", str(output)])
    assert (everything(home), everything(tmp_path)) == before


def test_a_model_whose_training_did_not_finish_is_not_taken(home, finished, tmp_path):
    base = as_killed(finished, tmp_path / "base")
    for file in finished.glob("*.json"):
        shutil.copy(file, base)
    shutil.copy(finished / "model.safetensors", base)
    with pytest.raises(cli.UserError, match="base: has no manifest beside it, so its training did not finish"):
        run_clm.main(
            shlex.split(f"--model_name_or_path {base} --train-file {home}/data_train --output-dir {tmp_path}/out")
        )


def test_two_processes_do_not_train_in_one_directory(home, tmp_path):
    with locked(tmp_path / "out"), pytest.raises(cli.UserError, match="out: another process is writing it"):
        run_clm.main(flags(home, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_model_takes_vocabulary_and_special_tokens_from_the_tokenizer(home, finished, tmp_path, capsys):
    config = AutoModelForCausalLM.from_pretrained(finished).config
    assert (config.vocab_size, config.eos_token_id, config.pad_token_id) == (64, EOS, EOS)
    manifest = manifests.checked(finished, MODEL, fingerprints.model_fingerprint(finished))
    assert manifest.rows == 37 and manifest.made_of["seed"] == 5 and manifest.made_of["processes"] == 1
    assert manifest.made_of["encoding"] == manifests.read_manifest(home / "data_train", TRAINING_SET).identity
    assert manifest.libraries["torch"] == torch.__version__.split("+")[0] or "+" in manifest.libraries["torch"]

    base = shutil.copytree(home / "small", tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(finished)
    model.config.eos_token_id = [7, EOS]
    model.save_pretrained(base)
    argv = f"--model_name_or_path {base} --train-file {home}/data_train --output-dir {tmp_path}/out --max_steps 1"
    run_clm.main(shlex.split(argv))
    assert "the model's end-of-text token [7, 0] becomes the tokenizer's, 0" in capsys.readouterr().out
    assert read_json(tmp_path / "out" / "config.json")["eos_token_id"] == EOS


def test_a_padding_token_beyond_the_vocabulary_is_not_used(home, finished, tmp_path, capsys):
    """As of Llama 2 with one added, whose embeddings were not resized: the saved model would have it and not load."""
    tokenizer = hub.load_tokenizer(home / "small")
    made_of = {"tokenizer": fingerprints.tokenizer_fingerprint(tokenizer)}
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(tmp_path / "padded")
    assert hub.load_tokenizer(tmp_path / "padded").pad_token_id == 64
    rows = [list(range(1, length)) for length in (4, 9, 20, 31)]  # none as long as another
    texts = [" ".join(f"w{id}" for id in ids) for ids in rows]
    train = write_set(tmp_path / "train", "training set", [[*ids, EOS] for ids in rows], texts=texts, **made_of)
    for name in ("padded", "small"):
        tokens = tmp_path / name if name == "padded" else home / name
        argv = f"--model_name_or_path {finished} --tokenizer-name {tokens} --train-file {train} --max_steps 2"
        run_clm.main(shlex.split(f"{argv} --per_device_train_batch_size 4 --output-dir {tmp_path}/{name}_out"))
        printed = capsys.readouterr().out
        assert ("pads with 64, beyond the model's vocabulary of 64: padding with its end of text" in printed) == (
            name == "padded"
        )
    one, other = (load_for_generation(tmp_path / f"{name}_out", "auto", "cpu") for name in ("padded", "small"))
    assert one.config.pad_token_id == EOS == hub.load_tokenizer(tmp_path / "padded_out").pad_token_id
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())

    other_ids = write_set(tmp_path / "other", "training set", [[2, EOS]] * 3, texts=["w1"] * 3, **made_of)
    argv = f"--model_name_or_path {finished} --tokenizer-name {tmp_path}/padded --train-file {other_ids}"
    with pytest.raises(cli.UserError, match="other: was encoded with another tokenizer or end-of-text token than the"):
        run_clm.main(shlex.split(f"{argv} --output-dir {tmp_path}/none"))


def test_a_block_size_beyond_the_context_is_capped(home, tmp_path, capsys):
    more = f"{TRAIN} --block-size 1028 --long-samples split --max_steps 1 --model-type llama"
    run_clm.main(flags(home, tmp_path / "capped", more))
    lines = capsys.readouterr().out
    assert "--block_size 1028 is beyond the model's context: taking 32" in lines
    assert "--model_type llama" in lines and "is of type gpt_neo" in lines
    lengths = [len(row) for row in Dataset.load_from_disk(str(home / "data_train"))["input_ids"]]
    assert f"make {sum(-(-length // 32) - (length % 32 == 1) for length in lengths)} blocks" in lines


def test_the_directory_of_a_hub_model_is_its_snapshot(tmp_path, monkeypatch):
    model = tmp_path / "models--someone--model"
    snapshot = model / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert hub.directory("someone/model") == snapshot and hub.directory(snapshot) == snapshot
    with pytest.raises(cli.UserError, match="someone/else: a model could not be loaded"):
        hub.directory("someone/else")


# ---- mistakes


def sets(home, tmp_path, what):
    """The flags of data with something wrong."""
    train, test = home / "data_train", home / "data_test"
    made_of = {"tokenizer": fingerprints.tokenizer_fingerprint(hub.load_tokenizer(home / "small"))}
    ids = {"short": [[1]] * 4, "beyond": [[1, 2, 999]] * 4, "negative": [[1, -2, EOS]] * 4}.get(what, [[1, 2, EOS]] * 4)
    labels = {
        "ignored": [[1, -100, -100]] * 4, "longer": [[1, 2, EOS]] * 3 + [[1, 2]], "strange": [[1, -7, EOS]] * 4,
        "words": [["a", "b", "c"]] * 4, "null": [[1, None, EOS]] * 4, "none": [None] * 4, "far": [[1, 64, EOS]] * 4,
    }.get(what)  # fmt: skip
    if what == "swapped":
        train, test = test, train
    elif what == "twice":
        test = train
    elif what == "other":
        test = home / "other_test"
    elif what == "missing":
        train = tmp_path / what
    elif what == "bare":
        train = write_set(tmp_path / what, "training set", ids, **made_of)
        manifests.manifest_path(train).unlink()
    elif what == "changed":
        train = write_set(tmp_path / what, "training set", ids, **made_of)
        (train / "more.txt").write_text("more")
    elif what == "eos":
        other = save_word_tokenizer(tmp_path / "tokenizer", 64, eos="w1")
        made_of = {"tokenizer": fingerprints.tokenizer_fingerprint(other)}
        train = write_set(tmp_path / what, "training set", ids, **made_of)
        test = write_set(tmp_path / f"{what}_test", "held-out set", ids, **made_of)
    else:
        train = write_set(tmp_path / what, "training set", ids, labels, **made_of)
        test = write_set(tmp_path / f"{what}_test", "held-out set", ids, **made_of)
    return f"--config_name {home}/small --train_file {train} --validation_file {test}"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "missing: no such file or directory; .*run encode_<task>.py"),
        ("bare", "bare: has no manifest, .*run encode_<task>.py"),
        ("changed", r"changed: has changed since .*run encode_<task>.py"),
        ("swapped", "data_test: is of kind 'held-out set', not 'training set'"),
        ("twice", "data_train: is of kind 'training set', not 'held-out set'"),
        ("other", r"data_train \(\w{16}\) and .*other_test \(\w{16}\): are of different encodings; name"),
        ("eos", "eos: was encoded with another tokenizer or end-of-text token than the model's"),
        ("short", "no sample has two tokens"),
        ("beyond", "token id 999 is beyond the model's vocabulary of 64"),
        ("negative", "token id -2 is beyond"),
        ("strange", "label -7 is beyond"),
        ("far", "label 64 is beyond"),
        ("ignored", "no sample has two tokens and a label to learn, other than -100"),
        ("longer", "row 3 has 3 token ids and 2 labels"),
        ("words", "has no lists of token ids and labels"),
        ("null", "has no lists of token ids and labels"),
        ("none", "has no lists of token ids and labels"),
    ],
)
def test_data_that_cannot_be_trained_on_is_named(home, tmp_path, what, message):
    argv = shlex.split(f"{sets(home, tmp_path, what)} --output_dir {tmp_path}/out")
    with pytest.raises(cli.UserError, match=message):
        run_clm.main(argv)
    assert not (tmp_path / "out").exists()


def test_a_model_is_not_evaluated_on_another_encoding(home, finished, tmp_path):
    argv = f"--model_name_or_path {finished} --validation_file {home}/other_test --output_dir {tmp_path}/out"
    with pytest.raises(cli.UserError, match=r"finished: was trained on another encoding \(\w{16}\) than .*\(\w{16}\)"):
        run_clm.main(shlex.split(argv))


def test_a_loss_that_is_not_finite_ends_the_run(home, finished, tmp_path):
    for more, message in {
        "--learning_rate 1e38 --max_grad_norm 0": r"training loss is (nan|inf) at step \d+, .*lower --learning-rate",
        "--learning_rate 1e39 --max_steps 1 --eval_strategy no": r"the sum of \S+ is (nan|-?inf) at step 1, ",
        "--learning_rate 1e39 --max_steps 1": r"held-out loss is (nan|inf) at step 1, ",
    }.items():
        with pytest.raises(cli.UserError, match=message):
            run_clm.main([*flags(home, tmp_path / "out"), *more.split(), "--overwrite-output-dir"])
        assert not manifests.manifest_path(tmp_path / "out").exists()
        with pytest.raises(cli.UserError, match="did not finish"):
            model_made_of(tmp_path / "out")

    broken = shutil.copytree(finished, tmp_path / "broken", ignore=shutil.ignore_patterns("run.json", "checkpoint-*"))
    weights(lambda tensors: tensors["transformer.ln_f.weight"].fill_(3e38))(broken)  # each finite, their products not
    argv = f"--model_name_or_path {broken} --validation_file {home}/data_test --output_dir {tmp_path}/eval"
    with pytest.raises(cli.UserError, match="the model's held-out loss is nan; name another"):
        run_clm.main(shlex.split(argv))
    assert not (tmp_path / "eval" / "eval_results.json").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            "--config_name {home}/small --train_file x --resume_from_checkpoint y",
            "--resume-from-checkpoint: leave it out",
        ),
        ("--model_name_or_path nowhere/at-all --train_file x", "nowhere/at-all: a .*could not be loaded"),
        (
            "--config_name nowhere --tokenizer_name {home}/small --train_file {home}/data_train",
            "nowhere: a model configuration could not",
        ),
        (
            "--model_name_or_path {home}/small --train_file {home}/data_train",
            "small: has a configuration and no weights",
        ),
        (
            "--config_name {home}/small --train_file x --block_size 1",
            "--block-size: must be a whole number from 2 to",
        ),
        ("--config_name {home}/small", "--train-file is missing"),
        ("--config_name {home}/small --train_file x --do_eval", "--validation-file is missing"),
        ("--config_name {home}/small --train_file x --eval_strategy epoch", "--validation-file is missing"),
        (
            "--config_name {home}/small --train_file x --output_dir run_clm.py",
            "run_clm.py: is a file; name a directory",
        ),
        ("--train_file x", "name either a --model-name-or-path"),
        (
            "--config_name {home}/small --train_file x --learning_rate fast",
            "--learning-rate: invalid float value: 'fast'",
        ),
        ("--config_name {home}/small --train_file x --save_strategy daily", "daily"),
        ("--config_name {home}/small --train_file x --epochs 3", "unrecognized arguments: --epochs 3"),
        ("--config_name {home}/small --train_file x --deepspeed nowhere.json", "nowhere.json: no such"),
        (
            "--config_name {home}/small --train_file x --deepspeed {home}/ds.json",
            "ds.json: - ds train_batch_size=7 vs hf",
        ),
        (
            "--model_name_or_path {home}/damaged --train_file {home}/data_train",
            "damaged: model.safetensors is damaged: it does not begin as a safetensors file does",
        ),
    ],
)
def test_a_wrong_flag_gets_one_line_and_status_2(home, tmp_path, argv, message, monkeypatch, capsys):
    command = f"run_clm.py --output_dir {tmp_path}/out {argv.format(home=home)}"
    monkeypatch.chdir(ROOT)
    write_json(home / "ds.json", {"train_batch_size": 7, "zero_optimization": {"stage": 2}})
    shutil.copytree(home / "small", home / "damaged", dirs_exist_ok=True)
    (home / "damaged" / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as stop:
        cli.run(quietly, run_clm.main)
    assert stop.value.code == 2 and not (tmp_path / "out").exists()
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert error.startswith("run_clm.py: ") and message.split(": a .*")[0] in error


def test_deepspeed_that_is_not_installed_is_told(home, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(cli.UserError, match="--deepspeed: DeepSpeed is not installed; pip install deepspeed, or"):
        run_clm.main([*flags(home, tmp_path / "out"), "--deepspeed", str(ROOT / "ds_config.json")])


def test_flags_are_the_same_in_kebab_case(home, tmp_path):
    argv = [
        *flags(home, tmp_path / "out"),
        "--overwrite_output_dir",
        "--save_total_limit",
        "3",
        "--model_type",
        "gptneo",
    ]
    kebab = [f"--{arg[2:].replace('_', '-')}" if arg.startswith("--") else arg for arg in argv]
    assert kebab != argv
    *ours, training = run_clm.parse(argv)
    *ours_too, training_too = run_clm.parse(kebab)
    assert ours == ours_too and training.to_dict() == training_too.to_dict()


def test_help_shows_ours_first_and_the_rest_on_request(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    texts = {}
    for flag in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as stop:
            run_clm.main([flag])
        texts[flag] = capsys.readouterr().out
        assert stop.value.code == 0 and max(map(len, texts[flag].splitlines())) <= 80
    text = texts["--help"]
    assert text.index("python run_clm.py --model-name-or-path") < text.index("--block-size") < text.index("--learning-")
    words = " ".join(text.split())
    assert "highest learning rate (default: 5e-05)" in words and "epoch, steps, no (default: epoch)" in words
    assert "--hub-token" not in text and len(text.splitlines()) < 100
    names = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    shown = {word.strip(",").removeprefix("--").replace("-", "_") for word in texts["--help-all"].split()}
    assert OFTEN.keys() <= names <= shown


def test_the_terminal_shows_our_lines_only(home, tmp_path, monkeypatch, capfd):
    def noisy(*_):
        warnings.warn("of a library", stacklevel=1)
        logging.getLogger("transformers").warning("of a library")
        return run_made_of(*_)

    monkeypatch.setattr("memorization.training.fine_tune.run_made_of", noisy)
    monkeypatch.setattr(sys, "argv", ["run_clm.py", *flags(home, tmp_path / "out")])
    quietly(run_clm.main)
    printed, errors = capfd.readouterr()
    pieces = filter(str.strip, re.split(r"[\r\n]|\x1b\[A", errors))
    assert not [piece for piece in pieces if not piece.startswith(("training:", "evaluating:"))]  # bars
    figures = read_jsonl(tmp_path / "out" / "losses.jsonl")
    assert printed.splitlines() == [
        *(["no GPU: working on the CPU, processes: 1"] if not torch.cuda.is_available() else []),
        f"{home}/data_train: 37 samples, 11 over 32 tokens, make 37 blocks",
        f"{home}/data_test: 7 samples, 1 over 32 tokens, make 7 blocks",
        f"writing to {tmp_path}/out",
        *(
            line
            for row in figures
            for line in (
                f"epoch {row['epoch']:.3g}, step {row['step']}: training loss {row['train_loss']:.4f}",
                f"epoch {row['epoch']:.3g}, step {row['step']}: held-out loss {row['eval_loss']:.4f}, "
                f"perplexity {row['perplexity']:.2f}",
            )
        ),
        f"held-out loss {figures[-1]['eval_loss']:.4f} nats a token, perplexity {figures[-1]['perplexity']:.2f}",
        f"model and tokenizer are in {tmp_path}/out",
    ]


def test_want_of_memory_is_called_that(home, tmp_path, monkeypatch, capsys):
    """A petabyte of embeddings, which the allocator refuses."""
    edited(home / "small", tmp_path / "vast", {"max_position_embeddings": 2**43})
    argv = [*flags(home, tmp_path / "out"), "--config_name", str(tmp_path / "vast")]
    monkeypatch.setattr(sys, "argv", ["run_clm.py", *argv])
    with pytest.raises(SystemExit) as stop:
        cli.run(quietly, run_clm.main)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("run_clm.py: out of memory; lower the batch size, ")


# ---- many processes


def launch(home, output, *launcher, more=""):
    """The paper's command, apart from paths and sizes, and its output. Two ranks, with or without GPUs."""
    command = f"""run_clm.py --model_name_or_path {home}/finished --train_file {home}/data_train
        --validation_file {home}/data_test --model_type gptneo --do_train --overwrite_cache --output_dir {output}
        --num_train_epochs 2 --gradient_accumulation_steps 2 --per_device_train_batch_size 8 --learning_rate 2e-05
        --save_total_limit 20 --save_strategy epoch --block_size 1028 --seed 5 --warmup_steps 10 {more}"""
    words = [*map(str, launcher), *shlex.split(command)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@two_ranks
def test_the_papers_command_runs_on_two_ranks_and_resumes_to_the_same_bytes(warm_python, home, finished, tmp_path):
    output = tmp_path / "tuned"
    deepspeed = warm_python / "deepspeed", "--num_gpus=2", "--master_port", free_port()
    more = f"--deepspeed ds_config.json {' '.join(EVERY_STEP)}"
    status, printed, errors = launch(home, output, *deepspeed, more=f"{more} --overwrite_output_dir")
    assert status == 0, errors[-3000:]
    assert torch.cuda.is_available() or printed.count("no GPU: working on the CPU, processes: 2") == 1
    assert len(list(output.glob("checkpoint-*"))) == 4
    made_of = model_made_of(output)
    assert made_of["processes"] == 2 and made_of["deepspeed.zero_optimization.stage"] == 2
    names = ("model.safetensors", "losses.jsonl")
    whole = {name: (output / name).read_bytes() for name in names}
    assert whole["model.safetensors"] != (finished / "model.safetensors").read_bytes()

    for step in (2, 3, 4):  # what is left is within the first epoch
        shutil.rmtree(output / f"checkpoint-{step}")
    (output / "model.safetensors").unlink()
    manifests.manifest_path(output).unlink()
    status, printed, errors = launch(home, output, *deepspeed, more=more)
    assert status == 0, errors[-3000:]
    assert printed.count(f"going on from {output}/checkpoint-1") == 1
    assert {name: (output / name).read_bytes() for name in names} == whole
    assert model_made_of(output) == made_of

    assert last_checkpoint(output).name == "checkpoint-4"
    for lost in ("latest", "global_step4/*_rank_1_*optim_states.pt", "rng_state_1.pth", "scheduler.pt"):
        checkpoint = shutil.copytree(output / "checkpoint-4", tmp_path / "checkpoint-4", dirs_exist_ok=True)
        next(checkpoint.glob(lost)).unlink()
        with pytest.raises(cli.UserError, match="checkpoint-4: has no .*without which a run can't go on"):
            last_checkpoint(tmp_path)


@two_ranks
def test_a_mistake_under_a_launcher_is_told_once(warm_python, home, finished, tmp_path):
    output = as_killed(finished, tmp_path / "out", 5)
    torchrun = warm_python / "torchrun", "--nproc_per_node", 2, "--master_port", free_port()
    status, _, errors = launch(home, output, *torchrun)
    messages = [line for line in errors.split("\n") if line.startswith("run_clm.py: ")]
    assert status and len(messages) == 1 and "is of a run with another" in messages[0], errors[-3000:]
