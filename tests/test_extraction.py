"""Decoding against a hand-written loop, sampling against the model's own probabilities; token metrics; listings."""

import random
from math import exp, inf

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPTNeoForCausalLM

from memorization.encoding.probes import write_probes
from memorization.extraction.decoding import continue_prefixes
from memorization.extraction.generations import Generation, read_generations, read_listing, write_listing
from memorization.extraction.kinds import GENERATIONS
from memorization.extraction.matches import exact_match, matched_tokens
from memorization.extraction.sampling import GumbelNoise, scheme_processors
from memorization.shell.cli import UserError
from memorization.store.files import fingerprint, read_json, write_json, write_text
from memorization.store.rows import Rows
from support.tiny_models import gpt_neo_config

VOCABULARY, EOS, LIMIT = 8, 5, 20


def sampled_by(keys, seed, *scheme):
    """The logits processors of an engine's draws."""
    return [*scheme_processors(*scheme), GumbelNoise(keys, seed)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A random model of 8 tokens, its weights large: generations differ, and some meet the end-of-text token."""
    torch.manual_seed(0)
    model = GPTNeoForCausalLM(gpt_neo_config(VOCABULARY, EOS)).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(4)
    path = tmp_path_factory.mktemp("model")
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(directory):
    return AutoModelForCausalLM.from_pretrained(directory).eval()


@pytest.fixture(scope="module")
def prefixes():
    rng = random.Random(1)
    return [[rng.choice([0, 1, 2, 3, 4, 6, 7]) for _ in range(rng.randint(3, 9))] for _ in range(40)]


@torch.no_grad()
def logits(model, ids):
    return model(torch.tensor([ids])).logits[0, -1].double()


@pytest.fixture(scope="module")
def slow(model, prefixes):
    """The likeliest token, one at a time."""
    rows = []
    for prefix in prefixes:
        ids = list(prefix)
        while len(ids) < len(prefix) + LIMIT:
            token = int(logits(model, ids).argmax())
            if token == EOS:
                break
            ids.append(token)
        rows.append(ids[len(prefix) :])
    assert {0 < len(row) < LIMIT for row in rows} == {True, False}  # both ended early and at the limit
    return rows


def test_greedy_batches_equal_one_token_at_a_time(model, prefixes, slow):
    assert continue_prefixes(model, prefixes, LIMIT, [EOS]) == slow


CHANGES = {  # what a checkpoint may say of generation, where it decides unless it is put aside
    "repetition_penalty": 1.1,
    "num_beams": 4,
    "no_repeat_ngram_size": 2,
    "min_length": 20,
    "min_new_tokens": 15,
    "forced_eos_token_id": 2,
    "suppress_tokens": [0, 1],
    "begin_suppress_tokens": [0, 1, 2, 3],
    "bad_words_ids": [[0], [1, 2]],
    "sequence_bias": [[[0], -10.0], [[3], 4.0]],
    "exponential_decay_length_penalty": [2, 3.0],
    "guidance_scale": 3.0,
    "encoder_repetition_penalty": 2.0,
    "watermarking_config": {"greenlist_ratio": 0.25, "bias": 9.0},
    "max_time": 1e-9,
    "stop_strings": ["a"],
    "token_healing": True,
}
CHANGES = {name: {name: value} for name, value in CHANGES.items()}
NO_CHANGE = {
    "lengths": {"max_length": 12, "max_new_tokens": 3},
    "tokens": {"eos_token_id": [0, 5], "pad_token_id": 3, "bos_token_id": 2, "forced_bos_token_id": 3},
    "cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static"},
    "output": {"return_dict_in_generate": True, "output_scores": True},
    "several": {"do_sample": True, "num_return_sequences": 2},
    "assistance": {"prompt_lookup_num_tokens": 3},
    "values": {"renormalize_logits": True, "remove_invalid_values": True},
    "temperature": {"do_sample": True, "temperature": 5.0},
    "top_k": {"do_sample": True, "top_k": 3},
    "top_p": {"do_sample": True, "top_p": 0.9},
    "min_p": {"do_sample": True, "min_p": 0.01},
    "top_h": {"do_sample": True, "top_h": 0.5},
    "typical_p": {"do_sample": True, "typical_p": 0.5},
    "cutoffs": {"do_sample": True, "epsilon_cutoff": 0.01, "eta_cutoff": 0.01},
}


@pytest.fixture(params=["generation_config.json", "config.json"])
def saying(request, directory, tmp_path):
    """A function that loads the model with settings written into its generation_config.json, or, as older ones have
    it, into its config.json."""

    def load(settings):
        for file in directory.iterdir():
            if file.suffix == ".safetensors":
                (tmp_path / file.name).symlink_to(file)
        config = read_json(directory / "config.json")
        if request.param == "config.json":
            config |= settings | {"task_specific_params": {"text-generation": {"do_sample": True, "max_length": 5}}}
        else:
            write_json(tmp_path / "generation_config.json", settings)
        write_json(tmp_path / "config.json", config)
        return AutoModelForCausalLM.from_pretrained(tmp_path).eval()

    return load


def with_arguments_alone(model, prefixes):
    """What generate() makes of the flags as its arguments, one prefix at a time."""
    rows = []
    for prefix in prefixes:
        flags = {"max_new_tokens": LIMIT, "do_sample": False, "eos_token_id": EOS, "pad_token_id": EOS}
        output = model.generate(torch.tensor([prefix]), **flags)
        rows.append([token for token in output[0, len(prefix) :].tolist() if token != EOS])
    return rows


@pytest.mark.parametrize("name", CHANGES)
def test_greedy_is_greedy_whatever_a_checkpoint_says(saying, prefixes, slow, name):
    model = saying(CHANGES[name])
    try:
        by_itself = with_arguments_alone(model, prefixes[:8])
    except ValueError:
        by_itself = None
    assert by_itself != slow[:8]  # else this test would show nothing
    assert continue_prefixes(model, prefixes, LIMIT, [EOS]) == slow


@pytest.mark.parametrize("name", NO_CHANGE)
def test_lengths_tokens_and_sampling_are_those_of_the_flags(saying, prefixes, slow, name):
    assert continue_prefixes(saying(NO_CHANGE[name]), prefixes, LIMIT, [EOS]) == slow


# ---- sampling


def distribution(scores, temperature, top_k, top_p):
    """The probability of each token: temperature, then the k likeliest, then the least set that reaches p; in plain
    Python."""
    tokens = sorted(range(len(scores)), key=lambda token: -scores[token])
    tokens = tokens[: top_k or None]
    weights = [exp((scores[token] - scores[tokens[0]]) / temperature) for token in tokens]
    kept, reached = {}, 0.0
    for token, weight in zip(tokens, weights, strict=True):
        if reached < top_p * sum(weights):
            kept[token] = weight
            reached += weight
    return {token: weight / sum(kept.values()) for token, weight in kept.items()}


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 3, 1.0), (2.0, 0, 0.7), (3.0, 5, 0.8)]
)
def test_samples_have_the_probabilities_of_the_model(model, temperature, top_k, top_p):
    """Of the first two tokens together: chi-square against their probabilities, token by token from the model."""
    prefix, draws = [0, 3, 6, 2], 4000
    expected = {}
    for first, p in distribution(logits(model, prefix).tolist(), temperature, top_k, top_p).items():
        if first == EOS:
            expected[()] = p
            continue
        for second, q in distribution(logits(model, [*prefix, first]).tolist(), temperature, top_k, top_p).items():
            pair = (first,) if second == EOS else (first, second)
            expected[pair] = expected.get(pair, 0) + p * q
    keys = [(id, 0, sample) for id in range(draws // 4) for sample in range(4)]
    drawn = continue_prefixes(model, [prefix] * draws, 2, [EOS], sampled_by(keys, 5, temperature, top_k, top_p))
    counts = dict.fromkeys(expected, 0)
    for row in drawn:
        counts[tuple(row)] += 1  # nothing outside
    often = [pair for pair in expected if expected[pair] * draws >= 5]
    seldom = expected.keys() - often
    cells = [(counts[pair], expected[pair] * draws) for pair in often]
    cells.append((sum(counts[pair] for pair in seldom), sum(expected[pair] for pair in seldom) * draws + 1e-9))
    chi_square = sum((count - mean) ** 2 / mean for count, mean in cells if mean >= 1)
    freedom = len(cells) - 1
    assert freedom >= 3
    assert chi_square < freedom + 3 * (2 * freedom) ** 0.5 + 3, (chi_square, freedom)  # about p > 0.001


def test_a_sample_depends_on_its_seed_and_key_alone(model, prefixes):
    keys = [(id, id % 3, sample) for id in range(len(prefixes)) for sample in range(2)]
    rows = [prefixes[id] for id, *_ in keys]
    together = continue_prefixes(model, rows, LIMIT, [EOS], sampled_by(keys, 5, 2.0))
    assert len({tuple(row) for row in together}) > 70
    order = random.Random(3).sample(range(len(keys)), len(keys))
    for size in (1, 7):
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            draw = sampled_by([keys[i] for i in batch], 5, 2.0)
            alone = continue_prefixes(model, [rows[i] for i in batch], LIMIT, [EOS], draw)
            assert alone == [together[i] for i in batch]
    assert continue_prefixes(model, rows, LIMIT, [EOS], sampled_by(keys, 6, 2.0)) != together
    other_turns = [(id, turn + 1, sample) for id, turn, sample in keys]
    assert continue_prefixes(model, rows, LIMIT, [EOS], sampled_by(other_turns, 5, 2.0)) != together


def test_the_draws_of_a_text_are_those_of_its_seed_id_and_number():
    """As they were before there were turns."""
    noise = GumbelNoise([(7, 0, 2)], 5)(None, torch.zeros(1, 9)).numpy()
    expected = -np.log(np.random.default_rng((5, 7, 2)).standard_exponential(9))
    np.testing.assert_allclose(noise[0], expected, rtol=1e-5)


def test_samples_of_a_probe_are_independent(model):
    """Two samples of a probe, or one of two turns or probes, agree in the first token as often as chance has it."""
    prefix, draws = [0, 3, 6, 2], 2000
    chance = sum(p * p for p in distribution(logits(model, prefix).tolist(), 2.0, 0, 1.0).values())
    keys = [(id // 2, id % 2, sample) for id in range(draws) for sample in range(2)]
    rows = continue_prefixes(model, [prefix] * len(keys), 1, [EOS], sampled_by(keys, 5, 2.0))
    for others in (rows[1::2], rows[2::2]):
        agree = np.mean([one == other for one, other in zip(rows[::2], others, strict=False)])
        assert abs(agree - chance) < 4 * (chance * (1 - chance) / draws) ** 0.5


def test_a_tiny_temperature_is_nearly_greedy(model, prefixes, slow):
    keys = [(id, 0, 0) for id in range(len(prefixes))]
    assert continue_prefixes(model, prefixes, LIMIT, [EOS], sampled_by(keys, 5, 1e-4)) == slow


@pytest.mark.parametrize("value", [float("nan"), inf])
def test_scores_that_are_not_numbers_are_told(directory, value):
    model = AutoModelForCausalLM.from_pretrained(directory)
    with torch.no_grad():
        model.get_input_embeddings().weight[3] = value  # tied with the output: the score of token 3
    with pytest.raises(UserError, match="scores are not numbers in torch.float32; choose --dtype"):
        continue_prefixes(model.eval(), [[0, 3, 6]], 3, [EOS])


# ---- metrics

tokens = st.lists(st.integers(0, 2), max_size=12)


@given(tokens, tokens)
def test_matched_tokens_is_the_length_of_the_common_start(generation, suffix):
    n = matched_tokens(generation, suffix)
    assert generation[:n] == suffix[:n]
    assert n == min(len(generation), len(suffix)) or generation[n] != suffix[n]


@given(tokens, tokens, st.integers(1, 12))
def test_an_exact_match_reproduces_k_tokens_or_the_whole_suffix(generation, suffix, limit):
    generation = generation[:limit]
    assert exact_match(generation, suffix, limit) == (generation[: len(suffix)] == suffix[:limit])


# ---- rows and their listing

TEXTS = {0: "", 7: "one line", 12: "two\nlines", 3: "ends with a blank line\n", 9: "\r\n\0 ====== 👩‍👩‍👧 5=", 4: "\n"}


MADE_OF = {"encoding": "e" * 16, "prefix_length": 50, "trained_on": None, "unchecked": False}
MADE_OF |= {"model": "m", "temperature": 0.0, "top_k": 0, "top_p": 1.0}


def generation(id, text, sample=0, turn=0):
    return Generation(
        id=id,
        turn=turn,
        sample=sample,
        member=True,
        duplicates=1,
        cluster=id,
        prefix="p",
        suffix="s",
        reach=None,
        text=text,
        generation_ids=[1],
        matched_tokens=0,
        exact_match=False,
        near=None,
        scores=None,
    )


def result(path, texts=TEXTS, num_samples=1, seed=5):
    """Generations as stage 3 leaves them; returns the listing's path."""
    keys = [(id, 0, sample) for id in texts for sample in range(num_samples)]
    with Rows(path, GENERATIONS, Generation, MADE_OF | {"seed": seed}, keys, 4, overwrite=True) as rows:
        for _, batch in rows.mine:
            rows.append(generation(id, texts[id], sample) for id, _, sample in (keys[i] for i in batch))
        write_listing(path.with_suffix(".txt"), rows, num_samples)
        facts = dict.fromkeys(("documents", "training", "base", "canaries"))
        rows.finish({}, {}, listing=fingerprint(path.with_suffix(".txt")), **facts)
    return path.with_suffix(".txt")


def test_a_listing_reads_back_as_written(tmp_path):
    write_listing(tmp_path / "l.txt", (generation(id, text) for id, text in TEXTS.items()))
    assert read_listing(tmp_path / "l.txt") == {(id, 0, 0): text for id, text in TEXTS.items()}
    start = (tmp_path / "l.txt").read_bytes()[:60]
    assert start == b"0=======================\n\n7=======================\none line\n"


def test_a_listing_of_several_samples_numbers_them(tmp_path):
    texts = {(id, 0, sample): text for id, text in TEXTS.items() for sample in range(3)}
    write_listing(tmp_path / "l.txt", (generation(id, text, sample) for (id, _, sample), text in texts.items()), 3)
    assert read_listing(tmp_path / "l.txt") == texts
    assert "\n7.2=======================\none line\n" in (tmp_path / "l.txt").read_bytes().decode()


@pytest.mark.parametrize(("num_samples", "heads"), [(1, "7 7/1 7/11"), (2, "7.0 7.1 7/1.0 7/1.1 7/11.0 7/11.1")])
def test_a_listing_of_several_turns_numbers_those_behind_the_first(tmp_path, num_samples, heads):
    keys = [(7, turn, sample) for turn in (0, 1, 11) for sample in range(num_samples)]
    texts = {key: f"the text of {key}\n" for key in keys}
    rows = (generation(id, texts[id, turn, sample], sample, turn) for id, turn, sample in keys)
    write_listing(tmp_path / "l.txt", rows, num_samples)
    assert read_listing(tmp_path / "l.txt") == texts
    lines = (tmp_path / "l.txt").read_text().splitlines()
    assert [line.removesuffix("=" * 23) for line in lines if line.endswith("=" * 23)] == heads.split()


@pytest.mark.parametrize("content", ["", "text\n0=======================\n", "0=====\ntext\n"])
def test_a_file_that_is_no_listing_is_refused(tmp_path, content):
    (tmp_path / "l.txt").write_text(content)
    with pytest.raises(UserError, match="0======================="):
        read_listing(tmp_path / "l.txt")


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 19, f"1.{'9' * 19}", f"1/{'9' * 19}"])
def test_a_number_that_no_sample_has_is_refused(tmp_path, number):
    (tmp_path / "l.txt").write_text(f"0{'=' * 23}\na\n{number}{'=' * 23}\nb\n")
    with pytest.raises(UserError, match="is no number of a sample") as error:
        read_listing(tmp_path / "l.txt")
    assert len(str(error.value)) < 300
    (tmp_path / "l.txt").write_text(f"0{'=' * 23}\na\n٣{'=' * 23}\nb\n")  # a digit of another script is text
    assert read_listing(tmp_path / "l.txt") == {(0, 0, 0): f"a\n٣{'=' * 23}\nb"}


