"""The probes of an encoding: what they hold, where they are cut, and that those of two splits are refused."""

import json
import shutil

import numpy as np
import pandas
import pyarrow as pa
import pytest
from datasets import load_from_disk

from memorization.encoding import sample_store
from memorization.encoding.kinds import PROBES, TRAINING_SET
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.probes import Probes, read_probes
from memorization.encoding.stored_sets import ROWS as FILE
from memorization.encoding.tasks import DIALOGUE
from memorization.models.hub import load_tokenizer
from memorization.shell.cli import UserError
from memorization.store.locations import encoding_paths
from memorization.store.manifests import read_manifest, write_manifest
from support.command_line import ROOT, one_line, run_script

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
        patch.setattr(sample_store, "ROWS", 7)
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


@pytest.mark.parametrize("prefix_length", [1, 10])
def test_a_target_is_asked_for_behind_all_that_stands_before_it(encoded, prefix_length):
    """Where tokenizers say each token ends, one by one: the slow way."""
    tokenizer = load_tokenizer(ROOT / "configs" / "gpt-neo-small")
    samples = {DIALOGUE.text(row): DIALOGUE.sample(row).targets[0] for row in ROWS[::-1]}
    probes, long = Probes(encoded, "dialogue", prefix_length, "target"), 0
    for text, target in samples.items():
        ids, offsets = (tokenizer(text, return_offsets_mapping=True)[name] for name in ("input_ids", "offset_mapping"))
        first = next(i for i, (_, end) in enumerate(offsets) if end > target)
        cut = first + prefix_length
        while cut < len(ids) and offsets[cut][0] < offsets[cut - 1][1]:  # begins inside a character
            cut += 1
        if len(ids) - cut < 20:
            continue
        long += 1
        (probe,) = [probe for probe in probes[:] if probe["prefix"] + probe["suffix"] == text]
        assert (probe["prefix_ids"], probe["suffix_ids"]) == (ids[:cut], ids[cut:])
        assert tokenizer.decode(ids[:cut]) == probe["prefix"] and len(probe["prefix"]) > target
    assert len(probes) == long > 20 and probes.too_short == len(samples) - long
    assert (probes.kind, probes.prefix_length) == ("target", prefix_length)


def test_stage_1_says_which_kind_and_length_its_probes_are_of(encoded, tmp_path, capsys):
    assert (Probes(encoded, "dialogue").kind, Probes(encoded, "dialogue").prefix_length) == ("text", 50)
    shutil.copy(encoded / "d.json", tmp_path)
    assert encode(tmp_path, "--probe", "target", "--prefix-length", "10") == 0
    probes, output = Probes(tmp_path, "dialogue"), capsys.readouterr().out
    assert (probes.kind, probes.prefix_length) == ("target", 10)
    columns = ["id", "member", "prefix", "suffix", "duplicates", "turn"]
    assert read_probes(tmp_path / "dialogue_prefix.json") == [{name: p[name] for name in columns} for p in probes[:]]
    for kind in ("text", "target"):
        some = Probes(tmp_path, "dialogue", 10, kind)
        members = some.members.sum()
        assert (
            f"{len(some)} probes of kind {kind}: {members} members, {len(some) - members} non-members; "
            f"{some.too_short} {kind}s too short" in output
        )
    assert encode(tmp_path, "--probe", "source") == 2
    assert "--probe source: is for encoder-decoder models; add --encoder-decoder, or name target" in one_line(capsys)
    assert encode(tmp_path, "--probe", "text", "--encoder-decoder") == 2
    assert "--probe text: is for causal models; leave out --encoder-decoder, or name target" in one_line(capsys)


def test_slices_are_those_of_a_list(encoded):
    probes = Probes(encoded, "dialogue")
    everything = probes[:]
    for where in (slice(0, 3), slice(5, 9), slice(2, 5), slice(-4, None), slice(10, 2), slice(30, 999)):
        assert probes[where] == everything[where]
    assert probes.ids.dtype == probes.duplicates.dtype == np.int64 and probes.members.dtype == bool


def test_the_text_file_holds_the_same_probes_and_opens_in_pandas(encoded):
    probes = Probes(encoded, "dialogue")
    table = pandas.read_json(encoded / "dialogue_prefix.json", orient="split")
    columns = ["id", "member", "prefix", "suffix", "duplicates", "turn"]
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
    with pytest.raises(UserError, match=r"is of another split than the probes.*seed \(5, not 6\)") as error:
        Probes(tmp_path, "dialogue")
    assert "dialogue_prefix.json" in str(error.value) and "tokenized_dialogue_prefix" in str(error.value)
    manifest.unlink()
    text.write_bytes(new)
    with pytest.raises(UserError, match="has no manifest"):
        Probes(tmp_path, "dialogue")


