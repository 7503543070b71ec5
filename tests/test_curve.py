"""The curve: figures that stage 3 would find, training that knows nothing of them, the same rows after a kill."""

import json
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import run_clm
from memorization.encoding.kinds import TRAINING_SET
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.probes import Probes
from memorization.extraction import teacher_forcing
from memorization.extraction.decoding import continue_prefixes
from memorization.extraction.matches import matched_tokens
from memorization.models.trained import RECORD
from memorization.shell import cli
from memorization.store import manifests
from memorization.store.files import read_json, write_json
from memorization.training import memorization_curve
from memorization.training.memorization_curve import Curve, read_curve_probes
from support.command_line import ROOT, read_jsonl, run_script
from support.stage_commands import TOKENIZER
from support.tiny_models import save_language_model
from support.training_runs import as_killed, launch, two_ranks

TRAIN = "--per_device_train_batch_size 8 --num_train_epochs 2 --learning_rate 1e-2 --seed 5 --save_strategy steps"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two encodings of dialogues, a small model, and its training on one of them, with a curve."""
    home = tmp_path_factory.mktemp("home")
    (home / "d.json").write_text(json.dumps(make_dialogues(seed=3, single=24, fourfold=2, sixteenfold=1)))
    for seed in (1, 2):
        flags = "--data", home / "d.json", "--seed", seed, "--test-size", 0.3, "--output-dir", home / f"data-{seed}"
        assert run_script("encode_dialogue.py", *flags) == 0
    save_language_model(home / "base", TOKENIZER)
    run_clm.main(argv(home, home / "whole"))
    return home


def argv(home, output, more="", probes="data-1/tokenized_dialogue_prefix", train=TRAIN):
    data = f"--train-file {home}/data-1/tokenized_dialogue_train --model-name-or-path {home}/base"
    data += f" --validation-file {home}/data-1/tokenized_dialogue_test --save_steps 3"
    curve = f"--memorization-probes {home}/{probes} --memorization-samples 4" if probes else ""
    return shlex.split(f"{data} {train} {curve} --output-dir {output} {more}")


def sample_of(home, number, model=None, **more):
    data = {
        "memorization_probes": str(home / "data-1" / "tokenized_dialogue_prefix"),
        "prefix_length": None,
        "probe": None,
    }
    manifest = manifests.read_manifest(home / "data-1" / "tokenized_dialogue_train", TRAINING_SET)
    model = model or AutoModelForCausalLM.from_pretrained(home / "base")
    return read_curve_probes(SimpleNamespace(**data | {"memorization_samples": number} | more), [manifest], model)


def expected(model, sample):
    """The figures of a model, each probe alone: greedy decoding as stage 3 does it, and the loss by hand."""
    measured = {True: [], False: []}
    for member, prefix, suffix in zip(sample.members.tolist(), sample.prefixes, sample.suffixes, strict=True):
        tokens = continue_prefixes(model, [prefix], len(suffix), [model.config.eos_token_id])[0]
        if suffix[-1] == model.config.eos_token_id and tokens == suffix[:-1]:
            tokens.append(suffix[-1])  # decoding ends there
        with torch.no_grad():
            log_probs = model(torch.tensor([prefix + suffix])).logits[0, len(prefix) - 1 : -1].log_softmax(-1)
        loss = -log_probs[torch.arange(len(suffix)), suffix].mean().item()
        matched = matched_tokens(tokens, suffix)
        measured[member].append((matched >= 50 if len(suffix) >= 50 else np.nan, matched, loss))
    names = "exact_50", "matched_tokens", "loss"
    return {
        f"{name}_{side}": value
        for member, side in ((True, "members"), (False, "held_out"))
        for name, value in zip(names, np.nanmean(np.array(measured[member], float), 0), strict=True)
    }


@pytest.mark.parametrize("at_once", [3, 64])
def test_the_figures_are_what_stage_3_would_find(home, at_once):
    model = AutoModelForCausalLM.from_pretrained(home / "base").train()
    sample = sample_of(home, 5)
    for i, (prefix, length) in enumerate(zip(sample.prefixes[:6], (100, 60, 50, 49, 20, 100), strict=True)):
        decoded = continue_prefixes(model.eval(), [prefix], length, [-1])[0]
        sample.suffixes[i] = [*decoded[:45], 7, *decoded[46:]] if i == 5 else decoded
    args = SimpleNamespace(world_size=1, process_index=0, device="cpu", per_device_eval_batch_size=at_once)
    trainer = SimpleNamespace(model=model.train(), args=args, accelerator=SimpleNamespace(gather=lambda rows: rows))
    figures = Curve(trainer, sample, None)._figures()
    assert model.training and figures == pytest.approx(expected(model.eval(), sample), rel=1e-4)
    assert 0 < figures["exact_50_members"] < 1 and figures["matched_tokens_members"] > 1


def test_the_first_row_is_of_the_model_before_and_the_last_of_that_which_is_saved(home):
    rows = read_jsonl(home / "whole" / "memorization.jsonl")
    sample = sample_of(home, 4)
    for row, name in ((rows[0], "base"), (rows[-1], "whole")):
        model = AutoModelForCausalLM.from_pretrained(home / name).eval()
        assert {key: row[key] for key in row.keys() - {"epoch", "step"}} == pytest.approx(
            expected(model, sample), rel=1e-4
        )


def test_the_figures_are_logged_as_the_trainers_metrics_at_each_evaluation(home):
    rows = read_jsonl(home / "whole" / "memorization.jsonl")
    assert [(row["epoch"], row["step"]) for row in rows] == [(0, 0), (1, 5), (2, 10)]
    last = read_json(home / "whole" / "checkpoint-10" / "trainer_state.json")["log_history"]
    logged = [entry for entry in last if "eval_memorization_loss_held_out" in entry]
    assert [(entry["step"], entry["eval_memorization_loss_held_out"]) for entry in logged] == [
        (row["step"], row["loss_held_out"]) for row in rows
    ]


def test_the_sample_is_fixed_of_both_sides_and_longest_first(home):
    sample, again = (sample_of(home, 5) for _ in range(2))
    assert sample.prefixes == again.prefixes and sample.members.sum() == 5 and len(sample.members) == 10
    lengths = [len(p) + len(s) for p, s in zip(sample.prefixes, sample.suffixes, strict=True)]
    assert lengths == sorted(lengths, reverse=True)
    by_prefix = {tuple(probe["prefix_ids"]): probe["member"] for probe in Probes(home / "data-1", "dialogue")[:]}
    assert [by_prefix[tuple(prefix)] for prefix in sample.prefixes] == sample.members.tolist()
    shorter = sample_of(home, 5, prefix_length=20)
    assert {*map(len, shorter.prefixes)} == {20} and shorter.made_of["prefix_length"] == 20
    targets = sample_of(home, 5, prefix_length=10, probe="target")
    by_prefix = {tuple(probe["prefix_ids"]): probe for probe in Probes(home / "data-1", "dialogue", 10, "target")[:]}
    chosen = [by_prefix[tuple(prefix)] for prefix in targets.prefixes]
    assert [probe["suffix_ids"][:100] for probe in chosen] == targets.suffixes and targets.made_of["probe"] == "target"
    assert [probe["member"] for probe in chosen] == targets.members.tolist()


def test_training_is_the_same_without_it(home, tmp_path):
    run_clm.main(argv(home, tmp_path / "without", probes=None))
    for name in ("model.safetensors", "losses.jsonl", RECORD):
        assert (tmp_path / "without" / name).read_bytes() == (home / "whole" / name).read_bytes()
    assert not (tmp_path / "without" / "memorization.jsonl").exists()


@pytest.mark.parametrize("more", ["", "--memorization_steps 2 --memorization_samples 3", "--eval_strategy no"])
def test_a_killed_run_ends_in_the_same_rows(home, tmp_path, more, capsys):
    whole = tmp_path / "whole" if more else home / "whole"
    if more:
        run_clm.main(argv(home, whole, more))
    steps = sorted(int(path.name.split("-")[1]) for path in whole.glob("checkpoint-*"))
    if "steps" in more:
        wanted = [*range(0, steps[-1], 2), steps[-1]]
        assert [row["step"] for row in read_jsonl(whole / "memorization.jsonl")] == wanted
    for step in steps[:: len(steps) - 1] if not more else steps[:1]:  # within an epoch, and at the end
        output = as_killed(whole, tmp_path / f"killed-{step}", step)
        run_clm.main(argv(home, output, more))
        for name in ("memorization.jsonl", "losses.jsonl"):
            assert (output / name).read_bytes() == (whole / name).read_bytes(), step
    assert "step 0: 50 tokens exact, members and held out: 0.0%, 0.0%" in capsys.readouterr().out or not more


def test_a_curve_is_gone_on_with_as_it_was_begun(home, tmp_path, capsys):
    output = as_killed(home / "whole", tmp_path / "killed", 3)
    with pytest.raises(cli.UserError, match=r"killed: its curve was begun with other samples \(4, not 3\); give"):
        run_clm.main(argv(home, output, "--memorization_samples 3"))
    plain = tmp_path / "plain"
    run_clm.main(argv(home, plain, "--max_steps 4", probes=None))
    run_clm.main(argv(home, plain, "--max_steps 4"))
    assert "it has no curve, which is measured while a model trains" in capsys.readouterr().out
    assert not (plain / "memorization.jsonl").exists()
    later = as_killed(plain, tmp_path / "later", 3)
    run_clm.main(argv(home, later, "--max_steps 4"))  # from there on
    assert [row["step"] for row in read_jsonl(later / "memorization.jsonl")] == [4]


def test_probes_that_do_not_fit_are_told(home, tmp_path):
    save_language_model(home / "short", TOKENIZER, context=128)
    for probes, more, message in [
        ("data-2/tokenized_dialogue_prefix", "", r"prefix: are of another encoding \(\w{16}\) than what is trained on"),
        ("data-1/tokenized_dialogue_train", "", "train: is not of the name tokenized_<name>_prefix; name the probes"),
        ("data-3/tokenized_dialogue_prefix", "", "prefix: no such file or directory"),
        ("data-1/tokenized_dialogue_prefix", f"--model-name-or-path {home}/short", "100 of a suffix are more than the"),
    ]:
        with pytest.raises(cli.UserError, match=message):
            run_clm.main(argv(home, tmp_path / "out", more, probes))
        assert not (tmp_path / "out").exists()


def test_tokens_beyond_the_vocabulary_are_told_those_of_held_out_probes_too(home):
    greatest = Probes(home / "data-1", "dialogue").greatest_id
    model = AutoModelForCausalLM.from_pretrained(home / "base")
    model.resize_token_embeddings(greatest + 1)
    assert len(sample_of(home, 4, model).members) == 8
    model.resize_token_embeddings(greatest)
    with pytest.raises(
        cli.UserError, match=f"token id {greatest} is beyond the model's vocabulary of {greatest}; name"
    ):
        sample_of(home, 4, model)


@pytest.mark.parametrize(("limit", "number"), [("READ", 500), ("HELD", 500 * 2048)])
def test_a_batch_is_a_single_pass_so_that_each_rank_has_as_many(home, tmp_path, monkeypatch, limit, number):
    passes, whole = [], teacher_forcing._read

    def scored(*arguments, **options):
        passes.append(0)
        return teacher_forcing.token_scores(*arguments, **options)

    def one(*arguments):
        passes[-1] += 1
        return whole(*arguments)

    monkeypatch.setattr(memorization_curve, "token_scores", scored)
    monkeypatch.setattr(teacher_forcing, "_read", one)
    monkeypatch.setattr(teacher_forcing, limit, number)
    run_clm.main(argv(home, tmp_path / "out", "--max_steps 1"))
    assert len(passes) > 4 and set(passes) == {1}


@two_ranks
def test_ranks_share_the_probes_also_under_zero_3_and_pack_alike(warm_python, home, tmp_path):
    zero_3 = read_json(ROOT / "ds_config_zero3.json")
    zero_3["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    write_json(tmp_path / "zero3.json", zero_3)
    more = "--max_steps 3 --per_device_train_batch_size 2 --packing --block_size 256 --memorization_samples 7"
    runs_of = {"zero3": f"--deepspeed {tmp_path}/zero3.json", "plain": ""}
    lines = [shlex.join(argv(home, tmp_path / name, f"{more} {engine}")) for name, engine in runs_of.items()]
    status, _, errors = launch(warm_python, tmp_path, lines)
    assert status == 0, errors[-3000:]
    run_clm.main(argv(home, tmp_path / "one", f"{more} --per_device_train_batch_size 4"))
    rows = {name: read_jsonl(tmp_path / name / "memorization.jsonl") for name in (*runs_of, "one")}
    losses = {name: read_jsonl(tmp_path / name / "losses.jsonl") for name in (*runs_of, "one")}
    for name in runs_of:
        for shared, alone in ((rows[name], rows["one"]), (losses[name], losses["one"])):
            assert len(shared) == len(alone)
            for row, other in zip(shared, alone, strict=True):
                assert row == pytest.approx(other, rel=1e-3), name
