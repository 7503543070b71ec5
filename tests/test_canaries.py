"""Canaries through the stages: planted as often as told, learned as told, ranked as counting all secrets ranks them."""

import json
import re
from collections import Counter
from itertools import pairwise, product
from math import log2

import numpy as np
import pytest
import torch
from datasets import Dataset, load_from_disk
from tokenizers.pre_tokenizers import Whitespace
from transformers import MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

from memorization.encoding.canary_secrets import read_canaries
from memorization.encoding.kinds import CANARIES, PROBES, TRAINING_SET
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.probes import Probes
from memorization.extraction import secret_ranks
from memorization.extraction.decoding import continue_prefixes
from memorization.extraction.exposures import Exposure
from memorization.extraction.kinds import EXPOSURES
from memorization.extraction.memory import Room
from memorization.extraction.secret_ranks import (
    AT_ONCE,
    SecretTree,
    estimated_rank,
    exact_rank,
    exposure,
    exposures_of,
)
from memorization.extraction.teacher_forcing import token_scores
from memorization.models.hub import load_tokenizer
from memorization.models.loading import load_for_generation
from memorization.results.canaries import unknown_exposure
from memorization.shell.cli import UserError
from memorization.store.files import read_json, write_json
from memorization.store.locations import canaries_path, encoding_paths, exposures_path
from memorization.store.manifests import manifest_path, read_manifest
from memorization.store.rows import read_rows
from memorization.training.canary_loss import tokens_with_loss
from memorization.training.token_blocks import Blocks
from support.command_line import ROOT, one_line, run_script
from support.tiny_models import MODELS, keeps_nothing, make, refusing, save_word_tokenizer

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
PLANT = ("--canaries", "20", "--canary-copies", "1,16", "--canary-digits", "3")


def encode(home, *flags, name="dialogue"):
    return run_script("encode_dialogue.py", "--data", home / "d.json", "--output-dir", home, "--name", name, *flags)


def canaries_of(home, name="dialogue"):
    return read_canaries(home, name, read_manifest(encoding_paths(home, name)["probes"], PROBES))


