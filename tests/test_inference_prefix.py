"""Stage 3: every probe once, the same bytes however it ran, and nothing of two runs taken for one."""

import re
import shutil
import subprocess
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import transformers

from memorization.encoding.made_up import make_dialogues
from memorization.encoding.probes import Probes
from memorization.extraction.backend import OpenModel
from memorization.extraction.decoding import continue_prefixes
from memorization.extraction.form_losses import FORMS
from memorization.extraction.generations import FORMAT, read_generations, read_listing
from memorization.extraction.kinds import EXPOSURES, GENERATIONS
from memorization.extraction.local_models import LocalModels, identify
from memorization.extraction.matches import exact_match, matched_tokens, near
from memorization.extraction.scores import scores
from memorization.extraction.teacher_forcing import token_scores
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.models.hub import load_tokenizer
from memorization.models.loading import load_for_generation
from memorization.models.trained import MODEL, RECORD
from memorization.shell.cli import UserError
from memorization.store import fingerprints, locations, manifests
from memorization.store.files import fingerprint, read_json, replacing, write_json
from memorization.store.rows import base_rows
from support.command_line import ROOT, TWO_RANKS, one_line, run_script
from support.tiny_models import damage, edited, refusing, save_language_model, weights

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
CANARIES = "--canaries", "10", "--canary-copies", "1", "--canary-digits", "1"  # two batches of them


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Stage 1's output for 11 dialogues, of two encodings, and a random model that was trained on the first."""
    path = tmp_path_factory.mktemp("stage")
    write_json(path / "d.json", make_dialogues(seed=2, single=11, fourfold=0, sixteenfold=0))
    encode = ["--data", path / "d.json", "--output-dir", path, "--test-size", "0.3"]
    assert run_script("encode_dialogue.py", *encode, *CANARIES) == 0
    assert run_script("encode_dialogue.py", *encode, "--seed", "6", "--name", "other") == 0
    save_language_model(path / "model", TOKENIZER)
    encoding = Probes(path, "dialogue").encoding
    trained(path / "model", encoding)
    return path


def trained(directory, encoding):
    """Describe a model as stage 2 does when it has trained it on an encoding."""
    made_of = {"encoding": encoding, "seed": 5}
    write_json(directory / RECORD, made_of)
    manifests.write_manifest(directory, MODEL, made_of, {}, contents=fingerprints.model_fingerprint(directory))


def command(stage, out, *flags):
    paths = ["--model-path", stage / "model", "--tokenized-dir", stage, "--output-dir", out]
    return [*paths, "--max-new-tokens", "12", "--batch-size", "4", *flags]


def infer(stage, out, *flags):
    return run_script("inference_prefix.py", *command(stage, out, *flags))


def result(out, subset="dialogue"):
    return out / "memorization_finetuned_dialogue" / subset / "dialogue.jsonl"


@pytest.fixture(scope="module")
def finished(stage):
    assert infer(stage, stage / "whole") == 0
    return result(stage / "whole")


def test_every_probe_has_a_row_with_its_texts_and_metrics(stage, finished):
    rows, _ = read_generations(finished)
    probes = Probes(stage, "dialogue")[:]
    assert len(rows) == len(probes) == 11  # the last batch of 4 is not full
    tokenizer = load_tokenizer(TOKENIZER)
    model = load_for_generation(stage / "model", "auto", "cpu")
    for row, probe in zip(rows, probes, strict=True):
        assert (row.id, row.sample, row.member, row.duplicates) == (
            probe["id"],
            0,
            probe["member"],
            probe["duplicates"],
        )
        assert (row.prefix, row.suffix) == (probe["prefix"], probe["suffix"])
        assert [row.generation_ids] == continue_prefixes(model, [probe["prefix_ids"]], 12, [tokenizer.eos_token_id])
        assert row.text == tokenizer.decode(row.generation_ids)
        assert row.matched_tokens == matched_tokens(row.generation_ids, probe["suffix_ids"])
        assert row.exact_match == exact_match(row.generation_ids, probe["suffix_ids"], 12)
        assert row.near == near(row.generation_ids, probe["suffix_ids"], 12)
        suffix = probe["suffix_ids"][:12]
        (tokens,) = token_scores(model, [probe["prefix_ids"]], [suffix])
        alone = scores(tokens, tokenizer.decode(suffix))
        assert row.scores.log_probs == pytest.approx(alone.log_probs, rel=1e-4)
        assert row.scores.greedy.tolist() == alone.greedy.tolist() == tokens.greedy.tolist()
        pieces = [row.suffix[begin:end] for begin, end in pairwise([0, *np.cumsum(row.scores.lengths)])]
        assert pieces == [tokenizer.decode(token) for token in suffix]
        alone, kept = (
            {name: value for name, value in msgspec.to_builtins(of).items() if not name.startswith("token_")}
            for of in (alone, row.scores)
        )
        assert kept == pytest.approx(alone, rel=1e-4) and row.scores.matched_tokens == row.matched_tokens
    assert read_listing(finished.with_suffix(".txt")) == {(row.id, 0, 0): row.text for row in rows}


