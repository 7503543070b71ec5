"""The probes of an encoding: what they hold, where they are cut, and that those of two splits are refused."""

import json

import numpy as np
import pandas
import pytest
from datasets import load_from_disk
from shell import ROOT, run_script

from memorization.cli import UserError
from memorization.encoding import samples
from memorization.encoding.dialogues import make_dialogues
from memorization.encoding.probes import Probes, read_probes
from memorization.encoding.tasks import DIALOGUE
from memorization.hub import load_tokenizer

ROWS = make_dialogues(seed=3, single=30, fourfold=5, sixteenfold=1)
for i, letters in enumerate(("日本語のテキスト", "👩‍👩‍👧🇩🇪", "naïve Ångström ")):
    ROWS[7 * i + 3] = ROWS[7 * i + 3] | {"input": letters * (10 + i)}


def encode(out, *args):
    return run_script("encode_dialogue.py", "--data", out / "d.json", "--output-dir", out, *args)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """An encoding of several small batches."""
    out = tmp_path_factory.mktemp("encoded")
    (out / "d.json").write_text(json.dumps(ROWS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "ROWS", 7)
        assert encode(out, "--test-size", "0.2") == 0
    return out


@pytest.mark.parametrize("prefix_length", [1, 7, 50, 90])
def test_probes_are_the_distinct_samples_cut_in_two(encoded, prefix_length):
    tokenizer = load_tokenizer(ROOT / "configs" / "gpt-neo-small")
    texts = [DIALOGUE.text(row) for row in ROWS]
    members = set(load_from_disk(str(encoded / "tokenized_dialogue_train"))["text"])
    probes = Probes(encoded, "dialogue", prefix_length)
    assert len(probes) == len(probes[:]) > 20
    assert len(probes) + probes.too_short == len(set(texts))
    for i, probe in enumerate(probes[:]):
        text = texts[probe["id"]]
        assert probe["id"] == probes.ids[i] == texts.index(text)
        assert probe["member"] == probes.members[i] == (text in members)
        assert probe["duplicates"] == probes.duplicates[i] == texts.count(text)
        assert probe["prefix"] + probe["suffix"] == text
        assert probe["prefix_ids"] + probe["suffix_ids"] == tokenizer(text)["input_ids"]
        assert tokenizer.decode(probe["prefix_ids"]) == probe["prefix"]
        assert len(probe["suffix_ids"]) >= 20
        # no shorter prefix of enough tokens ends between characters
        for shorter in range(prefix_length, len(probe["prefix_ids"])):
            assert not text.startswith(tokenizer.decode(probe["prefix_ids"][:shorter]))
    assert probes.longest_prefix == max(len(probe["prefix_ids"]) for probe in probes[:]) >= prefix_length


def test_slices_are_those_of_a_list(encoded):
    probes = Probes(encoded, "dialogue")
    everything = probes[:]
    for where in (slice(0, 3), slice(5, 9), slice(2, 5), slice(-4, None), slice(10, 2), slice(30, 999)):
        assert probes[where] == everything[where]
    assert probes.ids.dtype == probes.duplicates.dtype == np.int64 and probes.members.dtype == bool


def test_the_text_file_holds_the_same_probes_and_opens_in_pandas(encoded):
    probes = Probes(encoded, "dialogue")
    table = pandas.read_json(encoded / "dialogue_prefix.json", orient="split")
    columns = ["id", "member", "prefix", "suffix", "duplicates"]
    assert table.columns.tolist() == columns and table.index.tolist() == list(range(len(probes)))
    assert read_probes(encoded / "dialogue_prefix.json") == [{name: p[name] for name in columns} for p in probes[:]]
    assert table["suffix"].tolist() == [probe["suffix"] for probe in probes[:]]


def test_probes_say_which_encoding_they_are_of(encoded):
    probes = Probes(encoded, "dialogue")
    assert probes.encoding == probes.manifest.identity
    assert probes.tokenizer == probes.manifest.made_of["tokenizer"]


def test_a_prefix_longer_than_all_samples_is_refused(encoded):
    with pytest.raises(UserError, match="shorter than 5000 \\+ 20 tokens; lower --prefix-length"):
        Probes(encoded, "dialogue", 5000)


def test_probes_without_their_manifest_or_of_two_splits_are_refused(tmp_path):
    (tmp_path / "d.json").write_text(json.dumps(ROWS))
    assert encode(tmp_path) == 0
    text, manifest = tmp_path / "dialogue_prefix.json", tmp_path / "dialogue_prefix.json.manifest.json"
    kept = text.read_bytes(), manifest.read_bytes()
    assert encode(tmp_path, "--seed", "6", "--overwrite") == 0
    new = text.read_bytes()
    text.write_bytes(kept[0])
    with pytest.raises(UserError, match="has changed"):
        Probes(tmp_path, "dialogue")
    manifest.write_bytes(kept[1])
    with pytest.raises(UserError, match=r"from another split than their ids.*seed \(5, not 6\)") as error:
        Probes(tmp_path, "dialogue")
    assert "dialogue_prefix.json" in str(error.value) and "tokenized_dialogue_prefix" in str(error.value)
    manifest.unlink()
    text.write_bytes(new)
    with pytest.raises(UserError, match="has no manifest"):
        Probes(tmp_path, "dialogue")