def test_a_generation_listed_twice_is_refused(tmp_path):
    write_listing(tmp_path / "l.txt", [generation(3, "a", 1), generation(3, "b", 1)], 2)
    with pytest.raises(UserError, match=r"l.txt: 3\.1 is listed twice"):
        read_listing(tmp_path / "l.txt")


@pytest.mark.parametrize("num_samples", [1, 3])
def test_the_rows_come_by_either_name(tmp_path, num_samples):
    listing = result(tmp_path / "g.jsonl", num_samples=num_samples)
    expected = [generation(id, text, sample) for id, text in TEXTS.items() for sample in range(num_samples)]
    for path in (listing, tmp_path / "g.jsonl"):
        rows, manifest = read_generations(path)
        assert list(rows) == expected
        assert manifest.made_of == MADE_OF | {"seed": 5}


def test_a_listing_of_another_run_beside_the_rows_is_refused(tmp_path):
    listing = result(tmp_path / "g.jsonl")
    other = result(tmp_path / "other.jsonl", {**TEXTS, 7: "another line"}, seed=6)
    other.replace(listing)
    with pytest.raises(UserError) as refused:
        read_generations(listing)
    assert f"{listing}: is not the listing of {tmp_path / 'g.jsonl'} beside it (contents" in str(refused.value)
    assert "name g.jsonl, or run inference_prefix.py again" in str(refused.value)
    with pytest.raises(UserError, match="is not the listing"):  # nor can the rows be left unchecked
        read_generations(listing, unchecked=True)
    assert len(read_generations(tmp_path / "g.jsonl")[0]) == len(TEXTS)