def test_a_model_that_memory_does_not_hold_gives_the_same_rows(stage, finished, tmp_path, monkeypatch):
    """With a memory that holds its embeddings alone, the layers come from disk."""
    size = (stage / "model" / "model.safetensors").stat().st_size
    monkeypatch.setattr("memorization.models.loading.rank_memory", lambda: {"cpu": size})
    places = []

    def watched(*arguments):
        model = load_for_generation(*arguments)
        places.extend(weight.device.type for weight in model.parameters())
        return model

    monkeypatch.setattr("memorization.models.adapted.load_for_generation", watched)
    assert infer(stage, tmp_path, "--device-map", "auto") == 0
    assert set(places) == {"cpu", "meta"}
    assert result(tmp_path).read_bytes() == finished.read_bytes()
    assert read_generations(result(tmp_path))[1].identity == read_generations(finished)[1].identity


def test_a_device_map_is_for_a_model_in_this_process(stage, tmp_path, capsys):
    assert infer(stage, tmp_path, "--device-map", "auto", "--engine", "http://localhost:1") == 2
    assert "--device-map: is for --engine transformers" in one_line(capsys)


def test_the_manifest_says_what_made_the_generations(stage, finished):
    _, manifest = read_generations(finished)
    probes, of_members = Probes(stage, "dialogue"), manifests.TextDigest()
    for probe in probes[:]:
        if probe["member"]:
            of_members.add(str(probe["id"]), probe["suffix"])
    assert manifest.made_of == {
        "model": fingerprints.model_fingerprint(stage / "model"),
        "encoding": probes.encoding,
        "trained_on": probes.encoding,
        "probe": "text",
        "prefix_length": 50,
        "max_new_tokens": 12,
        "temperature": 0.0,
        "top_k": 0,
        "top_p": 1.0,
        "num_samples": 1,
        "seed": None,
        "engine": "transformers",
        "engine_version": transformers.__version__,
        "dtype": "float32",
        "batch_size": None,
        "format": FORMAT,
        "unchecked": False,
    }
    assert manifest.rows == 11
    losses = manifest.facts["text_form"].pop("losses")
    assert losses.keys() == {"as encoded", *FORMS}
    assert manifest.facts == {
        "listing": fingerprint(finished.with_suffix(".txt")),
        "tokenizer": probes.tokenizer,
        "training": {"encoding": probes.encoding, "seed": 5},
        "too_short": probes.too_short,
        "text_form": {
            "form": "text",
            "named": 0,
            "samples": probes.manifest.facts["samples"],
            "template_unused": False,
            "vocabulary": manifest.facts["text_form"]["vocabulary"],
        },
        "documents": of_members.hex(),
        "prompts": {"probes": 11, "distinct": 11, "own": 11},
        "base": None,
        "adapter": None,
        "declared": None,
        "greedy_check": None,
        "canaries": manifests.read_manifest(locations.exposures_path(finished), EXPOSURES).identity,
        "held_out": {},
        "split": {"kind": "random", "near_duplicates": 0.8, "comparability": None},
        "membership": "known from training",
        "too_long": [],
        "not_computed": {},
    }


