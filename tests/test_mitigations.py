"""Stage 2: which tokens get loss, by the goldfish mask and on the output alone; LoRA; what each does to the loss."""

import shutil
import sys

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import run_clm
from memorization.encoding.kinds import OF_ENCODING
from memorization.models import hub
from memorization.models.loading import load_config
from memorization.models.trained import held_out_perplexities, model_made_of
from memorization.shell import cli
from memorization.store import fingerprints, manifests
from memorization.store.files import read_json
from memorization.training.canary_loss import describe_canaries, tokens_with_loss
from memorization.training.lora import add_adapters, merge_adapters
from memorization.training.mitigations import CONTEXT, PART, goldfish_dropped, loss_mask
from memorization.training.token_blocks import IGNORED, collate, read_block_set
from support.command_line import read_jsonl
from support.training_runs import EOS, EVERY_STEP, TRAIN, as_killed, flags, write_set


def by_hand(context, k):
    """Whether the token after a context is dropped: the same hash in Python's own whole numbers."""
    mixed = 0
    for token in context:
        mixed ^= token + 1
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            mixed = (mixed ^ (mixed >> 33)) * factor % 2**64
        mixed ^= mixed >> 33
    return mixed < 2**64 // k


def dropped(rows, k):
    lengths = [len(row) for row in rows]
    places = np.concatenate([np.arange(length) for length in lengths])
    return np.split(goldfish_dropped(np.concatenate(rows), places, k), np.cumsum(lengths)[:-1])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 60_000), min_size=1, max_size=40), min_size=1, max_size=4), st.integers(2, 9))
def test_a_hash_of_the_thirteen_tokens_before_decides(rows, k):
    for row, drops in zip(rows, dropped([np.array(row) for row in rows], k), strict=True):
        wanted = [at >= CONTEXT and by_hand(row[at - CONTEXT : at], k) for at in range(len(row))]
        assert drops.tolist() == wanted


def test_one_token_in_k_is_dropped_and_the_same_in_every_copy():
    rng = np.random.default_rng(0)
    text = rng.integers(0, 50_000, 500)
    rows = [text, np.concatenate([rng.integers(0, 50_000, 77), text]), rng.integers(0, 50_000, 2 * PART)]
    one, other, long = dropped(rows, 4)
    assert one[CONTEXT:].tolist() == other[77 + CONTEXT :].tolist() and not one[:CONTEXT].any()
    assert long.mean() == pytest.approx(1 / 4, abs=4 * np.sqrt(3 / 16 / len(long)))
    around = long[PART - 50 : PART + 50]  # where one part of the work ends
    assert around.tolist() == [by_hand(rows[2][at - CONTEXT : at].tolist(), 4) for at in range(PART - 50, PART + 50)]


def test_both_leave_out_what_either_does():
    rng = np.random.default_rng(1)
    lengths, target = np.array([40, 5, 60]), np.array([20, 0, 59])
    ids = rng.integers(0, 99, lengths.sum())
    is_output = np.concatenate([np.arange(length) >= begin for length, begin in zip(lengths, target, strict=True)])
    output = loss_mask(ids, lengths, is_output)
    assert [part.nonzero()[0].tolist() for part in np.split(output, np.cumsum(lengths)[:-1])] == [
        [*range(20, 40)], [*range(5)], [59],
    ]  # fmt: skip
    assert (loss_mask(ids, lengths, is_output, 2) == (output & loss_mask(ids, lengths, None, 2))).all()


# ---- the loss


