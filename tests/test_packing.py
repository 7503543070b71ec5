"""Packing and batches of one length: what shares a row or a batch, and that no sample's loss knows of it."""

import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, OPTConfig
from transformers.trainer_pt_utils import get_length_grouped_indices

import run_clm
from memorization.models import hub
from memorization.models.trained import model_made_of
from memorization.shell import cli
from memorization.store import manifests
from memorization.store.files import read_json
from memorization.training.length_grouping import LengthGroupedSampler
from memorization.training.losses import token_losses
from memorization.training.packing import PackingCheck, Packs, best_fit, collate_packs
from memorization.training.token_blocks import Blocks, collate
from support.command_line import read_jsonl
from support.tiny_models import MODELS, edited, make
from support.training_runs import EVERY_STEP, FEATURES, TRAIN, as_killed, flags

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=60)
WEIGHTS = "model.safetensors"


def blocks_of(lengths, block_size, seed=0):
    rng = np.random.default_rng(seed)
    ids = [rng.integers(1, 50, length).tolist() for length in lengths]
    return Blocks(Dataset.from_dict({"input_ids": ids, "labels": ids}, FEATURES), block_size)


# ---- packs


@given(LENGTHS)
def test_each_goes_to_the_fullest_pack_that_has_room(lengths):
    packs = best_fit(lengths, 12)
    spaces = {}  # by hand: of every pack that has been begun
    for length, pack in zip(lengths, packs.tolist(), strict=True):
        fitting = [space for space in spaces.values() if space >= length]
        assert (spaces[pack] == min(fitting)) if fitting else pack == len(spaces)
        spaces[pack] = spaces.get(pack, 12) - length


@settings(max_examples=20)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=40))
def test_every_block_is_in_one_pack_and_the_seed_decides_which(lengths):
    blocks = blocks_of(lengths, 16)
    packs = Packs(blocks, seed=1)
    assert sorted(np.concatenate(packs.members).tolist()) == list(range(len(blocks)))
    assert [len(block["input_ids"]) for block in blocks] == blocks.lengths.tolist()
    sizes = [sum(len(block["input_ids"]) for block in pack) for pack in packs]
    assert max(sizes) <= 16 and packs.full == pytest.approx(sum(sizes) / (16 * len(packs)))
    assert [members.tolist() for members in Packs(blocks, seed=1).members] == [m.tolist() for m in packs.members]


def test_another_seed_packs_otherwise():
    blocks = blocks_of(range(2, 17), 16)
    assert len({str(Packs(blocks, seed).members) for seed in range(5)}) == 5


def test_a_pack_is_a_row_whose_positions_restart_and_whose_first_tokens_have_no_label():
    packs = [[{"input_ids": [5, 6, 7], "labels": [5, -100, 7]}, {"input_ids": [8, 9], "labels": [8, 9]}]]
    packs.append([{"input_ids": [3, 4], "labels": [3, 4]}])
    batch = {name: tensor.tolist() for name, tensor in collate_packs(packs, pad_token_id=0).items()}
    assert batch == {
        "input_ids": [[5, 6, 7, 8, 9], [3, 4, 0, 0, 0]],
        "labels": [[-100, -100, 7, -100, 9], [-100, 4, -100, -100, -100]],
        "position_ids": [[0, 1, 2, 0, 1], [0, 1, 0, 0, 0]],
    }
    assert collate_packs(packs[1], 0).keys() == collate(packs[1], 0).keys()  # an evaluation's blocks


# ---- losses


RESTART = ["gpt2", "gpt-neo", "gpt-neox", "llama"]


@pytest.mark.parametrize("name", RESTART)
def test_a_sample_has_the_same_losses_packed_as_alone(name):
    model, packs = make(name), Packs(blocks_of([9, 4, 12, 7, 3, 8, 6, 5], 20), seed=0)
    assert max(map(len, packs.members)) > 2
    with torch.no_grad():
        batch = collate_packs(list(packs), pad_token_id=0)
        labels = batch.pop("labels")
        packed = token_losses(model(**batch, use_cache=False).logits, labels)[labels[:, 1:] != -100].tolist()
        alone = []
        for block in (block for pack in packs for block in pack):
            ids = torch.tensor([block["input_ids"]])
            alone += token_losses(model(ids).logits, ids)[0].tolist()
    assert packed == pytest.approx(alone, abs=1e-4)


def checked(model, blocks, precision="no", size=4):
    """PackingCheck on a model, as the Trainer calls it."""
    args = SimpleNamespace(per_device_train_batch_size=size, mixed_precision=precision)
    training = model.training
    PackingCheck([Packs(part, seed=0) for part in blocks], 0).on_train_begin(args, None, None, model=model)
    assert model.training == training


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_reads_the_samples_before_is_refused(name, precision):
    model = make(name).train()
    model = model.bfloat16() if precision == "bf16" else model
    blocks = [blocks_of([20], 20), blocks_of([9, 4, 12, 7, 3, 8, 6, 5], 20)]
    for size in (1, 4):
        if name in RESTART:
            checked(model, blocks, precision, size)
        else:
            with pytest.raises(cli.UserError, match=rf"--packing: in a pack this {model.config.model_type} model's lo"):
                checked(model, blocks, precision, size)
    checked(model, blocks[:1], precision)  # nothing is packed


# ---- runs


@pytest.fixture(scope="module")
def plain(home):
    """The tokenizer and a configuration without dropout, so that losses can be compared."""
    dropout = dict.fromkeys(("resid_dropout", "embed_dropout", "attention_dropout"), 0.0)
    edited(home / "small", home / "plain", dropout)
    return home / "plain"


def test_a_step_on_packs_is_a_step_on_the_same_samples(home, plain, tmp_path):
    """All samples in one step: the mean over tokens and what it does to the weights, packed and padded."""
    once = "--learning_rate 1e-2 --max_steps 1 --per_device_train_batch_size {} --gradient_accumulation_steps {}"
    for name, more in {"padded": once.format(37, 1), "packed": f"{once.format(6, 5)} --packing"}.items():
        run_clm.main([*flags(home, tmp_path / name, more), "--config_name", str(plain)])
    losses = [read_jsonl(tmp_path / name / "losses.jsonl")[0] for name in ("padded", "packed")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    padded, packed = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("padded", "packed"))
    for one, other in zip(padded.parameters(), packed.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)  # Adam's first step is the gradient's sign


def test_a_packed_run_says_so_goes_on_after_a_kill_and_is_another_run(home, finished, tmp_path, capsys):
    argv = [*flags(home, tmp_path / "whole", f"{TRAIN} --packing"), *EVERY_STEP]
    run_clm.main(argv)
    printed = capsys.readouterr().out
    blocks = Packs(blocks_of(Blocks(Dataset.load_from_disk(str(home / "data_train")), 32).lengths, 32), seed=5)
    assert f"packed into {len(blocks)} rows of 32 tokens, {blocks.full:.0%} full" in printed
    steps = read_json(tmp_path / "whole" / "train_results.json")["epoch"]
    assert steps == 2 and read_jsonl(tmp_path / "whole" / "losses.jsonl")[-1]["step"] == 2 * -(-len(blocks) // 8)
    made_of = model_made_of(tmp_path / "whole")
    assert made_of["packing"] is True and made_of["train_sampling_strategy"] == "random"
    for step in (1, 6):
        output = as_killed(tmp_path / "whole", tmp_path / f"killed-{step}", step)
        run_clm.main([*argv, "--output_dir", str(output)])
        for name in (WEIGHTS, "losses.jsonl"):
            assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(cli.UserError, match=r"finished: is of a run with another .*packing \(unknown, not True\)"):
        run_clm.main([*argv, "--output_dir", str(finished)])


def test_what_cannot_be_packed_is_told(home, tmp_path):
    config = OPTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=32, word_embed_proj_dim=16)
    for part in (config, hub.load_tokenizer(home / "small")):
        part.save_pretrained(home / "opt")
    argv = flags(home, tmp_path / "out", "--packing --block_size 32 --max_steps 1")
    with pytest.raises(cli.UserError, match="--packing: in a pack this opt model's losses differ from those of each"):
        run_clm.main([*argv, "--config_name", str(home / "opt")])
    assert not (tmp_path / "out" / WEIGHTS).exists() and not manifests.manifest_path(tmp_path / "out").exists()
    edited(home / "small", home / "endless", {"max_position_embeddings": None, "model_type": "bloom"})
    argv = f"--config_name {home}/endless --train_file {home}/data_train --output_dir {tmp_path}/endless --packing"
    with pytest.raises(cli.UserError, match="--packing: the model's configuration names no context; give"):
        run_clm.main(shlex.split(argv))
    for more in ("--packing", "--task_weights 1,2"):
        sets = f"--train_file {home}/data_train {home}/other_train"
        argv = (
            f"--config_name {home}/small {sets} --output_dir {tmp_path}/out --train_sampling_strategy sequential {more}"
        )
        with pytest.raises(cli.UserError, match=f"strategy: has no effect with {more.split()[0].replace('_', '-')}"):
            run_clm.main(shlex.split(argv))


# ---- batches of one length


@settings(max_examples=50)
@given(st.lists(st.integers(2, 500), min_size=1, max_size=300), st.integers(1, 5))
def test_an_epoch_has_every_sample_once_and_seed_and_epoch_decide_the_order(lengths, size):
    orders = {}
    for seed, epoch in ((7, 1), (7, 0), (8, 1), (7, 1)):
        sampler = LengthGroupedSampler(np.array(lengths), size, seed)
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(range(len(lengths))) == list(range(len(sampler)))
        assert orders.setdefault((seed, epoch), order) == order
    assert len(lengths) < 20 or len({str(order) for order in orders.values()}) == 3


def test_batches_of_one_length_are_padded_little_and_copies_of_a_text_are_dealt_apart():
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 500, 4003)
    lengths[:24] = 250  # copies of one text
    torch.manual_seed(0)
    own = np.array(get_length_grouped_indices(lengths.tolist(), 8))[:4000].reshape(-1, 8)  # of transformers
    at_random = rng.permutation(4003)[:4000].reshape(-1, 8)
    grouped = [*LengthGroupedSampler(lengths, 8, seed=0)]
    order = np.array(grouped[:4000]).reshape(-1, 8)
    padding = [1 - lengths[batches].sum() / (8 * lengths[batches].max(1).sum()) for batches in (own, order, at_random)]
    assert padding[0] < padding[1] < 0.1 < 0.4 < padding[2]
    together = [(batches < 24).sum(1).max() for batches in (own, order)]
    assert together[0] > 4 and together[1] <= 2


def test_the_order_of_a_run_is_grouped_unless_told_otherwise(home, tmp_path):
    strategies = {}
    for name, more in {"default": "", "random": "--train_sampling_strategy random"}.items():
        *_, args = run_clm.parse(flags(home, tmp_path / name, more))
        strategies[name] = args.train_sampling_strategy
    assert strategies == {"default": "group_by_length", "random": "random"}