def test_a_model_from_elsewhere_is_taken_and_its_training_unknown(stage, tmp_path):
    (tmp_path / "model").symlink_to(shutil.copytree(stage / "model", tmp_path / "hub"))
    (tmp_path / "hub" / RECORD).unlink()
    assert infer(stage, tmp_path, "--model-path", tmp_path / "model", "--dtype", "bfloat16") == 0
    _, manifest = read_generations(result(tmp_path))
    assert (manifest.made_of["trained_on"], manifest.facts["training"]) == (None, None)
    assert (manifest.made_of["dtype"], manifest.made_of["unchecked"]) == ("bfloat16", False)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(stage, finished, tmp_path, capsys, monkeypatch):
    calls = []

    def killed_at_the_third_batch(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return token_scores(*args)

    monkeypatch.setattr("memorization.extraction.extract.losses_by_form", lambda *_: None)  # which takes calls too
    monkeypatch.setattr("memorization.extraction.transformers_engine.TOGETHER", 1)
    monkeypatch.setattr("memorization.extraction.transformers_engine.token_scores", killed_at_the_third_batch)
    assert infer(stage, tmp_path) == 130
    assert not result(tmp_path).exists()
    assert infer(stage, tmp_path) == 0
    assert "8 of them done before" in capsys.readouterr().out
    assert len(calls) == 4
    assert result(tmp_path).read_bytes() == finished.read_bytes()


def test_half_precision_takes_the_batch_there_is_memory_for_and_keeps_to_it(stage, tmp_path, capsys, monkeypatch):
    half = "--dtype", "bfloat16", "--batch-size"
    assert infer(stage, tmp_path / "two", *half, "2") == 0
    capsys.readouterr()
    load, calls = load_for_generation, []
    with monkeypatch.context() as patch:
        patch.setattr("memorization.models.adapted.load_for_generation", lambda *a: refusing(load(*a), 3))
        assert infer(stage, tmp_path / "whole", *half, "8") == 0
        assert re.findall("at most ([0-9]+) texts", capsys.readouterr().out)[:2] == ["4", "2"]
        rows, manifest = read_generations(result(tmp_path / "whole"))
        assert manifest.made_of["batch_size"] == 2 and len(rows) == 11
        assert result(tmp_path / "whole").read_bytes() == result(tmp_path / "two").read_bytes()

        def killed_at_the_third_batch(*args):
            calls.append(args)
            if len(calls) == 6:  # the first three tried how many texts there is memory for
                raise KeyboardInterrupt
            return token_scores(*args)

        patch.setattr("memorization.extraction.transformers_engine.token_scores", killed_at_the_third_batch)
        assert infer(stage, tmp_path / "killed", *half, "8") == 130
        assert infer(stage, tmp_path / "killed", *half, "8") == 0
    assert "4 of them done before" in capsys.readouterr().out
    for suffix in (".jsonl", ".txt", ".canaries.jsonl"):
        one, other = (result(tmp_path / name).with_suffix(suffix).read_bytes() for name in ("killed", "whole"))
        assert one == other


@pytest.mark.slow
def test_two_ranks_give_the_same_bytes_as_one(warm_python, stage, finished, tmp_path):
    base = ["--base-model", save_language_model(tmp_path / "base", TOKENIZER, seed=1)]
    two = [warm_python / "torchrun", *TWO_RANKS, ROOT / "inference_prefix.py", *command(stage, tmp_path, *base)]
    subprocess.run(two, check=True, capture_output=True)
    assert infer(stage, tmp_path / "one", *base) == 0
    for suffix in (".jsonl", ".txt", ".base.jsonl", ".base.txt", ".canaries.jsonl"):
        assert (
            result(tmp_path).with_suffix(suffix).read_bytes()
            == result(tmp_path / "one").with_suffix(suffix).read_bytes()
        )
    assert result(tmp_path).read_bytes() == finished.read_bytes()


def test_the_same_again_makes_nothing_anew_and_mends_the_listing(stage, tmp_path, monkeypatch):
    assert infer(stage, tmp_path) == 0
    listing = result(tmp_path).with_suffix(".txt")
    before = result(tmp_path).stat().st_mtime_ns, listing.read_bytes()
    listing.write_text("0=======================\nof another run\n")
    monkeypatch.delattr("memorization.extraction.decoding.GenerationConfig")  # nothing is generated
    same = [stage / "whole" / ".." / "model", "--tokenized_dir", f"{stage}/", "--seed", "9"]
    assert infer(stage, tmp_path, "--model-path", *same) == 0
    assert (result(tmp_path).stat().st_mtime_ns, listing.read_bytes()) == before


def test_a_result_of_other_settings_is_replaced_only_when_told(stage, finished, tmp_path, capsys):
    assert infer(stage, tmp_path) == 0
    locations.exposures_path(result(tmp_path)).unlink()
    assert infer(stage, tmp_path, "--temperature", "1.0") == 2
    assert not locations.exposures_path(result(tmp_path)).exists()  # it is told before the work
    line = one_line(capsys)
    differs = "temperature (0.0, not 1.0) and seed (none, not 5) and batch_size (none, not 4)"
    assert f"is the result of another run, of other {differs}; replace" in line
    assert result(tmp_path).read_bytes() == finished.read_bytes()
    assert infer(stage, tmp_path, "--temperature", "1.0", "--overwrite") == 0
    rows, manifest = read_generations(result(tmp_path).with_suffix(".txt"))
    assert manifest.made_of["temperature"] == 1.0
    assert result(tmp_path).read_bytes() != finished.read_bytes()


def killed(*_, **__):
    raise KeyboardInterrupt


def test_a_kill_never_leaves_rows_with_a_listing_of_another_run(stage, tmp_path, monkeypatch):
    """Killed after the listing: the rows are whole, of the run before, and the listing beside them is refused."""
    assert infer(stage, tmp_path) == 0
    before = list(read_generations(result(tmp_path))[0])
    flags = ["--temperature", "1", "--overwrite"]
    with monkeypatch.context() as patch:
        patch.setattr("memorization.store.rows.replacing", killed)
        assert infer(stage, tmp_path, *flags) == 130
    assert list(read_generations(result(tmp_path))[0]) == before
    with pytest.raises(UserError, match="is not the listing of"):
        read_generations(result(tmp_path).with_suffix(".txt"))
    with monkeypatch.context() as patch:  # killed before the manifest
        patch.setattr("memorization.store.rows.write_manifest", killed)
        assert infer(stage, tmp_path, *flags) == 130
    for suffix in (".jsonl", ".txt"):
        with pytest.raises(UserError, match="has no manifest"):
            read_generations(result(tmp_path).with_suffix(suffix))
    assert infer(stage, tmp_path, *flags) == 0
    assert read_generations(result(tmp_path).with_suffix(".txt"))[1].made_of["temperature"] == 1


def test_several_samples_are_each_reproducible_on_their_own(stage, tmp_path):
    flags = ["--temperature", "1", "--top-k", "50", "--top-p", "0.95", "--num-samples"]
    assert infer(stage, tmp_path / "3", *flags, "3") == 0
    assert infer(stage, tmp_path / "2", *flags, "2", "--batch-size", "5") == 0
    assert infer(stage, tmp_path / "other", *flags, "2", "--seed", "6") == 0
    three, two, other = (
        {row.key: row for row in read_generations(result(tmp_path / name))[0]} for name in ("3", "2", "other")
    )
    probes = Probes(stage, "dialogue")
    assert list(three) == [(id, 0, sample) for id in probes.ids.tolist() for sample in range(3)]
    assert two == {key: row for key, row in three.items() if key[2] < 2}
    assert len({tuple(row.generation_ids) for row in three.values()}) == len(three)
    assert all(two[key].generation_ids != other[key].generation_ids for key in two)
    assert {row.suffix for row in three.values()} == {probe["suffix"] for probe in probes[:]}
    listing = result(tmp_path / "3").with_suffix(".txt")
    assert read_listing(listing) == {key: row.text for key, row in three.items()}
    assert f"{probes.ids[0]}.2=======================\n" in listing.read_text()


def test_the_prefix_length_is_a_flag_of_this_stage(stage, tmp_path):
    assert infer(stage, tmp_path, "--prefix-length", "10") == 0
    rows, manifest = read_generations(result(tmp_path))
    assert manifest.made_of["prefix_length"] == 10
    probes = Probes(stage, "dialogue", 10)[:]
    assert [(row.id, row.prefix, row.suffix) for row in rows] == [
        (probe["id"], probe["prefix"], probe["suffix"]) for probe in probes
    ]
    assert {len(probe["prefix_ids"]) for probe in probes} == {10}


def test_the_scheme_is_scored_whatever_is_generated_and_each_probe_once(stage, finished, tmp_path):
    """Greedy generations are scored at temperature 1 under top-k and top-p; of several only the first has scores."""
    assert infer(stage, tmp_path / "k", "--top-k", "3", "--token-scores") == 0
    assert infer(stage, tmp_path / "t", "--top-k", "3", "--temperature", "1", "--num-samples", "2") == 0
    whole, greedy, sampled = (
        list(read_generations(path)[0]) for path in (finished, result(tmp_path / "k"), result(tmp_path / "t"))
    )
    assert [row.generation_ids for row in greedy] == [row.generation_ids for row in whole]
    assert all(
        row.scores.log_p_z == "-inf" for row in greedy
    )  # a random model's three likeliest have none of the words
    assert all(-1e9 < row.scores.log_p_z == row.scores.log_likelihood for row in whole)
    for row in greedy:
        assert len(row.scores.log_probs) == 12
        assert sum(row.scores.log_probs) == pytest.approx(row.scores.log_likelihood)
    assert [row.scores is None for row in sampled] == [False, True] * len(whole)
    for row, other in zip(sampled[::2], greedy, strict=True):
        assert row.scores.log_likelihood == pytest.approx(other.scores.log_likelihood)


def test_the_base_model_gets_a_second_result_of_the_same_making(stage, finished, tmp_path, capsys):
    """Asked for later, the first result is not made anew, and its manifest names the second."""
    base = save_language_model(tmp_path / "base", TOKENIZER, seed=1)
    assert infer(stage, tmp_path) == 0
    before = result(tmp_path).read_bytes()
    flags = ["--base-model", base]
    assert infer(stage, tmp_path, *flags) == 0
    rows, manifest = read_generations(result(tmp_path))
    assert result(tmp_path).read_bytes() == before == finished.read_bytes()
    others = base_rows(result(tmp_path), GENERATIONS, manifest, type(rows[0]))
    assert manifest.facts["base"]["model"] == str(base)
    assert others.manifest.made_of == manifest.made_of | {
        "model": fingerprints.model_fingerprint(base),
        "trained_on": None,
    }
    assert [(row.id, row.suffix) for row in others] == [(row.id, row.suffix) for row in rows]
    assert others[0].scores.log_likelihood != rows[0].scores.log_likelihood
    assert locations.base_path(result(tmp_path)).with_suffix(".txt").is_file()
    again = manifests.read_manifest(result(tmp_path), GENERATIONS)
    assert infer(stage, tmp_path, *flags) == 0
    assert manifests.read_manifest(result(tmp_path), GENERATIONS) == again
    assert infer(stage, tmp_path) == 0
    assert manifests.read_manifest(result(tmp_path), GENERATIONS).facts["base"] is None


def test_a_run_killed_within_the_base_model_goes_on(stage, finished, tmp_path, monkeypatch):
    base = save_language_model(tmp_path / "base", TOKENIZER, seed=1)
    flags = ["--base-model", base]
    assert infer(stage, tmp_path / "whole", *flags) == 0
    with monkeypatch.context() as patch:
        patch.setattr(
            "memorization.store.rows.replacing", lambda path: killed() if ".base." in path.name else replacing(path)
        )
        assert infer(stage, tmp_path / "cut", *flags) == 130
    assert not result(tmp_path / "cut").exists() and not locations.base_path(result(tmp_path / "cut")).exists()
    with monkeypatch.context() as patch:
        patch.setattr("memorization.extraction.transformers_engine.token_scores", killed)  # nothing is scored again
        patch.setattr("memorization.extraction.extract.losses_by_form", lambda *_: None)  # but a few answers
        assert infer(stage, tmp_path / "cut", *flags) == 0
    for path in (result, lambda out: locations.base_path(result(out))):
        assert path(tmp_path / "cut").read_bytes() == path(tmp_path / "whole").read_bytes()


class Texts:
    """An engine that gives the first characters of each suffix as text, and no scores."""

    batch_size = 5
    identity = {"engine": "texts", "engine_version": "1"}
    not_computed = dict.fromkeys(("scores", "matched_tokens"), "the engine gives texts alone")

    def score(self, probes):
        return [None] * len(probes)

    def generate(self, prompts):
        return [prompt.probe["suffix"][:120] for prompt in prompts]


def test_what_an_engine_does_not_compute_is_left_out_and_named_up_to_the_report(stage, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        LocalModels, "opened", lambda _, source, inputs: nullcontext(OpenModel(Texts(), identify(source)))
    )
    assert infer(stage, tmp_path) == 0
    rows, manifest = read_generations(result(tmp_path))
    assert manifest.made_of["engine"] == "texts" and manifest.facts["canaries"] is None
    canaries = {"canaries": "the engine does not run the model in this process"}
    assert manifest.facts["not_computed"] == Texts.not_computed | canaries
    assert (note := f"exposures of canaries: not computed, as {canaries['canaries']}") in capsys.readouterr().out
    assert all(row.scores is row.matched_tokens is None and not row.generation_ids for row in rows)
    assert all(row.exact_match and row.near.near_copy for row in rows)  # by their texts
    index = "--indexes", tmp_path / "indexes", "--index-xsuffix", "i"
    assert run_script("load_to_elastic.py", "-dir", stage, "-fn", "dialogue_prefix.json", *index) == 0
    detect = (
        "--filedir",
        result(tmp_path),
        *index,
        "--type",
        "m",
        "--output-dir",
        tmp_path,
        "--paraphrase-model",
        "none",
    )
    capsys.readouterr()
    assert run_script("plagiarism_detect.py", *detect) == 0
    assert run_script("report.py", tmp_path / "m" / "dialogue", "--output", tmp_path / "report") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("min-k %++: not computed, as the engine gives texts alone") == 2  # the table and the report
    assert printed.count(note) == 2
    scores = read_json(tmp_path / "m" / "dialogue" / "result.json")["scores"]
    assert not {"loss", "min_k", "matched_tokens"} & scores.keys()
    csv = (tmp_path / "report" / "summary.csv").read_text()
    assert ",own," in csv and ",loss," not in csv and ",matched_tokens," not in csv and ",exact_match," in csv


class Parted(TransformersEngine):
    """An engine whose generations are not those that its scores verify: one of them parts one token early."""

    def generate(self, prompts):
        continuations = super().generate([prompt._replace(scores=None) for prompt in prompts])
        for prompt, tokens in zip(prompts, continuations, strict=True):
            if prompt.probe["id"] == 3:
                tokens[0] = prompt.probe["suffix_ids"][0]
        return continuations


def test_an_engine_of_two_passes_is_checked_against_itself(stage, finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("memorization.extraction.local_models.TransformersEngine", Parted)
    opened = LocalModels.opened

    @contextmanager
    def as_another(backend, source, inputs):
        with opened(backend, source, inputs) as model:
            yield model._replace(model=None)

    monkeypatch.setattr(LocalModels, "opened", as_another)
    assert 3 in {row.id for row in read_generations(finished)[0]}
    assert infer(stage, tmp_path) == 0
    assert read_generations(result(tmp_path))[1].facts["greedy_check"] == {"compared": 11, "differ": 1}
    assert "1 of 11 generations part from their suffix at another token than the scores say" in capsys.readouterr().out
    assert infer(stage, tmp_path / "sampled", "--temperature", "1") == 0
    assert read_generations(result(tmp_path / "sampled"))[1].facts["greedy_check"] is None


# ---- what is refused


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_vllm_that_is_not_installed_is_named_with_where_to_read_of_it(stage, tmp_path, capsys):
    message = refused(capsys, stage, tmp_path, "--engine", "vllm")
    assert "--engine vllm: vLLM is not installed here; docs/scaling.md describes its environment" in message


def test_an_engine_that_is_none_is_refused_with_the_choices(stage, tmp_path, capsys):
    for engine in ("vlm", tmp_path / "missing.jsonl", "localhost:8000"):
        message = refused(capsys, stage, tmp_path, "--engine", engine)
        assert f"--engine {engine}: no such engine or file; name transformers" in message


def of_a_text(stage):
    """The first word of a probe's suffix: with it as a token of its own, other tokens are made of that text."""
    return Probes(stage, "dialogue")[:1][0]["suffix"].split()[0]


def test_a_base_model_with_another_tokenizer_is_refused(stage, tmp_path, capsys):
    tokenizer = load_tokenizer(TOKENIZER)
    tokenizer.add_tokens([of_a_text(stage)])
    tokenizer.save_pretrained(shutil.copytree(stage / "model", tmp_path / "base"))
    message = refused(capsys, stage, tmp_path, "--base-model", tmp_path / "base")
    assert f"{tmp_path / 'base'}: another tokenizer than the probes in" in message
    assert "name another base model" in message


def rounded(tensors):
    """Weights that bfloat16 holds and float16 does not."""
    tensors["transformer.wte.weight"][0, 0] = 1e6


@pytest.mark.parametrize(
    ("change", "flags", "message"),
    [
        (lambda path: None, (), "has the weights of the model itself; name by --base-model what it was before"),
        (damage("tokenizer.json", lambda data: data + b" "), (), "has the weights of the model itself"),
        (damage("config.json", lambda data: data + b" "), (), "has the weights of the model itself"),
        (damage("model.safetensors", lambda data: data[:-1]), (), "model.safetensors"),
        (weights(lambda tensors: tensors["transformer.ln_f.bias"].fill_(float("nan"))), (), "NaN or infinite"),
        (weights(lambda tensors: tensors.pop("transformer.ln_f.bias")), (), "lacks weights"),
        (weights(rounded), ("--dtype", "float16"), "NaN or infinite"),
        (lambda path: write_json(path / RECORD, {}), (), "its training did not finish"),
    ],
)
def test_a_base_model_that_is_none_is_refused_before_the_work(stage, tmp_path, capsys, change, flags, message):
    base = edited(stage / "model", tmp_path / "base", lambda path: ((path / RECORD).unlink(), change(path)))
    line = refused(capsys, stage, tmp_path, "--base-model", base, *flags)
    assert str(base) in line and message in line
    assert not [*result(tmp_path).parent.glob("*.jsonl*")]  # nothing was begun


def test_a_base_result_of_another_run_is_refused_before_the_work(stage, tmp_path, capsys):
    bases = [save_language_model(tmp_path / f"base{seed}", TOKENIZER, seed=seed) for seed in (1, 2)]
    assert infer(stage, tmp_path, "--base-model", bases[0]) == 0
    result(tmp_path).unlink()
    locations.exposures_path(result(tmp_path)).unlink()
    capsys.readouterr()
    message = refused(capsys, stage, tmp_path, "--base-model", bases[1])
    assert f"{locations.base_path(result(tmp_path))}: is the result of another run, of other model" in message
    assert not [*result(tmp_path).parent.glob("*.partial")] and not locations.exposures_path(result(tmp_path)).exists()
    manifests.manifest_path(result(tmp_path)).unlink()
    assert infer(stage, tmp_path, "--base-model", bases[1], "--overwrite") == 0


def refused(capsys, stage, tmp_path, *flags):
    assert infer(stage, tmp_path, *flags) == 2
    assert not result(tmp_path).exists()
    return one_line(capsys)


def test_probes_of_another_encoding_than_the_models_are_refused(stage, tmp_path, capsys):
    line = refused(capsys, stage, tmp_path, "--subset-name", "other")
    own, other = (Probes(stage, name).encoding for name in ("dialogue", "other"))
    assert f"{stage / 'model'}: was trained on another encoding ({own})" in line
    assert f"{stage / 'tokenized_other_prefix'} are of ({other})" in line
    assert "--subset-name, or go on with --unchecked" in line
    assert infer(stage, tmp_path, "--subset-name", "other", "--unchecked") == 0
    made_of = read_generations(result(tmp_path, "other"))[1].made_of
    assert (made_of["encoding"], made_of["trained_on"], made_of["unchecked"]) == (other, own, True)


def test_what_needs_no_leave_is_not_called_unchecked(stage, finished, tmp_path):
    assert infer(stage, tmp_path, "--unchecked") == 0
    assert read_generations(result(tmp_path))[1].identity == read_generations(finished)[1].identity


def test_a_model_whose_training_did_not_finish_is_refused(stage, tmp_path, capsys):
    shutil.copytree(stage / "model", tmp_path / "model")
    assert "training did not finish" in refused(capsys, stage, tmp_path, "--model-path", tmp_path / "model")


@pytest.mark.parametrize("what", ["word", "end of text"])
def test_another_tokenizer_than_the_probes_is_refused(stage, tmp_path, capsys, what):
    tokenizer = load_tokenizer(TOKENIZER)
    if what == "word":
        tokenizer.add_tokens([of_a_text(stage)])
    else:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(7)
    tokenizer.save_pretrained(tmp_path / "other")
    assert "other: another tokenizer than the probes in" in refused(
        capsys, stage, tmp_path, "--token-path", tmp_path / "other"
    )


def test_ids_that_no_text_has_make_no_difference(stage, finished, tmp_path, capsys):
    """As of Llama 2 with a padding token added, whose embeddings were not resized, and of Gemma 3."""
    tokenizer = load_tokenizer(TOKENIZER)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.add_tokens(["hippocampus"])
    model = shutil.copytree(stage / "model", tmp_path / "model")
    (model / RECORD).unlink()
    tokenizer.save_pretrained(model)
    base = save_language_model(tmp_path / "base", TOKENIZER, seed=1)
    tokenizer.save_pretrained(base)
    assert load_tokenizer(base).pad_token_id == read_json(base / "config.json")["vocab_size"]  # beyond the embeddings
    assert infer(stage, tmp_path, "--model-path", model, "--base-model", base) == 0
    assert result(tmp_path).read_bytes() == finished.read_bytes()
    assert "ends a text" not in capsys.readouterr().out


@pytest.mark.parametrize("end", [7, [7, 9]])
def test_a_configuration_with_another_end_of_text_than_the_tokenizer_is_told(stage, finished, tmp_path, capsys, end):
    """As of Qwen3's base models: what closes the probes is the tokenizer's, and ends a generation."""
    model = shutil.copytree(stage / "model", tmp_path / "model")
    (model / RECORD).unlink()
    config = read_json(model / "config.json")
    own = config["eos_token_id"]
    write_json(model / "config.json", config | {"eos_token_id": end})
    assert infer(stage, tmp_path, "--model-path", model) == 0
    note = f"{model}: its configuration ends a text with token {end}, generations end with the tokenizer's, {own}\n"
    assert note in capsys.readouterr().out
    assert result(tmp_path).read_bytes() == finished.read_bytes()
    write_json(model / "config.json", config | {"eos_token_id": [7, own]})
    assert infer(stage, tmp_path, "--model-path", model, "--overwrite") == 0
    assert "ends a text" not in capsys.readouterr().out


def test_probes_without_their_manifest_are_refused(stage, tmp_path, capsys):
    shutil.copytree(stage / "tokenized_dialogue_prefix", tmp_path / "tokenized_dialogue_prefix")
    shutil.copy(stage / "dialogue_prefix.json", tmp_path)
    assert "has no manifest" in refused(capsys, stage, tmp_path, "--tokenized-dir", tmp_path)


def test_a_smaller_model_is_named(stage, tmp_path, capsys):
    save_language_model(tmp_path / "model", TOKENIZER, context=61)
    assert "its context of 61 tokens is shorter than prefix + new tokens (50 + 12)" in refused(
        capsys, stage, tmp_path, "--model-path", tmp_path / "model"
    )
    config = read_json(tmp_path / "model" / "config.json")
    write_json(tmp_path / "model" / "config.json", config | {"vocab_size": 100, "max_position_embeddings": 256})
    greatest = max(max(probe["prefix_ids"] + probe["suffix_ids"]) for probe in Probes(stage, "dialogue")[:])
    message = refused(capsys, stage, tmp_path, "--model-path", tmp_path / "model")
    assert f"token id {greatest} of the probes is beyond its vocabulary of 100; name the model that" in message
    write_json(tmp_path / "model" / "config.json", config | {"vocab_size": greatest, "max_position_embeddings": 256})
    assert f"beyond its vocabulary of {greatest}" in refused(
        capsys, stage, tmp_path, "--model-path", tmp_path / "model"
    )


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--model-path", "no/such-model"], "no/such-model"),
        (["--subset-name", "nothing"], "nothing_prefix"),
        (["--batch-size", "0"], "--batch-size: must be"),
        (["--prefix-length", "-1"], "--prefix-length: must be"),
        (["--prefix-length", "0"], "nothing of a text is given; take --probe target"),
        (["--prefix-length", "5000"], "lower --prefix-length"),
        (["--top-p", "1.5"], "--top-p: must be"),
        (["--seed", "-1"], "--seed: must be"),
        (["--num-samples", "2"], "--num-samples 2: has no effect without sampling; add --temperature 1"),
    ],
)
def test_a_mistake_gets_one_line(stage, tmp_path, capsys, flags, named):
    assert named in refused(capsys, stage, tmp_path, *flags)
    assert not result(tmp_path).parent.exists()


