"""Runs of stage 2 on lists of token ids: the flags, the sets they name, what a kill leaves."""

import shlex
import shutil
import socket
import subprocess

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, List, Value
from transformers import GPTNeoConfig

from memorization.encoding.kinds import OF_ENCODING
from memorization.models import hub
from memorization.models.trained import RECORD
from memorization.store import fingerprints, manifests
from memorization.store.files import write_json
from memorization.training.token_blocks import COLUMNS
from support.command_line import ROOT
from support.tiny_models import save_word_tokenizer

FEATURES = Features({name: List(Value("int64")) for name in COLUMNS})


EOS = 0


KINDS = {"train": "training set", "test": "held-out set"}


TRAIN = (
    "--num_train_epochs 2 --per_device_train_batch_size 4 --gradient_accumulation_steps 2 --learning_rate 1e-2 --seed 5"
)


EVERY_STEP = ("--save_strategy", "steps", "--save_steps", "1")


def write_set(directory, kind, ids, labels=None, texts=None, **made_of):
    """A set of lists of token ids as stage 1 writes it, with its manifest."""
    names = [str(number) for number in range(len(ids))]
    rows = {"id": names, "text": texts or names, "input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
    Dataset.from_dict({**rows, "labels": labels or ids}).save_to_disk(str(directory))
    manifests.write_manifest(directory, OF_ENCODING[kind], made_of, {}, rows=len(ids))
    return directory


def write_home(home):
    """A tokenizer and a GPT-Neo configuration with dropout, `small`, and the two sets of each of two encodings."""
    tokenizer = save_word_tokenizer(home / "small", 64)
    GPTNeoConfig(
        hidden_size=32, num_layers=2, num_heads=2, attention_types=[[["global", "local"], 1]], window_size=8,
        max_position_embeddings=32, resid_dropout=0.1, embed_dropout=0.1, attention_dropout=0.1,
    ).save_pretrained(home / "small")  # fmt: skip
    rng = np.random.default_rng(1)
    for name, rows in (("train", 37), ("test", 7)):
        ids = [[*rng.integers(1, 64, length).tolist(), EOS] for length in rng.integers(3, 40, rows)]
        for encoding in ("data", "other"):
            facts = {"tokenizer": fingerprints.tokenizer_fingerprint(tokenizer), "encoding": encoding}
            write_set(home / f"{encoding}_{name}", KINDS[name], ids, **facts)
    return home


def write_more(home):
    """The two sets of a further encoding, "more", whose samples all begin with token 1."""
    tokenizer = fingerprints.tokenizer_fingerprint(hub.load_tokenizer(home / "small"))
    rng = np.random.default_rng(5)
    for name, rows in (("train", 12), ("test", 3)):
        ids = [[1, *rng.integers(2, 64, 9).tolist(), EOS] for _ in range(rows)]
        labels = [f"more {KINDS[name]} {number}" for number in range(rows)]
        write_set(home / f"more_{name}", KINDS[name], ids, texts=labels, tokenizer=tokenizer, encoding="more")
    return home


def flags(home, output_dir, more=TRAIN, encoding="data"):
    data = f"--train-file {home}/{encoding}_train --validation-file {home}/{encoding}_test"
    return shlex.split(f"--config_name {home}/small {data} --output_dir {output_dir} {more}")


def everything(directory):
    """The bytes of all files in a directory and below, and of its manifest."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    manifest = manifests.manifest_path(directory)
    return {path: path.read_bytes() for path in [*files, *([manifest] if manifest.is_file() else [])]}


def as_killed(source, output, *steps):
    """An output directory as a kill leaves it: the record of the run and these checkpoints."""
    output.mkdir()
    shutil.copy(source / RECORD, output)
    for step in steps:
        shutil.copytree(source / f"checkpoint-{step}", output / f"checkpoint-{step}")
    return output


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def two_ranks(test):
    """A slow test that needs two GPUs or none."""
    return pytest.mark.slow(pytest.mark.skipif(torch.cuda.device_count() == 1, reason="needs two GPUs or none")(test))


def launch(programs, directory, flags):
    """Run stage 2 with each of these flags, on two ranks: (status, stdout, stderr). programs: of warm_python."""
    write_json(directory / "runs.json", [shlex.split(line) for line in flags])
    launcher = f"{programs}/deepspeed --num_gpus=2 --master_port {free_port()} tests/support/launched_runs.py"
    command = [*launcher.split(), str(directory / "runs.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr
