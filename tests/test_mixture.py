"""Stage 2 on several training sets: how often each is drawn from, in what order, and what a run then is."""

import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import run_clm
from memorization.encoding.kinds import TRAINING_SET
from memorization.models import hub
from memorization.models.trained import MODEL, model_made_of
from memorization.shell import cli
from memorization.store import fingerprints, manifests
from memorization.training.task_mixture import MixtureSampler, apportion, parse_task_weights
from support.training_runs import EOS, EVERY_STEP, TRAIN, as_killed, everything, write_set

SIZES = st.lists(st.integers(1, 30), min_size=2, max_size=4)


@given(SIZES, st.data())
def test_an_epoch_has_each_set_in_its_share_and_no_sample_twice_before_all_came_once(sizes, data):
    weights = data.draw(st.lists(st.floats(0.01, 10), min_size=len(sizes), max_size=len(sizes)))
    sampler, total = MixtureSampler(sizes, weights, seed=3), sum(sizes)
    first = np.cumsum(sizes) - sizes
    drawn = [np.empty(0, int) for _ in sizes]
    for epoch in range(4):
        sampler.set_epoch(epoch)
        order = np.array(list(sampler))
        assert len(order) == len(sampler) == total and list(sampler) == order.tolist()
        for number, (begin, size) in enumerate(zip(first, sizes, strict=True)):
            of_set = order[(order >= begin) & (order < begin + size)]
            assert abs(len(of_set) - total * weights[number] / sum(weights)) < 1
            drawn[number] = np.concatenate([drawn[number], of_set])
    for of_set, size in zip(drawn, sizes, strict=True):
        counts = np.unique(of_set, return_counts=True)[1]
        whole = len(of_set) // size  # passes
        assert not len(of_set) or counts.max() - (counts.min() if len(counts) == size else 0) <= 1
        assert whole == 0 or (len(counts) == size and counts.min() == whole)


@given(st.integers(0, 500), st.lists(st.floats(0.01, 100), min_size=1, max_size=5))
def test_shares_are_whole_add_up_and_are_nearly_the_weights(total, weights):
    shares = apportion(total, weights)
    assert shares.sum() == total and (np.abs(shares - total * np.array(weights) / sum(weights)) < 1).all()


def test_the_order_depends_on_seed_and_epoch_alone():
    orders = {}
    for seed in (0, 1):
        for epoch in (2, 0, 1):  # in any order
            sampler = MixtureSampler([20, 30], [1, 1], seed)
            sampler.set_epoch(epoch)
            orders[seed, epoch] = tuple(sampler)
    assert len(set(orders.values())) == 6
    again = MixtureSampler([20, 30], [5, 5], 1)
    again.set_epoch(2)
    assert tuple(again) == orders[1, 2]


@pytest.mark.parametrize("text", ["1", "1,2,3", "1,0", "1,-1", "1,nan", "1,inf", "1;2", "a,b", ","])
def test_weights_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="must be numbers over 0|for 2 training sets"):
        parse_task_weights(text, ["a", "b"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e308,1e308", [0.5, 0.5]),
        ("1e308,5e307", [2 / 3, 1 / 3]),
        ("1,3", [0.25, 0.75]),
        ("5e-324,5e-324", [0.5, 0.5]),
    ],
)
def test_weights_are_to_each_other_what_they_are_however_large(text, expected):
    assert parse_task_weights(text, ["a", "b"]) == pytest.approx(expected)


def argv_of(home, output, more=""):
    sets = " ".join(f"--{side}-file {home}/data_{name} {home}/more_{name}" for side, name in SIDES.items())
    return shlex.split(f"--config_name {home}/small {sets} --output_dir {output} {TRAIN} {more}")


SIDES = {"train": "train", "validation": "test"}


def identity(home, name):
    return manifests.read_manifest(home / f"{name}_train", TRAINING_SET).identity


def test_a_run_on_two_sets_draws_as_weighted_and_goes_on_in_the_same_order(two, tmp_path, monkeypatch):
    seen = []
    collate = run_clm.fine_tune.__globals__["collate"]

    def watched(blocks, **options):
        seen.append([block["input_ids"][0] == 1 for block in blocks])
        return collate(blocks, **options)

    monkeypatch.setitem(run_clm.fine_tune.__globals__, "collate", watched)
    argv = [*argv_of(two, tmp_path / "whole", "--task_weights 1,3 --eval_strategy no"), *EVERY_STEP]
    run_clm.main(argv)
    batches, each = seen[: 2 * 13], [4] * 12 + [1]  # 49 samples an epoch, 4 at a time; then comes the evaluation
    assert [len(batch) for batch in batches] == each * 2
    for epoch in (batches[:13], batches[13:]):
        assert sum(map(sum, epoch)) in (36, 37, 38)  # of 49 three quarters; "data" has some that begin so too
    manifest = manifests.read_manifest(tmp_path / "whole", MODEL)
    assert manifest.made_of["encoding"] == f"{identity(two, 'data')} {identity(two, 'more')}"
    assert manifest.made_of["task_weights"] == [0.25, 0.75] and manifest.rows == 49
    assert model_made_of(tmp_path / "whole" / "checkpoint-5")["encoding"] == manifest.made_of["encoding"]
    for step in (3, 10):  # in the first epoch of 7 steps and in the second
        seen.clear()
        output = as_killed(tmp_path / "whole", tmp_path / f"killed-{step}", step)
        run_clm.main([*argv, "--output_dir", str(output)])
        for name in ("model.safetensors", "losses.jsonl"):
            assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (step, name)
    with pytest.raises(cli.UserError, match=r"another task_weights \(\[0.25, 0.75\], not \[0.5, 0.5\]\)"):
        run_clm.main([*argv, "--task-weights", "2,2"])


def test_without_weights_an_epoch_has_every_sample_once(two, tmp_path, capsys):
    run_clm.main([*argv_of(two, tmp_path / "out"), "--max_steps", "2", "--per_device_eval_batch_size", "2"])
    output = capsys.readouterr().out
    assert (
        "data_train: 37 samples" in output and "more_train: 12 samples" in output and "more_test: 3 samples" in output
    )
    made_of = model_made_of(tmp_path / "out")
    assert "task_weights" not in made_of and len(made_of["training_set"].split()) == 2
    # a model of two encodings is evaluated on the held-out texts of either
    for name in ("data", "more"):
        argv = f"--model_name_or_path {tmp_path}/out --validation_file {two}/{name}_test --output_dir {tmp_path}/{name}"
        run_clm.main(shlex.split(argv))


def test_mistakes_with_several_sets_are_told(two, tmp_path):
    before = everything(two)
    tokenizer = fingerprints.tokenizer_fingerprint(hub.load_tokenizer(two / "small"))
    write_set(tmp_path / "taken", "training set", [[1, 2, EOS]], texts=["more held-out set 1"], tokenizer=tokenizer)
    train, test = f"--train_file {two}/data_train {two}/more_train", f"--validation_file {two}/more_test"
    for argv, message in {
        f"{train} --task_weights 1,2,1": "--task-weights 1,2,1: 3 for 2 training sets; give one to each of several",
        f"{train} --task_weights 1,x": "--task-weights 1,x: must be numbers over 0",
        f"{train} --task_weights 1e308,1": "more_train: is not drawn from once an epoch; give it more weight",
        f"--train_file {two}/data_train --task_weights 1": "--task-weights 1: 1 for 1 training sets",
        f"{train} {two}/more_train": "more_train and .*more_train: are the same set; name it once",
        f"--train_file {two}/data_train {test}": "are of different encodings",
        f"{train} {tmp_path}/taken {test}": "taken: contains 1 texts of the held-out set .*more_test, which would be",
    }.items():
        with pytest.raises(cli.UserError, match=message):
            run_clm.main(shlex.split(f"--config_name {two}/small {argv} --output_dir {tmp_path}/out"))
    assert everything(two) == before and not (tmp_path / "out").exists()
