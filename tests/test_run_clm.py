"""Stage 2: labels, blocks, the same result after a kill, the paper's command, and one line for each mistake."""

import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, GPTNeoConfig, PreTrainedTokenizerFast

import run_clm
from memorization import cli
from memorization.files import manifest_path, read_json, read_jsonl, write_json
from memorization.runs import tokenizer_fingerprint
from memorization.training.blocks import COLUMNS, Blocks, collate

FEATURES = Features({name: List(Value("int64")) for name in COLUMNS})
ROOT = Path(__file__).parent.parent
EOS = 0
TRAIN = (
    "--num_train_epochs 2 --per_device_train_batch_size 4 --gradient_accumulation_steps 2 --learning_rate 1e-2 --seed 5"
)


def write_rows(directory, ids, **columns):
    """Stage 1's layout for lists of token ids."""
    names = [str(number) for number in range(len(ids))]
    rows = {
        "id": names,
        "text": names,
        "input_ids": ids,
        "attention_mask": [[1] * len(row) for row in ids],
        "labels": ids,
    }
    rows = {name: column for name, column in (rows | columns).items() if column is not None}
    (rows if isinstance(rows, DatasetDict) else Dataset.from_dict(rows)).save_to_disk(str(directory))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A directory with a tokenizer, a GPT-Neo configuration with dropout, train and test rows, and their manifests."""
    home = tmp_path_factory.mktemp("home")
    words = {"<|endoftext|>": EOS} | {f"w{number}": number for number in range(1, 64)}
    fast = Tokenizer(models.WordLevel(words, unk_token="<|endoftext|>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    special = dict.fromkeys(("eos_token", "bos_token", "pad_token"), "<|endoftext|>")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, **special)
    config = GPTNeoConfig(
        hidden_size=32, num_layers=2, num_heads=2, attention_types=[[["global", "local"], 1]], window_size=8,
        max_position_embeddings=32, resid_dropout=0.1, embed_dropout=0.1, attention_dropout=0.1,
    )  # fmt: skip
    for part in (tokenizer, config):
        part.save_pretrained(home / "small")
    rng = np.random.default_rng(1)
    for name, rows in (("train", 37), ("test", 7)):
        lengths = rng.integers(3, 40, rows)
        write_rows(home / f"data_{name}", [[*rng.integers(1, 64, length).tolist(), EOS] for length in lengths])
        write_json(manifest_path(home / f"data_{name}"), {"tokenizer": tokenizer_fingerprint(tokenizer)})
    return home


def flags(home, output_dir, more=TRAIN):
    data = f"--train-file {home}/data_train --validation-file {home}/data_test"
    return shlex.split(f"--config_name {home}/small {data} --output_dir {output_dir} {more}")


@pytest.fixture(scope="module")
def finished(home):
    """An uninterrupted run of 2 epochs of 5 steps with a checkpoint an epoch."""
    run_clm.main(flags(home, home / "finished"))
    return home / "finished"


@pytest.fixture(scope="module")
def stepwise(home):
    """The same run with a checkpoint every 3 steps, which is within an epoch."""
    run_clm.main([*flags(home, home / "stepwise"), "--save_strategy", "steps", "--save_steps", "3"])
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
    epochs = read_jsonl(finished / "memorization.jsonl")
    assert [(row["epoch"], row["step"]) for row in epochs] == [(1, 5), (2, 10)]
    assert epochs[-1]["eval_loss"] == figures["eval_loss"] and epochs[1]["train_loss"] < epochs[0]["train_loss"]
    # without training: the same model, the same figure
    run_clm.main(
        shlex.split(f"--model_name_or_path {finished} --validation_file {home}/data_test --output_dir {home}/eval")
    )
    assert read_json(home / "eval" / "eval_results.json")["eval_loss"] == pytest.approx(loss, rel=1e-5)


def test_the_same_seed_gives_the_same_bytes(finished, stepwise):
    assert (stepwise / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("source", "last"), [("stepwise", 3), ("finished", 5)])
def test_a_killed_run_ends_in_the_same_bytes(home, source, last, request, tmp_path, capsys):
    source, output = request.getfixturevalue(source), tmp_path / "killed"
    shutil.copytree(source / f"checkpoint-{last}", output / f"checkpoint-{last}")
    shutil.copy(source / "run.json", output)
    (output / "checkpoint-9").mkdir()  # killed while saving this one
    run_clm.main(flags(home, output))
    assert f"going on from {output}/checkpoint-{last} " in capsys.readouterr().out
    assert (output / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    if last == 5:  # within an epoch, its training loss is the mean of the steps since
        assert (output / "memorization.jsonl").read_text() == (source / "memorization.jsonl").read_text()


def test_starting_over_removes_the_checkpoints_and_says_so(home, finished, tmp_path, capsys):
    output = tmp_path / "over"
    shutil.copytree(finished / "checkpoint-5", output / "checkpoint-5")
    run_clm.main([*flags(home, output), "--overwrite_output_dir", "--overwrite_cache", "--num_train_epochs", "1"])
    assert "starting over: removing 1 checkpoints" in capsys.readouterr().out
    assert (read_jsonl(output / "memorization.jsonl")[0]["step"], len(list(output.glob("checkpoint-*")))) == (5, 1)


def test_checkpoints_of_another_run_are_not_continued(home, finished):
    with pytest.raises(cli.UserError, match="another seed; --overwrite-output-dir"):
        run_clm.main([*flags(home, finished), "--seed", "6"])


def test_the_model_takes_vocabulary_and_special_tokens_from_the_tokenizer(finished):
    model = AutoModelForCausalLM.from_pretrained(finished)
    assert (model.config.vocab_size, model.config.eos_token_id, model.config.pad_token_id) == (64, EOS, EOS)
    manifest = read_json(manifest_path(finished))
    assert manifest["rows"] == {"train": 37, "validation": 7} and manifest["seed"] == 5


def test_a_block_size_beyond_the_context_is_capped(home, tmp_path, capsys):
    more = f"{TRAIN} --block-size 1028 --long-samples split --max_steps 1 --model-type llama"
    run_clm.main(flags(home, tmp_path / "capped", more))
    lines = capsys.readouterr().out
    assert "--block_size 1028 is beyond the model's context: taking 32" in lines
    assert "--model_type llama" in lines and "is of type gpt_neo" in lines
    lengths = [len(row) for row in Dataset.load_from_disk(str(home / "data_train"))["input_ids"]]
    assert f"make {sum(-(-length // 32) - (length % 32 == 1) for length in lengths)} blocks" in lines


# ---- mistakes


def broken(home, tmp_path, what):
    """A data directory with something wrong."""
    ids = [[1, 2, EOS]] * 4
    if what == "splits":
        DatasetDict({"train": Dataset.from_dict({"input_ids": ids})}).save_to_disk(str(tmp_path / what))
    elif what == "files":
        (tmp_path / what).mkdir()
    elif what != "missing":
        wrong = {
            "columns": {"labels": None},
            "rows": dict.fromkeys(("id", "text", "input_ids", "attention_mask", "labels"), []),
            "lengths": {"labels": [[1, 2]] * 4},
            "short": {"input_ids": [[1]] * 4, "labels": [[1]] * 4},
            "beyond": {"input_ids": [[1, 2, 999]] * 4, "labels": [[1, 2, 999]] * 4},
        }
        write_rows(tmp_path / what, ids, **wrong.get(what, {}))
        if what == "tokenizer":
            write_json(manifest_path(tmp_path / what), {"tokenizer": "of another model"})
    return f"--config_name {home}/small --train_file {tmp_path / what}"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "missing: no such directory; run encode_dialogue.py"),
        ("files", "files: not a data set saved to disk; run encode_dialogue.py"),
        ("splits", "splits: holds the splits train; name the directory of one"),
        ("columns", r"no column labels \(there: id, text, input_ids, attention_mask\)"),
        ("rows", "rows: has no rows"),
        ("lengths", "input_ids and labels differ in length"),
        ("short", "no sample has two tokens"),
        ("beyond", "token id 999 is beyond the model's vocabulary of 64"),
        ("tokenizer", "was encoded with another tokenizer than the model's"),
    ],
)
def test_data_that_cannot_be_trained_on_is_named(home, tmp_path, what, message):
    argv = shlex.split(f"{broken(home, tmp_path, what)} --output_dir {tmp_path}/out")
    with pytest.raises(cli.UserError, match=message):
        run_clm.main(argv)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--model_name_or_path nowhere/at-all --train_file x", "nowhere/at-all: a .*could not be loaded"),
        (
            "--config_name nowhere --tokenizer_name {home}/small --train_file x",
            "nowhere: a model configuration could not",
        ),
        ("--model_name_or_path {home}/small --train_file x", "small: a causal language model could not be loaded"),
        ("--config_name {home}/small --train_file x --block_size 1", "--block-size 1: a block needs at least 2 tokens"),
        ("--config_name {home}/small", "--train-file is missing"),
        ("--config_name {home}/small --train_file x --do_eval", "--validation-file is missing"),
        ("--config_name {home}/small --train_file x --output_dir run_clm.py", "run_clm.py: is a file"),
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
        ("--model_name_or_path {home}/damaged --train_file x", "damaged: a causal language model could not be loaded"),
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
        cli.run(run_clm.run_rank)
    assert stop.value.code == 2 and not (tmp_path / "out").exists()
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert error.startswith("run_clm.py: ") and message.split(": a .*")[0] in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is always full")
def test_a_full_disk_is_told_and_leaves_no_unfinished_checkpoint(home, tmp_path):
    (tmp_path / "out" / "checkpoint-5").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint-5" / "optimizer.pt").symlink_to("/dev/full")
    with pytest.raises(cli.UserError, match="out: no space left for a checkpoint"):
        run_clm.main(flags(home, tmp_path / "out"))
    assert not list((tmp_path / "out").glob("checkpoint-*"))


def test_help_shows_the_command(capsys):
    with pytest.raises(SystemExit) as stop:
        run_clm.main(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "python run_clm.py --model-name-or-path" in text and "--block-size" in text


# ---- the paper's command


def launch(home, output, more=""):
    """The paper's command as it stands, apart from paths and sizes, and its output. Two ranks, with or without GPUs."""
    command = f"""-m deepspeed.launcher.runner --num_gpus=2 --master_port {free_port()} run_clm.py
        --deepspeed ds_config.json --model_name_or_path {home}/finished --train_file {home}/data_train
        --validation_file {home}/data_test --model_type gptneo --do_train --overwrite_cache --output_dir {output}
        --num_train_epochs 2 --gradient_accumulation_steps 2 --per_device_train_batch_size 8 --learning_rate 2e-05
        --save_total_limit 20 --save_strategy epoch --block_size 1028 --seed 5 --warmup_steps 10 {more}"""
    done = subprocess.run(
        [sys.executable, *shlex.split(command)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two ranks need two GPUs or none")
def test_the_papers_command_runs_on_two_ranks_and_resumes_to_the_same_bytes(home, finished, tmp_path):
    output = tmp_path / "tuned"
    status, printed, errors = launch(home, output, "--overwrite_output_dir")
    assert status == 0, errors[-3000:]
    assert torch.cuda.is_available() or printed.count("no GPU found: training on the CPU, processes: 2") == 1
    assert sorted(path.name for path in output.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    assert read_json(manifest_path(output))["processes"] == 2
    weights = (output / "model.safetensors").read_bytes()
    assert weights != (finished / "model.safetensors").read_bytes()

    shutil.rmtree(output / "checkpoint-4")
    (output / "model.safetensors").unlink()
    status, printed, errors = launch(home, output)
    assert status == 0, errors[-3000:]
    assert printed.count(f"going on from {output}/checkpoint-2") == 1
    assert (output / "model.safetensors").read_bytes() == weights


def test_a_mistake_under_the_launcher_is_told_once(home, finished, tmp_path):
    status, _, errors = launch(home, tmp_path / "out", f"--train_file {tmp_path}/missing")
    told = [line for line in errors.split("\n") if line.startswith("run_clm.py: ")]
    assert status == 2 and len(told) == 1 and "missing: no such directory" in told[0] and "Traceback" not in errors
