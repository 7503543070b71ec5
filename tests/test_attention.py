"""The attention study: closed forms, a plain loop over what transformers gives, scipy, and the script."""

import csv
import json
import subprocess

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import stats
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoForCausalLM, MistralConfig, MistralForCausalLM

from attention_analysis import MeasuresRow
from memorization.encoding.made_up import make_dialogues
from memorization.extraction.attention import attention_measures, measures
from memorization.extraction.generations import read_generations
from memorization.models.loading import load_for_generation
from memorization.results.attention import ATTENTION, COLUMNS, compare_heads, compare_samples, heat_maps, sample_groups
from memorization.shell.cli import UserError
from memorization.store import manifests
from memorization.store.files import fingerprint, read_json, write_json
from support.command_line import ROOT, one_line, run_script
from support.edits import edits, kept, resealed
from support.tiny_models import gpt_neo_config, save_bart, save_language_model, save_t5

SIZES = [(3, 4, 9), (1, 6, 5), (7, 9, 12), (12, 2, 4)]  # tokens of a prefix, a suffix, a source


@pytest.mark.parametrize("number", [2, 7, 100])
def test_uniform_and_one_hot_attention_have_their_closed_forms(number):
    """Of 100 tokens the first so many are seen, of which the first is the prefix."""
    weights = torch.zeros(1, 2, 100, dtype=torch.float64)
    weights[0, 0, :number] = 1 / number
    weights[0, 1, number - 1] = 1
    uniform, one_hot = measures(weights, torch.tensor([number, number]), 1)[0].numpy()
    np.testing.assert_allclose(uniform, [1, 0, number, 1 / number], atol=1e-12)
    np.testing.assert_allclose(one_hot, [0, (number - 1) / number, 1, 0], atol=1e-12)


def make(kind, home):
    torch.manual_seed(3)
    if kind in ("t5", "bart"):
        texts = ["the doctor said that two pills a day would do", "is it true that rest is best"] * 20
        model = load_for_generation((save_t5 if kind == "t5" else save_bart)(home / kind, texts), "float32", "cpu")
    elif kind == "gpt-neo":
        config = gpt_neo_config(50, 0)
        config.window_size = 4
        model = GPTNeoForCausalLM(config)
    elif kind == "mistral":
        sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        model = MistralForCausalLM(MistralConfig(vocab_size=50, num_key_value_heads=2, sliding_window=4, **sizes))
    else:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, bos_token_id=0))
    for weight in model.parameters():  # attention that is far from even
        weight.data *= 3 if weight.ndim > 1 else 1
    model.set_attn_implementation("eager")
    return model.eval()


def slowly(model, probe, longest, windows):
    """attention_measures of one probe, in plain loops."""
    prefix, suffix = probe["prefix_ids"], probe["suffix_ids"][:longest]
    source = model.config.is_encoder_decoder
    prefix = [model.config.decoder_start_token_id, *prefix] if source else prefix
    text = torch.tensor([prefix + suffix[:-1]])
    with torch.no_grad():
        if source:
            ids = {"input_ids": torch.tensor([probe["source_ids"]]), "decoder_input_ids": text}
            layers = model(**ids, output_attentions=True).cross_attentions
        else:
            layers = model(input_ids=text, output_attentions=True).attentions
    measures = np.zeros((len(layers), layers[0].shape[1], 4))
    for layer, head in np.ndindex(measures.shape[:2]):
        of_positions = []
        for position in range(len(prefix) - 1, text.shape[1]):
            weights = layers[layer][0, head, position].double().numpy()
            begin = 0
            if not source:
                begin = max(0, position + 1 - windows[layer]) if windows[layer] else 0
                assert not weights[:begin].any() and not weights[position + 1 :].any()
                weights = weights[begin : position + 1]
            if (n := len(weights)) < 2:
                continue
            entropy = -sum(p * np.log(p) for p in weights if p > 0)
            gini = abs(weights[:, None] - weights).sum() / (2 * n * weights.sum())
            mass = np.nan if source else sum(p for i, p in enumerate(weights, begin) if i < len(prefix))
            of_positions.append([entropy / np.log(n), gini, np.exp(entropy), mass])
        measures[layer, head] = np.mean(of_positions, 0)
    return measures