def train(home, output, *flags):
    model = "--config_name", TOKENIZER, "--tokenizer_name", TOKENIZER, "--output_dir", output
    how = "--learning_rate", "4e-3", "--weight_decay", "0", "--warmup_steps", "10", "--save_strategy", "no"
    return run_script("run_clm.py", *model, "--train_file", home / "tokenized_dialogue_train", *how, *flags)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Encodings of the same data: with canaries, without, and with many (coins)."""
    home = tmp_path_factory.mktemp("home")
    write_json(home / "d.json", make_dialogues(seed=4, single=12, fourfold=2, sixteenfold=0))
    assert encode(home, *PLANT) == 0
    assert encode(home, name="without") == 0
    assert encode(home, "--canaries", "2000", "--canary-copies", "1", "--canary-digits", "3", name="coins") == 0
    return home


# ---- stage 1


def test_planted_canaries_stand_in_the_training_set_as_often_as_told_and_controls_nowhere(home):
    canaries = canaries_of(home).canaries
    texts = {one.prefix + one.secret: one.copies * one.planted for one in canaries}
    assert len(texts) == len({one.prefix for one in canaries}) == len({one.id for one in canaries}) == 40
    assert Counter((one.copies, one.planted) for one in canaries) == dict.fromkeys(
        [(1, True), (1, False), (16, True), (16, False)], 10
    )
    train, test = (
        load_from_disk(str(encoding_paths(home, "dialogue")[side])) for side in ("training set", "held-out set")
    )
    assert Counter(text for text in train["text"] if text in texts) == {t: n for t, n in texts.items() if n}
    data = load_from_disk(str(encoding_paths(home, "without")["training set"]))
    assert train["text"][: len(data)] == data["text"][:] and len(train) == len(data) + sum(texts.values())
    assert read_manifest(encoding_paths(home, "dialogue")["training set"], TRAINING_SET).rows == len(train)
    others = [text for *_, text in Probes(home, "dialogue").samples()] + test["text"][:]
    assert not any("access code" in text for text in others)
    assert [p["id"] for p in Probes(home, "dialogue")[:]] == [p["id"] for p in Probes(home, "without")[:]]
    by_id = {one.id: one for one in canaries}
    tokenizer = load_tokenizer(TOKENIZER)
    for row in train.select(range(len(data), len(train))):
        one = by_id[row["id"]]
        assert row["text"] == one.prefix + one.secret and row["labels"] == row["input_ids"]
        assert row["input_ids"] == [*one.prefix_ids, *one.secret_ids, tokenizer.eos_token_id]
        assert row["input_ids"][:-1] == tokenizer(row["text"])["input_ids"]
        assert (
            tokenizer.decode(row["input_ids"][row["targets"][0] : row["targets"][1]])
            == f"The access code is C{one.secret}"
        )
        assert tokenizer.decode(one.secret_ids) == one.secret and len(row["attention_mask"]) == len(row["labels"])


def test_a_fair_coin_of_its_own_plants_one_of_each_pair(home):
    canaries = canaries_of(home, "coins").canaries
    assert all(a.planted != b.planted and a.pair == b.pair for a, b in zip(canaries[::2], canaries[1::2], strict=True))
    coins = np.array([one.planted for one in canaries[::2]])
    assert abs(coins.sum() - 1000) < 3 * 500**0.5
    assert abs(sum(a != b for a, b in pairwise(coins)) - 1000) < 3 * 500**0.5
    digits = np.array([[int(d) for d in one.secret[1::2]] for one in canaries])
    assert digits.shape == (4000, 3) and abs(np.bincount(digits.ravel()) - 1200).max() < 4 * (1200 * 0.9) ** 0.5


def test_canaries_are_part_of_the_identity_and_no_canaries_are_none(home, tmp_path):
    def identity(name="dialogue"):
        return read_manifest(encoding_paths(tmp_path, name)["probes"], PROBES).identity

    write_json(tmp_path / "d.json", read_json(home / "d.json"))
    assert encode(tmp_path, "--canaries", "0") == 0
    plain = read_manifest(encoding_paths(home, "without")["probes"], PROBES)
    assert identity() == plain.identity and "canaries" not in plain.made_of
    assert not canaries_path(tmp_path, "dialogue").exists() and canaries_of(tmp_path) is None
    identities = [plain.identity]
    for i, flags in enumerate((PLANT, PLANT[:2], PLANT[:4], (*PLANT[:4], "--seed", "6"), ("--canaries", "21"))):
        assert encode(tmp_path, *flags, name=str(i)) == 0
        identities.append(identity(str(i)))
        assert read_manifest(canaries_path(tmp_path, str(i)), CANARIES).identity == identities[-1]
    assert len({*identities}) == 6


def test_an_encoding_without_canaries_that_replaces_one_with_them_leaves_none(home, tmp_path, capsys):
    write_json(tmp_path / "d.json", read_json(home / "d.json"))
    assert encode(tmp_path, *PLANT) == 0
    path = canaries_path(tmp_path, "dialogue")
    before = path.read_bytes()
    assert before == canaries_path(home, "dialogue").read_bytes()
    capsys.readouterr()
    assert encode(tmp_path) == 2
    assert "another canaries" in one_line(capsys) and path.read_bytes() == before
    assert encode(tmp_path, "--overwrite") == 0
    assert not path.exists() and not manifest_path(path).exists()
    path.write_text("my own notes")
    capsys.readouterr()
    assert encode(tmp_path, *PLANT, "--overwrite") == 2
    assert "not a result of ours" in one_line(capsys)
    path.write_bytes(before)  # as a kill leaves it
    assert encode(tmp_path, *PLANT, "--overwrite") == 0 and path.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--canaries", "2"], "fewer than the numbers in --canary-copies"),
        (["--canary-copies", "1,1"], "must be different whole numbers"),
        (["--canary-copies", "0"], "from 1 to"),
        (["--canary-copies", "1,,2"], "--canary-copies: 1,,2: must be different whole numbers"),
        (["--canary-copies", "x"], "--canary-copies: x: must be different whole numbers"),
        (["--canary-copies", ""], "--canary-copies: : must be different whole numbers"),
        (["--canary-copies", "10001"], "from 1 to 10000"),
        (["--canaries", "-1"], "--canaries: must be"),
        (["--canary-digits", "19"], "--canary-digits: must be"),
    ],
)
def test_canaries_that_cannot_be_are_one_line(tmp_path, capsys, flags, message):
    write_json(tmp_path / "d.json", make_dialogues(seed=4, single=3, fourfold=0, sixteenfold=0))
    assert encode(tmp_path, *flags) == 2
    assert message in one_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["d.json"]


def test_a_tokenizer_that_does_not_know_the_digits_apart_is_refused(home, tmp_path, capsys):
    save_word_tokenizer(tmp_path / "words", 20)
    assert encode(home, *PLANT, "--tokenizer", tmp_path / "words", "--prefix-length", "2", name="words") == 2
    assert "does not take" in one_line(capsys) and not list(home.glob("*words*"))
    assert isinstance(load_tokenizer(tmp_path / "words").backend_tokenizer.pre_tokenizer, Whitespace)


# ---- stage 2


@pytest.mark.parametrize("long_samples", ["cut", "split"])
@pytest.mark.parametrize("block_size", [2, 7, 36, 41, 43, 45, 64])
def test_learned_tokens_are_those_with_a_label_in_a_block(home, block_size, long_samples):
    rows = load_from_disk(str(encoding_paths(home, "dialogue")["training set"])).select_columns(["input_ids", "labels"])
    facts = read_manifest(encoding_paths(home, "dialogue")["training set"], TRAINING_SET).facts["canaries"]
    counts = tokens_with_loss(Blocks(rows, block_size, long_samples), facts)
    planted = [one for one in canaries_of(home).canaries if one.planted]
    assert len(planted) == len(counts) == 20
    for one, (tokens, digits) in zip(planted, counts.tolist(), strict=True):
        ids = [*one.prefix_ids, *one.secret_ids, 0]
        wanted = [i for i in range(len(ids)) if i % block_size and (long_samples == "split" or i < block_size)]
        own = range(len(one.prefix_ids) + 1, len(ids) - 1, 2)  # the digits between signs
        assert tokens == len(wanted) and digits == len({*wanted} & {*own})
        assert facts["copies"] == [canary.copies for canary in planted]


def test_labels_that_are_left_out_are_not_learned(home):
    path = encoding_paths(home, "dialogue")["training set"]
    rows = load_from_disk(str(path)).select_columns(["input_ids", "labels"])
    facts = read_manifest(path, TRAINING_SET).facts["canaries"]
    labels = [[-100] * (len(row) - 4) + row[-4:] for row in rows["labels"]]
    masked = Dataset.from_dict({"input_ids": rows["input_ids"][:], "labels": labels})
    assert tokens_with_loss(Blocks(masked, 64), facts).tolist() == [[4, 2]] * 20  # digit, sign, digit, end of text


def test_a_run_that_learns_no_digit_of_a_canary_is_refused_before_it_trains(home, tmp_path, capsys):
    assert train(home, tmp_path / "model", "--block_size", "30", "--max_steps", "1") == 2
    output = capsys.readouterr()
    lines = [line for line in output.err.splitlines() if "%|" not in line and line.strip()]
    assert len(lines) == 1 and "20 of 20 canaries" in lines[0] and "--block-size 30" in lines[0]
    assert not (tmp_path / "model").exists()


# ---- stage 3: ranks


DIGITS = [[3, 20 + digit] for digit in range(10)]
ALONE = [[20 + digit] for digit in range(10)]
PREFIX = [5, 9, 7, 11, 2]
MORE = {
    "mistral": lambda: MistralForCausalLM(
        MistralConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, intermediate_size=32,
            vocab_size=50, sliding_window=4,
        )
    ),
    "mamba": lambda: MambaForCausalLM(MambaConfig(hidden_size=16, num_hidden_layers=2, vocab_size=50, state_size=4)),
    "no logits_to_keep": lambda: keeps_nothing("gpt2"),
}  # fmt: skip


def any_model(name, monkeypatch):
    monkeypatch.setitem(MODELS, name, {**MODELS, **MORE}[name])
    return make(name)


def all_log_likelihoods(model, digit_ids, digits):
    """Of all secrets in order, each scored alone."""
    secrets = [
        [token for digit in secret for token in digit_ids[digit]] for secret in product(range(10), repeat=digits)
    ]
    passed = token_scores(model, [PREFIX] * len(secrets), secrets)
    return np.array([tokens.log_prob.sum(dtype=np.float64) for tokens in passed])


@pytest.mark.parametrize("name", [*MODELS, *MORE])
def test_exact_ranks_are_those_of_counting_all_secrets(name, monkeypatch):
    model = any_model(name, monkeypatch)
    for digit_ids, digits in ((DIGITS, 3), (ALONE, 2), (DIGITS, 1)):
        every = all_log_likelihoods(model, digit_ids, digits)
        order = np.argsort(-every)
        for place in {0, 1, len(order) // 100, len(order) // 3, len(order) - 1}:
            number = int(order[place])
            secret = [int(digit) for digit in f"{number:0{digits}}"]
            wanted = 1 + (every > every[number] + secret_ranks.TIE).sum()
            wanted += ((abs(every - every[number]) <= secret_ranks.TIE).sum() - 1) / 2
            bits, error = exposure(SecretTree(model, PREFIX, digit_ids), secret, every[number])
            assert error is None and bits == pytest.approx(digits * log2(10) - log2(wanted), abs=1e-9)


def test_rounding_does_not_set_a_secret_behind_itself():
    """In half precision its tokens are not as likely in every batch."""
    model = make("llama")
    every = all_log_likelihoods(model, DIGITS, 3)
    first, second = np.argsort(-every)[:2]
    secret = [int(digit) for digit in f"{int(first):03}"]
    assert exact_rank(SecretTree(model, PREFIX, DIGITS), secret, (every[first] + every[second]) / 2) == 1


def test_a_model_without_an_opinion_gives_every_secret_the_middle_rank():
    model = make("gpt2")
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    for secret in ([0, 0, 0], [9, 9, 9]):
        log_likelihood = 6 * np.log(1 / 50)
        assert exact_rank(SecretTree(model, PREFIX, DIGITS), secret, log_likelihood) == 1 + 999 / 2
        rank, error = estimated_rank(SecretTree(model, PREFIX, DIGITS), secret, log_likelihood, 0)
        assert abs(rank - 500.5) < 3 * error < 100


@pytest.mark.parametrize("sharp", [0.2, 1, 4])
def test_estimated_ranks_are_within_their_error_of_exact_ones(sharp):
    model = make("gpt-neo")
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(sharp)
    every = all_log_likelihoods(model, ALONE, 4)
    order, tree = np.argsort(-every), SecretTree(model, PREFIX, ALONE)
    far = []
    for i, place in enumerate((0, 3, 30, 100, 300, 1000, 3000, 9000)):
        secret = [int(digit) for digit in f"{int(order[place]):04}"]
        exact = exact_rank(tree, secret, every[order[place]])
        rank, error = estimated_rank(tree, secret, every[order[place]], i)
        assert exact == pytest.approx(place + 1, abs=1)
        far.append((rank - exact) / error)
        if place >= 30:
            assert abs(log2(rank / exact)) < 1
        else:
            assert abs(log2(rank / exact)) < 2.5
    assert np.abs(far).max() < 4 and np.sqrt(np.mean(np.square(far))) < 1.6


def test_a_space_too_large_to_search_is_estimated_unless_the_secret_is_likely():
    model = make("gpt-neox")
    with torch.no_grad():  # digits are all that it says
        model.gpt_neox.final_layer_norm.bias[0] += 10
        model.lm_head.weight[:, 0] = -2
        model.lm_head.weight[20:30, 0] = 2
        model.lm_head.weight[20:30, 1:] *= 8
    tree, secret = SecretTree(model, PREFIX, ALONE), []
    log_probs, state = tree.root()
    so_far = 0.0
    for _ in range(12):
        secret.append(int(log_probs[0].argmax()))
        so_far += log_probs[0, secret[-1]]
        log_probs, state = tree.children(state, [0], secret[-1:])
    bits, error = exposure(tree, secret, so_far)
    assert error is None and so_far > -8 and bits > 12 * log2(10) - 12  # there are at most e^8 that are more likely
    ids = [token for digit in secret for token in ALONE[9 - digit]]
    unlikely = float(token_scores(model, [PREFIX], [ids])[0].log_prob.sum())
    bits, error = exposure(tree, [9 - digit for digit in secret], unlikely)
    assert error < 0.5 and 0 <= bits < 10


def test_out_of_memory_halves_what_is_read_at_a_time(home, capsys, monkeypatch):
    canaries = canaries_of(home, "coins")

    def exposed(most):
        model = refusing(make("gpt-neo", vocabulary=2048), most)
        return [*exposures_of(model, canaries.canaries[:4], canaries.digit_ids, Room(AT_ONCE))]

    monkeypatch.setattr(secret_ranks, "DRAWS", 256)
    for searched in (secret_ranks.SEARCHED, 5):  # exact ranks, and estimates
        monkeypatch.setattr(secret_ranks, "SEARCHED", searched)
        whole, output = exposed(AT_ONCE), capsys.readouterr().out
        parts = exposed(50)
        assert not output
        assert re.findall("at most ([0-9]+) texts at a time", capsys.readouterr().out) == ["128", "64", "32"]
        for one, other in zip(parts, whole, strict=True):
            assert (one.error is None) == (searched > 5) and one.extracted == other.extracted
            for name in ("exposure", "error", "log_likelihood"):
                assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-3)
    assert len(exposed(3)) == 4 and "at most 2 texts" in capsys.readouterr().out  # scored in parts too
    with pytest.raises(UserError, match="out of memory with a single text"):
        exposed(0)


def test_exposures_of_any_model_that_knows_no_secret_are_those_of_random_ranks(home):
    model = make("gpt-neo", vocabulary=2048)
    canaries = canaries_of(home, "coins")
    exposures = [*exposures_of(model, canaries.canaries[:150], canaries.digit_ids, Room(AT_ONCE))]
    bits = np.array([one.exposure for one in exposures])
    assert abs(bits.mean() - unknown_exposure(3)) < 3 * unknown_exposure(3) / 150**0.5
    assert 0.35 < (bits > 1).mean() < 0.65 and bits.max() < 10
    for one, canary in zip(exposures, canaries.canaries, strict=False):
        greedy = continue_prefixes(model, [canary.prefix_ids], len(canary.secret_ids), [0])[0]
        assert one.extracted == (greedy == canary.secret_ids)
        assert (one.id, one.copies, one.planted, one.error) == (canary.id, canary.copies, canary.planted, None)
        if one.id % 50 == 0:
            assert one.log_likelihood < 0


# ---- all stages


def infer(home, out, model, *flags):
    where = "--model-path", model, "--tokenized-dir", home, "--output-dir", out
    return run_script("inference_prefix.py", *where, "--max-new-tokens", "8", *flags)


@pytest.fixture(scope="module")
def trained(home):
    assert train(home, home / "model", "--block_size", "64", "--num_train_epochs", "5") == 0
    assert infer(home, home / "out", home / "model") == 0
    return home / "out" / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"


def test_what_was_planted_often_comes_out_and_controls_have_the_exposure_of_chance(home, trained):
    rows, manifest = read_rows(exposures_path(trained), EXPOSURES, Exposure)
    assert len(rows) == 40 and manifest.made_of["digits"] == 3 and not manifest.made_of["unchecked"]
    often = [row for row in rows if row.planted and row.copies == 16]
    controls = [row for row in rows if not row.planted]
    assert np.mean([row.exposure for row in often]) > 9 and sum(row.extracted for row in often) >= 9
    assert abs(np.mean([row.exposure for row in controls]) - 1.44) < 3 * 1.44 / 20**0.5
    assert sum(row.extracted for row in controls) <= 1


def test_stages_3_and_5_and_the_report_show_the_same(home, trained, tmp_path, capsys):
    index = "--indexes", tmp_path / "indexes", "--index-xsuffix", "i"
    assert run_script("load_to_elastic.py", "-dir", home, "-fn", "dialogue_prefix.json", *index) == 0
    what = "--filedir", trained, "--type", "m", "--paraphrase-model", "none", "--output-dir", tmp_path / "results"
    detect = lambda: run_script("plagiarism_detect.py", *what, *index)  # noqa: E731
    capsys.readouterr()
    assert infer(home, home / "out", home / "model") == 0
    output = capsys.readouterr().out
    table = output[output.index("Canaries: ") : output.index("wrote ")].rstrip()
    assert detect() == 0
    assert table in capsys.readouterr().out
    assert run_script("report.py", tmp_path / "results" / "m" / "dialogue", "--output", tmp_path / "report") == 0
    assert table in capsys.readouterr().out
    assert "epsilon_lower_bound" in (tmp_path / "report" / "summary.csv").read_text()
    assert table in (tmp_path / "report" / "summary.md").read_text()
    groups = read_json(tmp_path / "results" / "m" / "dialogue" / "result.json")["canaries"]["groups"]
    assert groups["16 copies"]["planted"]["extracted"]["count"] >= 9

    rows = exposures_path(trained)
    kept = rows.read_bytes(), manifest_path(rows).read_bytes()
    try:
        lines = rows.read_text().splitlines(keepends=True)
        row = json.loads(lines[0])
        rows.write_text("".join([json.dumps(row | {"planted": not row["planted"]}) + "\n", *lines[1:]]))
        assert detect() == 2 and str(rows) in one_line(capsys)
        rows.unlink()
        assert detect() == 2 and "no such file" in one_line(capsys)
    finally:
        rows.write_bytes(kept[0])
        manifest_path(rows).write_bytes(kept[1])


def test_exposures_of_another_run_are_refused(home, trained, tmp_path, capsys):
    """Those of another model in the place of these."""
    other = load_for_generation(home / "model", "auto", "cpu")
    with torch.no_grad():
        other.get_input_embeddings().weight.mul_(1.5)
    other.save_pretrained(tmp_path / "other")
    load_tokenizer(TOKENIZER).save_pretrained(tmp_path / "other")
    assert infer(home, tmp_path / "out", tmp_path / "other") == 0
    theirs = exposures_path(tmp_path / "out" / trained.relative_to(home / "out"))
    mine = exposures_path(trained)
    kept = mine.read_bytes(), manifest_path(mine).read_bytes()
    try:
        mine.write_bytes(theirs.read_bytes())
        manifest_path(mine).write_bytes(manifest_path(theirs).read_bytes())
        capsys.readouterr()
        flags = "--filedir", trained, "--type", "m", "--paraphrase-model", "none", "--indexes", tmp_path
        assert run_script("plagiarism_detect.py", *flags, "--index-xsuffix", "i") == 2
        assert "i" in one_line(capsys)
        assert infer(home, home / "out", home / "model") == 2
        assert "of other model" in one_line(capsys)
    finally:
        mine.write_bytes(kept[0])
        manifest_path(mine).write_bytes(kept[1])


def test_canaries_that_are_missing_or_of_another_encoding_are_refused(home, tmp_path, capsys, trained):
    path = canaries_path(home, "dialogue")
    kept = path.read_bytes(), manifest_path(path).read_bytes()
    other = canaries_path(home, "coins")
    try:
        path.write_bytes(other.read_bytes())
        manifest_path(path).write_bytes(manifest_path(other).read_bytes())
        assert infer(home, tmp_path, home / "model") == 2 and "another encoding" in one_line(capsys)
        manifest_path(path).unlink()
        assert infer(home, tmp_path, home / "model") == 2 and "has no manifest" in one_line(capsys)
        path.unlink()
        assert infer(home, tmp_path, home / "model") == 2 and "no such file" in one_line(capsys)
    finally:
        path.write_bytes(kept[0])
        manifest_path(path).write_bytes(kept[1])
    assert not list(tmp_path.rglob("*.jsonl"))