def test_rows_that_changed_are_refused_by_either_name(tmp_path):
    listing = result(tmp_path / "g.jsonl")
    write_text(tmp_path / "g.jsonl", (tmp_path / "g.jsonl").read_text().replace("one line", "One line"))
    for path in (listing, tmp_path / "g.jsonl"):
        with pytest.raises(UserError, match="g.jsonl: has changed since it was written"):
            read_generations(path)


@pytest.mark.parametrize("path", [".", "/", "..", "tests"])
def test_a_directory_is_no_result(path):
    with pytest.raises(UserError, match="is a directory; name the .jsonl in it"):
        read_generations(path)


def test_a_listing_of_other_code_is_taken_only_unchecked(tmp_path):
    probes = [{"id": id, "turn": 0, "member": id < 5, "prefix": "p", "suffix": "s", "duplicates": 2} for id in TEXTS]
    write_probes(tmp_path / "p.json", probes)
    listing = result(tmp_path / "g.jsonl")
    (tmp_path / "g.jsonl").unlink()
    for options in ({}, {"unchecked": True}, {"probes": tmp_path / "p.json"}):
        with pytest.raises(UserError, match="g.txt: has no .jsonl beside it.* --unchecked --probes"):
            read_generations(listing, **options)
    rows, manifest = read_generations(listing, tmp_path / "p.json", unchecked=True)
    assert manifest is None
    assert [(row.id, row.member, row.duplicates, row.text) for row in rows] == [
        (id, id < 5, 2, text) for id, text in TEXTS.items()
    ]
    assert {(row.matched_tokens, row.exact_match) for row in rows} == {(None, None)}
    write_probes(tmp_path / "p.json", [probe for probe in probes if probe["id"] != 7])
    with pytest.raises(UserError, match="differ in 1 ids, 7 for one"):
        read_generations(listing, tmp_path / "p.json", unchecked=True)