WINDOWS = {"gpt-neo": [None, 4], "gpt-2": [None, None], "mistral": [4, 4], "t5": [None] * 2, "bart": [None] * 2}


@pytest.mark.parametrize("kind", WINDOWS)
def test_a_batch_is_as_its_samples_one_by_one_and_as_plain_loops_have_them(kind, tmp_path):
    model, rng = make(kind, tmp_path), np.random.default_rng(1)
    ids = min(40, model.config.vocab_size)
    probes = [
        dict(zip(("prefix_ids", "suffix_ids", "source_ids"), (rng.integers(4, ids, n).tolist() for n in sizes)))  # noqa: B905
        for sizes in SIZES
    ]
    measures = attention_measures(model, probes, 100, 7)
    assert measures.dtype == np.float32 and measures.shape[:2] == (4, 2) and measures.shape[3] == 4
    assert np.isnan(measures[..., 3]).all() == (kind in ("t5", "bart")) and not np.isnan(measures[..., :3]).any()
    for probe, together in zip(probes, measures, strict=True):
        np.testing.assert_allclose(together, attention_measures(model, [probe], 100, 7)[0], rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(together, slowly(model, probe, 7, WINDOWS[kind]), rtol=2e-4, atol=2e-5)


def test_what_is_compared_is_as_scipy_and_a_plain_bootstrap_have_it():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.6, 1, (30, 2, 3)), rng.normal(0, 2, (50, 2, 3))
    a[:, 1, 2] = b[:, 1, 2] = 0.5
    b[:20, 0, 0] = a[:20, 0, 0]  # ties
    comparison = compare_samples(a, b, 4000, 1)
    for place in np.ndindex(2, 3):
        one, other = a[(slice(None), *place)], b[(slice(None), *place)]
        assert comparison.difference[place] == pytest.approx(one.mean() - other.mean())
        effect = (one[:, None] > other).mean() - (one[:, None] < other).mean()
        assert comparison.rank_biserial[place] == pytest.approx(effect)
        if place == (1, 2):
            assert comparison.p[place] == 1
            np.testing.assert_allclose([comparison.low[place], comparison.high[place]], 0, atol=1e-12)
            continue
        assert comparison.p[place] == pytest.approx(stats.mannwhitneyu(one, other, method="asymptotic").pvalue)
        statistic = lambda x, y, axis: x.mean(axis) - y.mean(axis)  # noqa: E731
        plain = stats.bootstrap((one, other), statistic, n_resamples=4000, method="percentile", random_state=2)
        ends = comparison.low[place], comparison.high[place]
        np.testing.assert_allclose(ends, plain.confidence_interval, atol=0.05)


