"""Identities and manifests: what is of two runs is never taken for one."""

from argparse import Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization import __version__
from memorization.detection.kinds import DETECTIONS
from memorization.encoding.kinds import OF_ENCODING, PROBES
from memorization.extraction.kinds import EXPOSURES, GENERATIONS
from memorization.models.trained import MODEL
from memorization.results.attention import ATTENTION
from memorization.retrieval.index import INDEX
from memorization.shell.cli import UserError
from memorization.store import locations, manifests
from memorization.store.files import fingerprint, fingerprints, read_json, write_json
from support.command_line import ROOT

TOKENIZER = ROOT / "configs" / "gpt-neo-small"


def test_an_identity_is_of_the_values_not_of_their_order():
    assert manifests.identity({"a": 1, "b": [2, None]}) == manifests.identity({"b": [2, None], "a": 1})
    others = [{"a": 1}, {"a": 1, "b": [2]}, {"a": 2, "b": [2, None]}, {"a": 1, "b": [2, None], "c": None}]
    assert len({manifests.identity(other) for other in [*others, {"a": 1, "b": [2, None]}]}) == 5


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"seed": 5, "name": "x"}, {"seed": 6, "name": "x"}, "seed (5, not 6)"),
        (
            {"model": "a" * 64, "k": 1},
            {"model": "b" * 64, "k": 2},
            f"model ({'a' * 12}, not {'b' * 12}) and k (1, not 2)",
        ),
        ({"base": None}, {"base": "gpt"}, "base (none, not gpt)"),
        ({"seed": 5}, {"seed": 5, "format": None}, "format (unknown, not none)"),
        ({"template": "x" * 40 + "{}"}, {"template": ""}, f"template ({'x' * 40}{{}}, not )"),
        ({"temperature": 1}, {"temperature": 1.0}, "temperature (1, not 1.0)"),
    ],
)
def test_a_difference_names_each_setting_with_both_values(one, other, words):
    assert manifests.difference(one, other) == words
    assert manifests.difference(one, one) == ""


json_values = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, "", "1", "none"])
made_of = st.dictionaries(st.sampled_from("abc"), json_values)


@given(made_of, made_of)
def test_what_has_another_identity_has_a_difference(one, other):
    assert (manifests.identity(one) == manifests.identity(other)) == (manifests.difference(one, other) == "")


MADE_OF = {"seed": 5, "encoding": "e" * 16, "prefix_length": 50, "trained_on": None, "unchecked": False}
MADE_OF |= {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "model": "m"}
FACTS = {"listing": "abc", "training": None, "base": {"model": "b", "identity": "i", "contents": "c"}}
FACTS |= {"canaries": "i", "documents": "d"}


def described(path, kind=GENERATIONS, text="rows", **facts):
    path.write_text(text)
    manifests.write_manifest(path, kind, MADE_OF, {}, rows=3, **(FACTS | facts))
    return path


def test_a_manifest_says_what_made_the_result_from_what_and_with_what(tmp_path):
    (tmp_path / "in").write_text("x")
    (tmp_path / "out").write_text("y")
    arguments = Namespace(seed=5, output_dir=tmp_path)
    inputs = fingerprints([tmp_path / "in", "org/name"])
    manifests.write_manifest(tmp_path / "out", GENERATIONS, MADE_OF, arguments, inputs, rows=3, **FACTS)
    manifest = manifests.checked(tmp_path / "out", GENERATIONS)
    assert manifest.identity == manifests.identity(MADE_OF)
    assert manifest.arguments == {"seed": 5, "output_dir": str(tmp_path)}
    assert manifest.inputs == {str(tmp_path / "in"): fingerprint(tmp_path / "in"), "org/name": None}
    assert (manifest.rows, manifest.facts, manifest.version) == (3, FACTS, __version__)
    assert manifest.contents == fingerprint(tmp_path / "out")
    assert {"torch", "transformers"} <= manifest.libraries.keys()