@pytest.fixture(scope="module")
def sets(home):
    """A training and a held-out set that say where outputs begin, and a base model to adapt."""
    tokenizer = fingerprints.tokenizer_fingerprint(hub.load_tokenizer(home / "small"))
    rng = np.random.default_rng(2)
    for name, kind, rows in (("train", "training set", 24), ("test", "held-out set", 6)):
        ids = [[*rng.integers(1, 64, length).tolist(), EOS] for length in rng.integers(20, 40, rows)]
        target = [len(row) // 2 if at % 3 else 35 * (at % 2) for at, row in enumerate(ids)]
        directory = home / f"output_{name}"
        write_set(directory, kind, ids, tokenizer=tokenizer)
        triples = [[begin, len(row) - 1, len(row)] for begin, row in zip(target, ids, strict=True)]
        rows = Dataset.load_from_disk(str(directory)).add_column("targets", triples)
        columns = {column: rows[column] for column in rows.column_names}
        shutil.rmtree(directory)
        Dataset.from_dict(columns).save_to_disk(str(directory))
        manifests.write_manifest(directory, OF_ENCODING[kind], {"tokenizer": tokenizer}, {}, rows=len(ids))
    run_clm.main(flags(home, home / "base", "--max_steps 2", "output"))
    return home


def tuned(home, output, more=""):
    argv = flags(home, output, f"{TRAIN} {more}", "output")
    return ["--model_name_or_path", f"{home}/base", *argv[2:]]


@pytest.mark.parametrize(("loss_on", "k"), [("output", None), ("all", 3), ("output", 2)])
def test_the_loss_is_the_mean_over_the_tokens_that_are_learned(sets, loss_on, k):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=32)).eval()
    rows = Dataset.load_from_disk(str(sets / "output_train"))
    blocks = read_block_set(sets / "output_train", 64, 32, "cut", loss_on, k)
    batch = collate([blocks[number] for number in range(len(blocks))], EOS)
    losses, left_out = [], 0
    for row in rows:
        ids, target = row["input_ids"][:32], row["targets"][0] if loss_on == "output" else 0
        of_row = cross_entropy(model(torch.tensor([ids])).logits[0, :-1], torch.tensor(ids[1:]), reduction="none")
        kept = [
            at >= target and not (k and at >= CONTEXT and by_hand(ids[at - CONTEXT : at], k))
            for at in range(1, len(ids))
        ]
        losses += of_row[kept].tolist()
        left_out += not any(kept)
    assert model(**batch).loss.item() == pytest.approx(np.mean(losses), abs=1e-5)
    assert len(losses) == (batch["labels"][:, 1:] != IGNORED).sum() and len(blocks) == len(rows) - left_out


def test_evaluation_counts_all_tokens_and_those_of_the_output(sets, tmp_path, capsys):
    """Training on the output, or on some tokens, does not change of which tokens the held-out loss is."""
    run_clm.main(tuned(sets, tmp_path / "out", "--loss_on output --goldfish_k 3"))
    printed = capsys.readouterr().out
    counted = loss_mask(*arrays(sets / "output_train"), goldfish_k=3)
    assert "output_train: 24 samples, " in printed and f"; {counted.sum()} of {len(counted)} tokens get loss" in printed
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    every, output = [], []
    for row in Dataset.load_from_disk(str(sets / "output_test")):
        ids = torch.tensor(row["input_ids"][:32])
        losses = cross_entropy(model(ids[None]).logits[0, :-1], ids[1:], reduction="none").tolist()
        every += losses
        output += losses[max(row["targets"][0] - 1, 0) :]
    figures = read_json(tmp_path / "out" / "eval_results.json")
    assert figures["eval_loss"] == pytest.approx(np.mean(every), rel=1e-5)
    assert figures["eval_output_loss"] == pytest.approx(np.mean(output), rel=1e-5)
    assert figures["eval_output_perplexity"] == pytest.approx(np.exp(np.mean(output)), rel=1e-5)
    last = read_jsonl(tmp_path / "out" / "losses.jsonl")[-1]
    assert last["eval_output_loss"] == figures["eval_output_loss"] and last["eval_loss"] == figures["eval_loss"]
    wanted = {name: figures[f"eval_{name}"] for name in ("perplexity", "output_perplexity")}
    assert held_out_perplexities(tmp_path / "out") == wanted
    assert held_out_perplexities(tmp_path / "out" / "checkpoint-6") == wanted


def arrays(directory):
    rows = Dataset.load_from_disk(str(directory))
    return (
        np.concatenate(rows["input_ids"]),
        np.array([len(row) for row in rows["input_ids"]]),
        np.concatenate(
            [np.arange(len(row["input_ids"])) >= row["targets"][0] for row in rows],
        ),
    )


def test_loss_on_the_output_needs_to_know_where_it_begins(home, tmp_path):
    with pytest.raises(cli.UserError, match="data_train: does not say where outputs begin; run encode_<task>.py"):
        run_clm.main([*flags(home, tmp_path / "out"), "--loss-on", "output"])


def test_a_canary_is_told_how_many_of_its_tokens_get_loss(home, tmp_path):
    secret = [9, 8, 7, 6]
    ids = [[1, 2, 3, EOS], [*range(20, 40), *secret, EOS]]
    planted = {"copies": [1], "digits": 4, "tokens_a_digit": 1, "closing": 1}
    directory = write_set(tmp_path / "set", "training set", ids)
    counts = tokens_with_loss(read_block_set(directory, 64, 32, "cut"), planted)
    assert counts.tolist() == [[24, 4]]
    drops = [by_hand(ids[1][at - CONTEXT : at], 2) for at in range(CONTEXT, 25)]
    counts = tokens_with_loss(read_block_set(directory, 64, 32, "cut", goldfish_k=2), planted)
    assert counts.tolist() == [[24 - sum(drops), 4 - sum(drops[-5:-1])]] and sum(drops[-5:-1])
    for row in ids:
        row[-1] = 63
    rows = Dataset.from_dict({"input_ids": ids, "labels": ids, "targets": [[2, 3, 4], [24, 24, 25]]})
    rows.save_to_disk(str(tmp_path / "behind"))
    with pytest.raises(cli.UserError, match="1 of 1 canaries: no digit of the secret gets loss .* --loss-on"):
        describe_canaries(read_block_set(tmp_path / "behind", 64, 32, "cut", "output"), planted)