# ---- stored samples and text files that are not as stage 1 writes them, whatever their manifests say


def with_column(name, change):
    """A change of a table: `change` of the Python values of a column."""

    def changed(table):
        values = table[name].to_pylist()
        column = pa.array(change(values), table.schema.field(name).type)
        return table.set_column(table.schema.get_field_index(name), name, column)

    return changed


def first(value):
    return lambda values: [value, *values[1:]]


def in_first(at, value):
    def change(values):
        values[0][at] = value
        return values

    return change


UNFIT = {
    "no column": (lambda table: table.drop_columns(["starts"]), "its columns are"),
    "a column more": (lambda table: table.append_column("more", table["id"]), "its columns are"),
    "another type": (lambda table: table.set_column(0, "id", table["id"].cast(pa.int32())), "its columns are"),
    "another order": (lambda table: table.select(["member", "id", *table.column_names[2:]]), "its columns are"),
    "a null": (with_column("id", first(None)), "it has a null"),
    "a negative id": (with_column("id", first(-1)), "neither set beside it has"),
    "rows not in order": (lambda table: table.take([1, 0, *range(2, len(table))]), "ids are not in order"),
    "a row twice": (lambda table: table.take([0, 0, *range(2, len(table))]), "ids are not in order"),
    "no copy": (with_column("duplicates", first(0)), "do not fit"),
    "a cluster behind its sample": (with_column("cluster", lambda ids: [n + 1 for n in ids]), "or its clusters"),
    "a member of no training set": (
        with_column("member", lambda all: [not one for one in all]),
        "not those of the tra",
    ),
    "an id of no set": (with_column("id", lambda ids: [*ids[:-1], 10**6]), "neither set beside it has"),
    "starts not in order": (with_column("starts", in_first(1, 60)), "do not fit"),
    "a start behind the text": (
        with_column("starts", lambda all: [[*all[0][:-2], 10**6, all[0][-1]], *all[1:]]),
        "do not",
    ),
    "a control token behind the text": (with_column("starts", in_first(0, -(10**6))), "do not fit"),
    "no row": (lambda table: table.slice(0, 0), "has 0 samples, by its manifest"),
    "a row less": (lambda table: table.slice(0, table.num_rows - 1), "samples, by its manifest"),
}
UNFIT_SETS = {  # training sets, which hold the texts and tokens of the members
    "another type": (lambda table: table.set_column(0, "id", table["id"].cast(pa.int32())), "its columns are"),
    "a null": (with_column("text", first(None)), "it has a null"),
    "a negative token": (with_column("input_ids", in_first(0, -1)), "do not fit"),
    "a negative target": (with_column("targets", in_first(0, -1)), "do not fit"),
    "a target behind the tokens": (with_column("targets", in_first(2, 10**6)), "do not fit"),
    "a target that ends before it begins": (with_column("targets", in_first(1, 0)), "do not fit"),
    "half a target": (with_column("targets", lambda all: [all[0][:2], *all[1:]]), "do not fit"),
    "a token less": (with_column("input_ids", lambda ids: [ids[0][1:], *ids[1:]]), "do not fit"),
    "a text too short": (with_column("text", first("short")), "do not fit"),
    "another id": (with_column("id", first(10**6)), "neither set beside it has"),
    "no row": (lambda table: table.slice(0, 0), "neither set beside it has"),
}


def rewrite(path, kind, change):
    """Change the table in a set of stage 1, each of its batches as large as before, under a manifest that fits."""
    manifest = read_manifest(path, kind)
    batches = pa.ipc.open_stream((path / FILE).read_bytes())
    sizes = [len(batch) for batch in batches]
    table = change(pa.ipc.open_stream((path / FILE).read_bytes()).read_all()).combine_chunks()
    with pa.OSFile(str(path / FILE), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        for end, size in zip(np.cumsum(sizes).tolist(), sizes, strict=True):
            columns = [column.combine_chunks() for column in table.slice(end - size, size).columns]
            writer.write_batch(pa.record_batch(columns, table.schema))
    write_manifest(path, kind, manifest.made_of, {}, rows=manifest.rows, **manifest.facts)


@pytest.mark.parametrize(
    ("kind", "case"), [(PROBES, case) for case in UNFIT] + [(TRAINING_SET, case) for case in UNFIT_SETS]
)
def test_stored_samples_that_cannot_be_are_refused(encoded, tmp_path, kind, case):
    change, message = (UNFIT if kind is PROBES else UNFIT_SETS)[case]
    out = shutil.copytree(encoded, tmp_path / "out")
    path = encoding_paths(out, "dialogue")[kind.name]
    rewrite(path, kind, change)
    with pytest.raises(UserError, match=message) as error:
        Probes(out, "dialogue")
    assert str(error.value).startswith(f"{out}/tokenized_dialogue_") and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [PROBES, TRAINING_SET])