def test_within_a_task_by_copies_and_between_tasks():
    values = np.random.default_rng(2).random((12, 2, 2, 4), np.float32)
    copies = np.repeat([1, 4], 6)
    some = np.isin(np.arange(12), [0, 6, 7, 8])  # one of the first six only
    tasks = {"x": (values, some, copies), "y": (values[:5] + 1, np.zeros(5, bool), copies[:5])}
    sizes = {name: (len(a), len(b)) for name, a, b in sample_groups(tasks)}
    assert sizes == {"x, memorized - other": (4, 8), "x, memorized - other, of copies 4": (3, 3), "x - y": (12, 5)}
    between = [each for each in compare_heads(tasks, 100, 0) if each[0] == "x - y"]
    assert [measure for _, measure, *_ in between] == ["entropy", "gini", "effective_tokens", "prefix_mass"]
    for *_, of_heads in between:
        p = stats.mannwhitneyu(values[:, 0, 0, 0], values[:5, 0, 0, 0] + 1).pvalue
        assert (of_heads.rank_biserial == -1).all() and (of_heads.p >= p).all()
    values[..., 3] = np.nan
    assert {measure for _, measure, *_ in compare_heads({"x": (values, some, copies)}, 100, 0)} == {
        "entropy",
        "gini",
        "effective_tokens",
    }
    with pytest.raises(UserError, match="x and z: their models differ"):
        sample_groups(tasks | {"z": (values[:, :1], some, copies)})


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Two results of stage 3, of prefixes of 50 and of 20 tokens; every second member of the first is memorized."""
    home = tmp_path_factory.mktemp("attention")
    write_json(home / "d.json", make_dialogues(seed=2, single=14, fourfold=0, sixteenfold=0))
    assert run_script("encode_dialogue.py", "--data", home / "d.json", "--output-dir", home, "--test-size", "0.3") == 0
    other = "--data", home / "d.json", "--output-dir", home / "other", "--test-size", "0.3", "--seed", 6
    assert run_script("encode_dialogue.py", *other) == 0
    save_language_model(home / "model", ROOT / "configs" / "gpt-neo-small")
    for prefix in (50, 20):
        what = "--model-path", home / "model", "--tokenized-dir", home, "--output-dir", home, "--dir-name", f"p{prefix}"
        sizes = "--max-new-tokens", 6, "--prefix-length", prefix
        assert run_script("inference_prefix.py", *what, *sizes) == 0
    rows, _ = read_generations(path := result(home, 50))
    members = [row.id for row in rows if row.member]
    for row in (rows := list(rows)):
        row.exact_match = row.id in members[::2]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    described = manifests.manifest_path(path)
    write_json(described, manifests.sealed(read_json(described) | {"contents": fingerprint(path)}))
    return home


def result(home, prefix):
    return home / f"memorization_p{prefix}" / "dialogue" / "dialogue.jsonl"


def command(home, output, *more, prefixes=(50,)):
    results = [result(home, prefix) for prefix in prefixes]
    return "attention_analysis.py", "--generations", *results, "--output", output, "--boot", 200, *more


def study(*given, **options):
    return run_script(*command(*given, **options))


def test_the_script_writes_the_same_bytes_twice_and_what_it_measured(stage, tmp_path):
    for name in "one", "two":
        assert study(stage, tmp_path / name, "--names", "long", "short", prefixes=(50, 20)) == 0
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    for each in files:
        assert b'"kind": "attention"' in each.pop("attention.npz.manifest.json")
        assert each.pop("memorization-study.json")
    assert files[0] == files[1]
    arrays = np.load(tmp_path / "one" / "attention.npz")
    assert arrays["names"].tolist() == ["long", "short"]
    mask, values = arrays["memorized_0"], arrays["values_0"].astype(float)
    assert abs(int(mask.sum()) * 2 - len(mask)) <= 1 and not arrays["memorized_1"].any()
    with (tmp_path / "one" / "attention.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 2 * 4 * 2 * 2  # comparisons, measures, layers, heads
    gini = next(row for row in rows if (row["measure"], row["layer"], row["head"]) == ("gini", "1", "0"))
    difference = values[mask, 1, 0, 1].mean() - values[~mask, 1, 0, 1].mean()
    assert float(gini["difference"]) == pytest.approx(difference, rel=1e-4)
    (_, ours) = manifests.read_manifest(tmp_path / "one" / "attention.npz", ATTENTION).made_of["tasks"]
    maps = heat_maps(tmp_path / "one", [manifests.identity([ours["generations"], ours["contents"]]), "0" * 16])
    with pytest.raises(UserError, match="other generations"):
        heat_maps(tmp_path / "one", ["0" * 16])
    assert [title for title, _ in maps][0::4] == ["long, memorized - other: entropy", "long - short: entropy"]
    assert all("<svg" in svg for _, svg in maps) and len(maps) == 8


def test_as_many_members_as_are_asked_for_and_the_study_is_replaced(stage, tmp_path):
    assert study(stage, tmp_path / "out") == 0
    assert study(stage, tmp_path / "out", "--samples", 6, "--seed", 1) == 0
    assert len(np.load(tmp_path / "out" / "attention.npz")["ids_0"]) == 6


@pytest.mark.slow
def test_a_killed_study_goes_on_where_it_was(warm_python, stage, tmp_path, capfd):
    killed = """if True:
        import os, sys
        sys.path.insert(0, "tests")
        from memorization.extraction import attention
        from support.command_line import run_script
        calls, measured = [], attention.attention_measures
        def until_killed(*given):
            calls.append(0)
            return measured(*given) if len(calls) < 6 else os.kill(os.getpid(), 9)
        attention.attention_measures = until_killed
        run_script(*sys.argv[1:])"""
    both = {"prefixes": (50, 20)}
    more = "--names", "long", "short", "--batch-size", 3
    assert study(stage, tmp_path / "whole", *more, **both) == 0
    out = tmp_path / "work" / "out"
    argv = map(str, command(stage, out, *more, **both))
    done = subprocess.run([warm_python / "python", "-c", killed, *argv], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -9 and not out.exists(), done.stderr[-3000:]
    capfd.readouterr()
    assert study(stage, out, *more, **both) == 0
    output = capfd.readouterr().out
    rows = len(np.load(out / "attention.npz")["ids_0"])
    assert f"{rows} rows, {rows} of them done before" in output and f"{rows} rows, 3 of them done before" in output
    assert output.count("loading") == 1
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    for path in out.iterdir():
        assert path.suffix == ".json" or path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()


@pytest.mark.parametrize("shape", [[2, 3, 4], [2, 2, 5], [-2, -2, 4], [0, 4, 4], [2, 2]])
def test_what_was_measured_is_as_many_numbers_as_its_shape_says(shape):
    row = msgspec.json.encode(MeasuresRow(id=1, turn=0, sample=0, shape=(2, 2, 4), values=bytes(64)))
    assert msgspec.json.decode(row, type=MeasuresRow).shape == (2, 2, 4)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(json.loads(row) | {"shape": shape}), type=MeasuresRow)


def test_a_mistake_is_one_line(stage, tmp_path, capfd):
    save_language_model(tmp_path / "other", ROOT / "configs" / "gpt-neo-small", seed=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    cases = [
        (["--model-path", tmp_path / "other"], {}, "is not the model of"),
        (["--model-path", tmp_path / "none"], {}, "no such directory"),
        (["--tokenized-dir", tmp_path], {}, "tokenized_dialogue_prefix"),
        (["--tokenized-dir", stage / "other"], {}, "is another encoding than that of"),
        (["--matched-tokens", 6], {}, "nothing to compare"),
        (["--names", "a", "b"], {}, "--names: 2 for 1"),
        ([], {"prefixes": (50, 50)}, "named alike"),
        ([], {"prefixes": (7,)}, "no such file"),
        (["--boot", 5], {}, "--boot: must be a whole number from 100"),
    ]
    for more, options, message in cases:
        capfd.readouterr()
        assert study(stage, tmp_path / "out", *more, **options) == 2
        assert message in one_line(capfd), more
    assert study(stage, tmp_path / "mine") == 2 and "is no study of ours" in one_line(capfd)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["manifest", "rows"])
def test_edited_generations_are_one_line_or_studied(stage, tmp_path, capfd, what):
    path = result(stage, 50)
    manifest, (first, *others) = read_json(manifests.manifest_path(path)), path.read_bytes().splitlines(keepends=True)

    @settings(max_examples=settings().max_examples // 10)
    @given(edits(manifest if what == "manifest" else json.loads(first)))
    def edited(edit):
        if what == "manifest":
            write_json(manifests.manifest_path(path), resealed(edit[0]))
        else:
            path.write_bytes(json.dumps(edit[0]).encode() + b"\n" + b"".join(others))
            write_json(manifests.manifest_path(path), resealed(manifest | {"contents": fingerprint(path)}))
        capfd.readouterr()
        status = study(stage, tmp_path / "out")
        assert status == 0 or status == 2 and one_line(capfd)

    with kept(path, manifests.manifest_path(path)):
        edited()


def test_what_the_study_has_not_written_is_never_removed(stage, tmp_path, capfd):
    assert study(stage, tmp_path / "out") == 0
    for name in ("heat_mine.svg", "thesis.tex", "heat_000.svg"):
        (tmp_path / "out" / name).write_text("mine")
        capfd.readouterr()
        assert study(stage, tmp_path / "out") == 2 and name in one_line(capfd)
        assert (tmp_path / "out" / name).read_text() == "mine"
        (tmp_path / "out" / name).unlink()
    assert study(stage, tmp_path / "out") == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "heat_mine.svg").write_text("mine")
    assert study(stage, tmp_path / "mine") == 2