def test_a_manifest_lies_beside_its_result_however_that_is_called(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a")
    beside = tmp_path / "a.manifest.json"
    for name in (".", "b/..", tmp_path / "a", "../a"):
        assert manifests.manifest_path(name).resolve() == beside
    assert str(manifests.manifest_path("/")) == "/.manifest.json"


def test_a_result_without_its_manifest_is_refused(tmp_path):
    with pytest.raises(UserError, match="nothing: no such file or directory; .*run inference_prefix.py"):
        manifests.read_manifest(tmp_path / "nothing", GENERATIONS)
    (tmp_path / "out").write_text("rows")
    with pytest.raises(UserError, match=r"out: has no manifest, .*run inference_prefix.py \(again\)"):
        manifests.checked(tmp_path / "out", GENERATIONS)


def test_a_manifest_of_another_kind_or_version_is_refused(tmp_path):
    described(tmp_path / "out")
    with pytest.raises(UserError, match="is of kind .generations., not .probes.; name the probes that encode_<task>"):
        manifests.checked(tmp_path / "out", PROBES)
    path = manifests.manifest_path(tmp_path / "out")
    manifest = read_json(path)
    for other in (manifests.sealed({**manifest, "more": 1}), {"kind": "generations"}, [], {**manifest, "rows": "3"}):
        write_json(path, other)
        with pytest.raises(UserError, match="not a manifest of this version .*; run inference_prefix.py again"):
            manifests.read_manifest(tmp_path / "out", GENERATIONS)
    path.write_text("{")
    with pytest.raises(UserError, match="out.manifest.json: not valid JSON at line 1"):
        manifests.read_manifest(tmp_path / "out", GENERATIONS)


SETTINGS = {
    "profile": "pan",
    "direction": "pan",
    "span_length": 50,
    "classifier": None,
    "ner_model": None,
    "unchecked": False,
}
SETTINGS |= {"regions": ["US"], "loop_repeats": 10, "candidates": 10, "generations": "a", "index": "b"}
ENCODING = {"tokenizer": "t", "split": "random", "min_suffix_length": 20}
OF_TEXTS = {"ends": [0], "samples": 3, "special_names": 0, "template_unused": False}
DESCRIBED = {  # kind -> (made_of, facts, arguments) with nothing but what the stages read
    "training set": ({"tokenizer": "t"}, {}, {}),
    "canaries": ({}, {}, {}),
    "exposures": ({"digits": 4, "trained_on": "e", "unchecked": False}, {}, {}),
    "held-out set": ({"tokenizer": "t"}, {}, {}),
    "probes": (ENCODING, {"probe": "text", "prefix_length": 50} | OF_TEXTS, {}),
    "probes as text": ({}, {}, {}),
    "model": ({"encoding": "e"}, {}, {}),
    "generations": ({name: MADE_OF[name] for name in MADE_OF if name != "seed"}, FACTS, {}),
    "index": ({}, {}, {}),
    "detections": (
        SETTINGS,
        {"generations": None, "training": {}, "index": {}, "samples": [2, 1], "clusters": [2, 1]}
        | {"base": None, "canaries": None},
        {"type": "x", "paraphrase_model": "none"},
    ),
    "attention": ({"tasks": []}, {"heat_maps": {}}, {}),
}


KINDS = (*OF_ENCODING.values(), MODEL, GENERATIONS, EXPOSURES, INDEX, DETECTIONS, ATTENTION)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_manifest_without_what_is_read_of_it_is_refused(tmp_path, kind):
    (tmp_path / "out").write_text("rows")

    def read(made_of, facts, arguments):
        manifests.write_manifest(tmp_path / "out", kind, made_of, arguments, **facts)
        return manifests.checked(tmp_path / "out", kind)

    parts = DESCRIBED[kind.name]
    assert read(*parts).made_of == parts[0]
    for i, part in enumerate(parts):
        for name, value in part.items():
            less = {other: part[other] for other in part if other != name}
            wrong = [
                part | {name: other} for other in ({} if isinstance(value, list) else [], 0 if value is None else None)
            ]
            for changed in (less, *wrong):
                if (
                    name
                    in (
                        "classifier",
                        "ner_model",
                        "trained_on",
                        "training",
                        "generations",
                        "base",
                        "canaries",
                        "prefix_length",
                        "documents",
                    )
                    and changed.get(name, 1) is None
                ):
                    continue  # that may be null
                with pytest.raises(UserError, match=rf"manifest.json: .*{name}.*; run {kind.stage} again"):
                    read(*parts[:i], changed, *parts[i + 1 :])


FALSEHOODS = {"rows": 4, "facts": {}, "arguments": {"seed": 6}, "inputs": {"x": None}, "version": "0", "libraries": {}}


@pytest.mark.parametrize("name", FALSEHOODS)
def test_a_manifest_that_was_edited_is_refused_whatever_was(tmp_path, name):
    path = manifests.manifest_path(described(tmp_path / "out"))
    manifest = read_json(path) | {name: FALSEHOODS[name]}
    write_json(path, manifest)
    with pytest.raises(UserError, match=r"manifest.json: was edited .*; run inference_prefix.py again"):
        manifests.read_manifest(tmp_path / "out", GENERATIONS)
    if name != "facts":
        write_json(path, manifests.sealed(manifest))
        assert getattr(manifests.read_manifest(tmp_path / "out", GENERATIONS), name) == FALSEHOODS[name]


def test_a_result_that_changed_is_refused(tmp_path):
    described(tmp_path / "out")
    (tmp_path / "out").write_text("Rows")
    with pytest.raises(UserError) as refused:
        manifests.checked(tmp_path / "out", GENERATIONS)
    contents, written = (
        fingerprint(tmp_path / "out")[:12],
        manifests.read_manifest(tmp_path / "out", GENERATIONS).contents[:12],
    )
    assert f"(contents {contents}, by its manifest {written}); run inference_prefix.py again" in str(refused.value)


def test_a_change_in_a_directory_below_is_a_change(tmp_path):
    (tmp_path / "index" / "segments").mkdir(parents=True)
    (tmp_path / "index" / "segments" / "0").write_text("documents")
    manifests.write_manifest(tmp_path / "index", INDEX, {}, {})
    assert manifests.checked(tmp_path / "index", INDEX).rows == 0
    (tmp_path / "index" / "segments" / "0").write_text("others")
    with pytest.raises(UserError, match="index: has changed"):
        manifests.checked(tmp_path / "index", INDEX)


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3), st.data())
def test_the_digest_of_texts_tells_where_one_ends(texts, data):
    def digest(pairs):
        whole = manifests.TextDigest()
        for id, text in pairs:
            whole.add(id, text)
        return whole.hex()

    others = data.draw(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3))
    shifted = [(id + text[:1], text[1:]) for id, text in texts]
    for other in (others, shifted, texts[::-1], texts[1:]):
        assert (digest(texts) == digest(other)) == (texts == other)


# ---- where results lie


def test_results_lie_where_the_flags_say():
    assert str(locations.encoding_paths("data", "qa")["probes"]) == "data/tokenized_qa_prefix"
    assert str(locations.generations_path(".", "tuned", "qa", "first")) == "memorization_tuned/qa/first.jsonl"
    assert str(locations.detections_path("results", "gpt-neo", "qa")) == "results/gpt-neo/qa/detections.jsonl"


@pytest.mark.parametrize("type", ["./gpt-neo", "/gpt-neo", "../gpt-neo", "gpt-neo/", "../../gpt-neo"])
def test_no_spelling_of_a_type_leaves_the_directory_of_results(type):
    assert str(locations.detections_path("results", type, "qa")) == "results/gpt-neo/qa/detections.jsonl"