def test_a_drawn_sample_gives_the_rows_of_all_and_is_measured_with_the_whole_index(stage, finished, tmp_path):
    drawn = "--members", "4", "--held-out", "2"
    assert infer(stage, tmp_path, *drawn) == 0
    rows, manifest = read_generations(result(tmp_path))
    every, of_all = read_generations(finished)
    assert [row.member for row in rows].count(True) == 4 and len(rows) == 6
    assert list(rows) == [row for row in every if row.id in {row.id for row in rows}]
    assert manifest.made_of["drawn"] == {"members": 4, "held_out": 2, "seed": 5}
    assert manifest.identity != of_all.identity and manifest.facts["documents"] == of_all.facts["documents"]
    assert manifest.facts["prompts"] == of_all.facts["prompts"]
    index = "--indexes", tmp_path / "indexes", "--index-xsuffix", "dialogue"
    load = ["load_to_elastic.py", "-dir", stage, "-fn", "dialogue_prefix.json", *index]
    assert run_script(*load) == 0
    detect = ["--filedir", result(tmp_path), "--type", "tiny", "--output-dir", tmp_path / "results", *index]
    assert run_script("plagiarism_detect.py", *detect, "--paraphrase-model", "none") == 0
    assert run_script(*load, "--prefix-length", "20") == 0
    assert run_script("plagiarism_detect.py", *detect, "--paraphrase-model", "none", "--overwrite") == 2
    assert (
        "a random sample was asked: 4 members and 2 held-out samples"
        in (
            run_script("report.py", tmp_path / "results" / "tiny" / "dialogue", "--output", tmp_path / "report"),
            (tmp_path / "report" / "audit.json").read_text(),
        )[1]
    )


def test_another_draw_is_another_result_and_too_few_are_refused(stage, tmp_path, capsys):
    assert infer(stage, tmp_path, "--members", "4") == 0
    assert infer(stage, tmp_path, "--members", "4", "--seed", "6") == 2
    assert "drawn" in one_line(capsys)
