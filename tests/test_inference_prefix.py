"""Stage 3: generations against step-by-step decoding, every probe once, and the same bytes however it ran."""

import random
import subprocess
import sys

import pytest
import torch
from models import gpt_neo_config, save_language_model
from shell import ROOT, one_line, run_script
from transformers import GPTNeoForCausalLM

from memorization.encoding.dialogues import make_dialogues
from memorization.encoding.probes import read_probes
from memorization.extraction.generation import continue_prefixes
from memorization.extraction.listing import read_listing
from memorization.files import read_jsonl, write_json
from memorization.hub import load_tokenizer

TOKENIZER = ROOT / "configs" / "gpt-neo-small"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Stage 1's output for 11 dialogues and a random model."""
    path = tmp_path_factory.mktemp("stage")
    write_json(path / "d.json", make_dialogues(seed=2, single=11, fourfold=0, sixteenfold=0))
    assert run_script("encode_dialogue.py", "--data", path / "d.json", "--output-dir", path, "--test-size", "0.3") == 0
    save_language_model(path / "model", TOKENIZER)
    return path


def command(stage, out, *flags):
    paths = ["--model-path", stage / "model", "--tokenized-dir", stage, "--output-dir", out]
    return [*paths, "--max-new-tokens", "12", "--batch-size", "4", *flags]


def result(out):
    return out / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"


@pytest.fixture(scope="module")
def finished(stage):
    assert run_script("inference_prefix.py", *command(stage, stage / "whole")) == 0
    return result(stage / "whole")


def test_greedy_batches_equal_one_token_at_a_time():
    torch.manual_seed(1)
    eos, limit = 5, 20
    model = GPTNeoForCausalLM(gpt_neo_config(8, eos)).eval()
    with torch.no_grad():  # larger weights, so that generations differ and some meet the end-of-text token
        for weights in model.parameters():
            weights.mul_(4)
    rng = random.Random(1)
    prefixes = [[rng.choice([0, 1, 2, 3, 4, 6, 7]) for _ in range(rng.randint(3, 9))] for _ in range(40)]
    slow = []
    for prefix in prefixes:
        ids = list(prefix)
        while len(ids) < len(prefix) + limit:
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            if token == eos:
                break
            ids.append(token)
        slow.append(ids[len(prefix) :])
    assert {0 < len(row) < limit for row in slow} == {True, False}  # both ended early and at the limit
    assert continue_prefixes(model, prefixes, limit, eos) == slow


def test_every_probe_has_a_row_with_its_texts_and_metrics(stage, finished):
    rows, probes = read_jsonl(finished), read_probes(stage / "dialogue_prefix.json")
    assert [{name: row[name] for name in probes[0]} for row in rows] == probes
    assert len(rows) == 11  # the last batch of 4 is not full
    tokenizer = load_tokenizer(TOKENIZER)
    for row in rows:
        assert row["generation"] == tokenizer.decode(row["generation_ids"])
        assert row["generation_ids"] and len(row["generation_ids"]) <= 12
        assert not row["generation"].startswith(row["prefix"])
    assert read_listing(finished.with_suffix(".txt")) == {row["id"]: row["generation"] for row in rows}


def test_a_killed_run_goes_on_and_gives_the_same_bytes(stage, finished, tmp_path, capsys, monkeypatch):
    calls = []

    def killed_at_the_third_batch(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return continue_prefixes(*args)

    monkeypatch.setattr("memorization.extraction.generation.continue_prefixes", killed_at_the_third_batch)
    assert run_script("inference_prefix.py", *command(stage, tmp_path)) == 130
    assert not result(tmp_path).exists()
    assert run_script("inference_prefix.py", *command(stage, tmp_path)) == 0
    assert "8 of them done before" in capsys.readouterr().out
    assert len(calls) == 4
    assert result(tmp_path).read_bytes() == finished.read_bytes()


def test_two_ranks_give_the_same_bytes_as_one(stage, finished, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", ROOT / "inference_prefix.py"]
    subprocess.run([*torchrun, *command(stage, tmp_path)], check=True, capture_output=True)
    assert result(tmp_path).read_bytes() == finished.read_bytes()


def test_sampling_depends_on_the_seed_alone(stage, finished, tmp_path):
    rows = {}
    for name, seed in {"a": 1, "b": 1, "c": 2}.items():
        flags = ["--temperature", "1", "--top-k", "50", "--seed", seed]
        assert run_script("inference_prefix.py", *command(stage, tmp_path / name, *flags)) == 0
        rows[name] = result(tmp_path / name).read_bytes()
    assert rows["a"] == rows["b"] != rows["c"]


def test_a_context_too_short_is_named(stage, tmp_path, capsys):
    assert run_script("inference_prefix.py", *command(stage, tmp_path, "--max-new-tokens", "207")) == 2
    assert "50 + 207" in one_line(capsys)
    assert not result(tmp_path).parent.exists()


def test_another_tokenizer_than_the_probes_is_refused(stage, tmp_path, capsys):
    other = tmp_path / "other"
    tokenizer = load_tokenizer(TOKENIZER)
    tokenizer.add_tokens(["hippocampus"])
    tokenizer.save_pretrained(other)
    assert run_script("inference_prefix.py", *command(stage, tmp_path, "--token-path", other)) == 2
    assert "another tokenizer" in one_line(capsys)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--model-path", "no/such-model"], "no/such-model"),
        (["--subset-name", "nothing"], "nothing_prefix.json"),
        (["--batch-size", "0"], "--batch-size 0"),
        (["--top-p", "1.5"], "--top-p 1.5"),
    ],
)
def test_a_mistake_gets_one_line(stage, tmp_path, capsys, flags, named):
    assert run_script("inference_prefix.py", *command(stage, tmp_path, *flags)) == 2
    assert named in one_line(capsys)
    assert not result(tmp_path).parent.exists()