# ---- LoRA


def gpt2(width=16):
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=width, n_layer=2, n_head=2, n_positions=32))


@pytest.mark.parametrize("family", ["gpt2", "gpt_neo"])
def test_merging_is_what_peft_does_and_what_the_adapted_model_says(sets, family):
    """GPT-2 keeps its weights transposed; some are square, so that their shape does not tell."""
    base = gpt2() if family == "gpt2" else AutoModelForCausalLM.from_pretrained(sets / "base")
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    adapted = add_adapters(base, 3, seed=1)
    trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert trained and all(".lora_" in name for name in trained) and not any("lm_head" in name for name in trained)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:  # of zeros at first
            torch.nn.init.normal_(weight)
    ids = torch.tensor([[5, 9, 2, 7, 7]])
    logits = adapted.eval()(input_ids=ids).logits
    plain = merge_adapters(adapted.state_dict(), adapted)
    assert plain.keys() == before.keys()
    changed = {name for name, weight in plain.items() if not torch.equal(weight, before[name])}
    assert len(changed) == len(trained) // 2
    merged_by_peft = adapted.merge_and_unload()
    for name, weight in merged_by_peft.state_dict().items():
        assert torch.allclose(plain[name], weight, atol=1e-6), name
    assert torch.allclose(merged_by_peft.eval()(input_ids=ids).logits, logits, atol=1e-4)


def test_a_lora_run_trains_adapters_alone_ends_in_a_plain_model_and_goes_on_after_a_kill(sets, tmp_path):
    argv = [*tuned(sets, tmp_path / "whole", "--lora_rank 2 --gradient_checkpointing"), *EVERY_STEP]
    run_clm.main(argv)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "whole").eval()
    base = AutoModelForCausalLM.from_pretrained(sets / "base")
    unlike = {}
    for (name, one), other in zip(model.named_parameters(), base.parameters(), strict=True):
        if not torch.equal(one, other):
            unlike[name] = torch.linalg.matrix_rank((one - other).detach(), rtol=1e-3).item()
    assert len(unlike) == 12 and set(unlike.values()) == {2}  # k, v, q, out, fc and proj of two layers
    assert not list((tmp_path / "whole").glob("adapter*"))
    assert model_made_of(tmp_path / "whole")["lora_rank"] == 2
    with pytest.raises(cli.UserError, match=r"checkpoint-4: holds an adapter \(LoRA\) of .* merge the two"):
        load_config(tmp_path / "whole" / "checkpoint-4")
    losses = []
    for row in Dataset.load_from_disk(str(sets / "output_test")):
        ids = torch.tensor(row["input_ids"][:32])
        losses.append(cross_entropy(model(ids[None]).logits[0, :-1], ids[1:], reduction="none"))
    figures = read_json(tmp_path / "whole" / "eval_results.json")
    assert figures["eval_loss"] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
    output = as_killed(tmp_path / "whole", tmp_path / "killed", 4)
    run_clm.main([*argv, "--output_dir", str(output)])
    for name in ("model.safetensors", "losses.jsonl", "config.json"):
        assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_what_is_trained_and_how_belongs_to_the_run(sets, tmp_path):
    run_clm.main([*tuned(sets, tmp_path / "out"), "--max_steps", "1"])
    before = manifests.manifest_path(tmp_path / "out").read_bytes()
    for more, message in {
        "--lora_rank 2": "lora_rank (unknown, not 2)",
        "--goldfish_k 4": "goldfish_k (unknown, not 4)",
        "--loss_on output": "loss_on (all, not output)",
    }.items():
        with pytest.raises(cli.UserError) as error:
            run_clm.main([*tuned(sets, tmp_path / "out"), "--max_steps", "1", *more.split()])
        assert message in str(error.value)
    assert manifests.manifest_path(tmp_path / "out").read_bytes() == before


def test_mistakes_with_lora_are_told(sets, tmp_path, monkeypatch):
    with pytest.raises(cli.UserError, match="--lora-rank: adapts a model that is trained; name one by --model-name"):
        run_clm.main([*flags(sets, tmp_path / "out"), "--lora-rank", "2"])
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(cli.UserError, match="--lora-rank: peft is not installed; pip install peft, or leave"):
        run_clm.main(tuned(sets, tmp_path / "out", "--lora-rank 2"))
    assert not (tmp_path / "out").exists()