@pytest.mark.parametrize("share", [0, 0.01, 0.5])
def test_a_file_of_stored_samples_that_was_cut_off_is_refused(encoded, tmp_path, kind, share):
    out = shutil.copytree(encoded, tmp_path / "out")
    path = encoding_paths(out, "dialogue")[kind.name]
    manifest = read_manifest(path, kind)
    content = (path / FILE).read_bytes()
    (path / FILE).write_bytes(content[: int(share * len(content))])
    write_manifest(path, kind, manifest.made_of, {}, rows=manifest.rows, **manifest.facts)
    with pytest.raises(UserError, match="no rows of stage 1: .*; run encode_<task>.py again"):
        Probes(out, "dialogue")


def test_a_stored_text_that_is_not_utf8_is_refused(encoded, tmp_path):
    out = shutil.copytree(encoded, tmp_path / "out")
    path = out / "tokenized_dialogue_train"
    manifest, content = read_manifest(path, TRAINING_SET), (path / FILE).read_bytes()
    members = [probe for probe in Probes(encoded, "dialogue")[:] if probe["member"] and probe["duplicates"] == 1]
    text = members[-1]["prefix"].encode()
    assert content.count(text) == 1
    (path / FILE).write_bytes(content.replace(text, b"\xff" + text[1:]))
    write_manifest(path, TRAINING_SET, manifest.made_of, {}, rows=manifest.rows, **manifest.facts)
    with pytest.raises(UserError, match="no rows of stage 1: .*UTF8.*; run encode_<task>.py again"):
        Probes(out, "dialogue")


def test_sets_of_another_split_than_the_probes_are_refused(encoded, tmp_path):
    shutil.copy(encoded / "d.json", tmp_path)
    assert encode(tmp_path, "--test-size", "0.2", "--seed", "6") == 0
    for side in ("train", "test"):
        out = shutil.copytree(encoded, tmp_path / side / "out")
        name = f"tokenized_dialogue_{side}"
        shutil.copytree(tmp_path / name, out / name, dirs_exist_ok=True)
        shutil.copy(tmp_path / f"{name}.manifest.json", out)
        with pytest.raises(
            UserError, match=rf"{name}: is of another split than the probes in .*: another seed \(6, not 5\)"
        ):
            Probes(out, "dialogue")


PROBE = {"id": 3, "member": True, "prefix": "a", "suffix": "b", "duplicates": 1}


def split(*rows, columns=tuple(PROBE)):
    return {"columns": list(columns), "index": [0], "data": [list(row.values()) for row in rows]}


NO_PROBES = {
    "a list": ([], "Expected `object`"),
    "no data": ({"columns": list(PROBE)}, "Object missing required field `data`"),
    "data of numbers": ({"columns": list(PROBE), "data": [3]}, r"Expected `array`, got `int` - at `\$.data\[0\]`"),
    "no rows": (split(), "no probes in it"),
    "no column": (split(PROBE, columns=["id", "member", "prefix", "suffix", "copies"]), "no column duplicates, or"),
    "a column twice": (split(PROBE | {"x": 1}, columns=[*PROBE, "id"]), "no column id, or several"),
    "a short row": (split(PROBE, {"id": 3}), "row 2 of data: "),
    "an id twice": (split(PROBE, PROBE | {"id": 4}, PROBE), "row 3 of data: id 3 occurs twice"),
    "half a character": (split(PROBE | {"suffix": "\ud800"}), "row 1 of data: .*surrogates"),
}
WRONG = {
    "id": ["3", -1, 2**63, 1.0, True, None, [3]],
    "member": [1, "true", None],
    "prefix": [None, 3, ["a"]],
    "suffix": [None, {}],
    "duplicates": [0, -1, "1", None, 1.5],
}
NO_PROBES |= {
    f"{name} {value!r}": (split(PROBE, PROBE | {"id": 4} | {name: value}), rf"row 2 of data: .*\$.{name}")
    for name, values in WRONG.items()
    for value in values
}


@pytest.mark.parametrize("case", NO_PROBES)
def test_a_text_file_of_no_probes_is_refused(tmp_path, case):
    content, message = NO_PROBES[case]
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"p.json: {message}"):
        read_probes(tmp_path / "p.json")


def test_other_columns_of_probes_as_text_are_left_out(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(split({"x": None} | PROBE, columns=["x", *PROBE])))
    assert read_probes(tmp_path / "p.json") == [PROBE | {"turn": 0}]
