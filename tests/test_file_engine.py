"""Generations that were made elsewhere: what was planted in the file comes out, up to report, gate and audit."""

import csv
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.encoding.decoded_texts import ENDS, decode
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.probes import Probes
from memorization.extraction.engine import Prompt
from memorization.extraction.file_engine import FileEngine
from memorization.extraction.generations import read_generations
from memorization.extraction.matches import exact_match, match_texts
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.models.hub import load_tokenizer
from memorization.results.summary import HELD_OUT, MEMBERS
from memorization.shell.cli import UserError
from memorization.store.files import fingerprint, read_json
from support.command_line import ROOT, one_line, run_script
from support.encoded_dialogues import encode_and_index
from support.tiny_models import save_language_model

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
NAME = "somebody/else-7b"  # of a model that is nowhere
NEW = 40  # tokens


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """An encoding of dialogues and its index."""
    path = tmp_path_factory.mktemp("stage")
    encode_and_index(path, 40, 0.4)
    return path


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(TOKENIZER)


def write_file(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def infer(stage, out, file, *flags):
    paths = "--tokenized-dir", stage, "--output-dir", out, "--token-path", TOKENIZER
    what = "--model-path", NAME, "--engine", file, "--max-new-tokens", NEW
    return run_script("inference_prefix.py", *paths, *what, *flags)


def result(out):
    return out / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"


def detect(stage, generations, out):
    index = "--indexes", stage / "indexes", "--index-xsuffix", "s"
    what = "--filedir", generations, "--type", "m", "--output-dir", out, "--paraphrase-model", "none"
    assert run_script("plagiarism_detect.py", *what, *index) == 0
    return out / "m" / "dialogue"


def planted(stage):
    """(probe, kind, token ids) of every probe: members come back exactly, nearly or not, held-out texts never."""
    tokenizer, probes = load_tokenizer(TOKENIZER), Probes(stage, "dialogue")[:]
    other = tokenizer.encode("I could not say, but somebody will call you about it tomorrow in the morning.")
    kinds = {probe["id"]: ("exact", "near", "none")[n % 3] for n, probe in enumerate(filter(is_member, probes))}
    for probe in probes:
        ids, kind = probe["suffix_ids"][:NEW], kinds.get(probe["id"], "none")
        changed = [*ids[:-1], ids[-1] + 1]
        yield probe, kind, {"exact": ids, "near": changed, "none": other}[kind]


def is_member(probe):
    return probe["member"]


def as_texts(stage, tokenizer):
    """(probe, kind, text) of the same."""
    return [(probe, kind, decode(tokenizer, ids)) for probe, kind, ids in planted(stage)]


def test_what_was_planted_comes_out_up_to_the_gate(stage, tokenizer, tmp_path, capsys):
    rows = as_texts(stage, tokenizer)
    file = write_file(
        tmp_path / "generations.jsonl", [{"id": probe["id"], "generation": text} for probe, _, text in rows]
    )
    assert infer(stage, tmp_path, file) == 0
    generations, manifest = read_generations(result(tmp_path))
    assert [row.text for row in generations] == [text for *_, text in rows]
    assert [row.exact_match for row in generations] == [kind == "exact" for _, kind, _ in rows]
    assert [row.near.near_copy for row in generations] == [kind != "none" for _, kind, _ in rows]
    assert {(row.matched_tokens, row.scores, *row.generation_ids) for row in generations} == {(None, None)}
    made_of, facts = manifest.made_of, manifest.facts
    assert (made_of["engine"], made_of["file"]) == ("file", fingerprint(file))
    assert (made_of["trained_on"], made_of["temperature"], made_of["max_new_tokens"]) == (None, 0.0, NEW)
    assert facts["membership"] == "declared by the files"
    assert (note := f"the generations were made elsewhere, by {NAME} as declared") in facts["declared"]
    assert facts["not_computed"].keys() == {"scores", "matched_tokens"}

    results = detect(stage, result(tmp_path), tmp_path)
    exact, close, members = (
        {probe["id"] for probe, kind, _ in rows if kind in kinds and probe["member"]}
        for kinds in (("exact",), ("exact", "near"), ("exact", "near", "none"))
    )
    groups = read_json(results / "result.json")["groups"]
    for name, number in {"exact_match": len(exact), "near_copy": len(close), "own": len(close)}.items():
        assert groups[MEMBERS][name]["count"] == number and groups[MEMBERS]["n"] == len(members)
        assert groups[HELD_OUT][name]["count"] == 0
    assert not {"matched_tokens", "loss"} & groups[MEMBERS].keys()

    report = tmp_path / "report"
    capsys.readouterr()
    limits = "--fail-above", "exact_match=0.9", "--output", report
    assert run_script("report.py", results, *limits) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count(note) == 2 and "within all limits" in printed  # the report and the gate
    assert "matched tokens: not computed, as the generations are texts without token ids" in printed
    assert run_script("report.py", results, "--output", report, "--fail-above", "exact_match=0.2") == 1
    assert note in " ".join(capsys.readouterr().err.split())
    assert note in (report / "report.html").read_text("utf-8")
    (run,) = read_json(report / "audit.json")["runs"]
    assert any(note in one["text"] for one in run["notes"]) and run["membership"] == "declared"
    assert "exact match of None" not in (report / "leaks.txt").read_text("utf-8")


def test_as_a_file_generations_give_the_same_figures_of_texts(stage, tmp_path, monkeypatch):
    """What an engine in this process gives, told again with and without its tokens."""
    ids = {probe["id"]: ids for probe, _, ids in planted(stage)}

    class Planted(TransformersEngine):
        def generate(self, prompts):
            return [ids[prompt.probe["id"]] for prompt in prompts]

    monkeypatch.setattr("memorization.extraction.local_models.TransformersEngine", Planted)
    save_language_model(tmp_path / "model", TOKENIZER)
    model = "--model-path", tmp_path / "model", "--output-dir", tmp_path / "here", "--max-new-tokens", NEW
    assert run_script("inference_prefix.py", "--tokenized-dir", stage, *model) == 0
    own, _ = read_generations(result(tmp_path / "here"))
    assert 0 < sum(row.exact_match for row in own) < len(own)
    columns = {}
    for name in ("here", "texts", "tokens"):
        if name != "here":
            rows = [{"id": row.id, "generation": row.text} for row in own]
            for line, row in zip(rows, own, strict=True):
                line |= {"generation_ids": row.generation_ids} if name == "tokens" else {}
            assert infer(stage, tmp_path / name, write_file(tmp_path / f"{name}.jsonl", rows)) == 0
        of_file, _ = read_generations(result(tmp_path / name))
        assert [(row.key, row.text, row.exact_match) for row in of_file] == [
            (row.key, row.text, row.exact_match) for row in own
        ]
        if name == "tokens":
            assert [(row.generation_ids, row.near, row.matched_tokens) for row in of_file] == [
                (row.generation_ids, row.near, row.matched_tokens) for row in own
            ]
        groups = read_json(detect(stage, result(tmp_path / name), tmp_path / name) / "result.json")["groups"]
        columns[name] = groups[MEMBERS]
    with_tokens = {"matched_tokens", "common_run", "edit_similarity", "rouge_l", "near_copy"}
    for name in ("texts", "tokens"):
        shared = columns["here"].keys() & columns[name].keys() - (with_tokens if name == "texts" else set())
        assert {"own", "exact_match", "verbatim"} <= shared
        assert {column: columns[name][column] for column in shared} == {
            column: columns["here"][column] for column in shared
        }


def test_turns_have_lines_of_their_own(tokenizer, tmp_path):
    lines = [{"id": 4, "turn": turn, "generation": f"answer {turn}"} for turn in (1, 0)]
    engine = FileEngine(write_file(tmp_path / "generations.jsonl", [*lines, lines[0] | {"id": 5}]), tokenizer, 1)
    engine.check([(4, 0, 0), (4, 1, 0), (5, 1, 0)], False)
    prompts = [Prompt({"id": 4, "turn": turn, "prefix": ""}, 0, None) for turn in (0, 1)]
    assert engine.generate(prompts) == ["answer 0", "answer 1"] and engine.score([{}, {}]) == [None, None]
    with pytest.raises(UserError, match="line 1: the probes have no id 4, turn 1"):
        engine.check([(4, 0, 0), (5, 1, 0)], False)


def test_generations_for_probes_of_ones_own(stage, tokenizer, tmp_path):
    """Prompts out of the middle of the samples, asked elsewhere."""
    probes, rows = [], []
    for probe in Probes(stage, "dialogue")[:]:
        ids = {"prompt_ids": probe["suffix_ids"][:10], "suffix_ids": probe["suffix_ids"][10:]}
        texts = {name: decode(tokenizer, ids[f"{name}_ids"]) for name in ("prompt", "suffix")}
        probes.append({"id": probe["id"], "member": probe["member"], **ids, **texts})
        rows.append({"id": probe["id"], "generation": texts["suffix"].strip()})
    file = write_file(tmp_path / "generations.jsonl", rows)
    assert infer(stage, tmp_path, file, "--probes", write_file(tmp_path / "probes.jsonl", probes)) == 0
    generations, manifest = read_generations(result(tmp_path))
    assert {(row.exact_match, row.near.edit_similarity) for row in generations} == {(True, 1)}
    assert {"probe_file", "file"} <= manifest.made_of.keys()


def test_samples_and_a_draw(stage, tokenizer, tmp_path, capsys):
    """Of several generations of a probe each is taken; a file of all probes serves a sample of them."""
    rows = [
        {"id": probe["id"], "sample": sample, "generation": text if sample else "No."}
        for probe, _, text in as_texts(stage, tokenizer)
        for sample in (1, 0)
    ]
    file = write_file(tmp_path / "generations.jsonl", rows)
    drawn = "--members", 6, "--held-out", 5
    assert infer(stage, tmp_path, file, "--num-samples", 2, "--temperature", 1, *drawn) == 0
    generations, _ = read_generations(result(tmp_path))
    assert len(generations) == 22 and {row.text for row in generations[::2]} == {"No."}
    texts = {(row["id"], row["sample"]): row["generation"] for row in rows}
    assert all(row.text == texts[row.id, row.sample] for row in generations)
    capsys.readouterr()
    assert infer(stage, tmp_path / "all", file, *drawn) == 2
    assert "line 1: is sample 1 of a probe, counted from 0, and --num-samples is 1" in one_line(capsys)


def without(rows, number):
    return [row for place, row in enumerate(rows) if place != number]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [{"id": rows[0]["id"], "text": "a"}], "line 1: Object missing required field `generation`"),
        (lambda rows: [*rows, rows[2]], "line {after}: id {third} is there twice; remove one"),
        (lambda rows: [*rows, {"id": 9999, "generation": "a"}], "line {after}: the probes have no id 9999; take the"),
        (lambda rows: without(rows, 2), "has no generation for 1 of {number} rows, id {third} for one; give all"),
        (lambda rows: [], "no generations in it; write one a line"),
        (lambda rows: [row | {"generation_ids": [5]} for row in rows], "line 1: its `generation_ids` are not tokens"),
        (
            lambda rows: [rows[0] | {"generation_ids": [], "generation": ""}, *rows[1:]],
            "line 2: `generation_ids` are of all lines or of none",
        ),
        (
            lambda rows: [row | {"generation": f"{row['prefix']} {row['generation']}"} for row in rows],
            "line 1: the generation begins with its prompt, as most do; leave the prompts out",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(stage, tokenizer, tmp_path, capsys, change, message):
    rows = [
        {"id": probe["id"], "prefix": probe["prefix"], "generation": text}
        for probe, _, text in as_texts(stage, tokenizer)
    ]
    file = write_file(tmp_path / "generations.jsonl", change(rows))
    capsys.readouterr()
    assert infer(stage, tmp_path, file) == 2
    assert message.format(after=len(rows) + 1, third=rows[2]["id"], number=len(rows)) in one_line(capsys)
    assert not result(tmp_path).exists()


def test_other_models_beside_a_file_are_refused(stage, tmp_path, capsys):
    file = write_file(tmp_path / "generations.jsonl", [])
    for flag in ("--base-model", "--adapter"):
        assert infer(stage, tmp_path, file, flag, tmp_path) == 2
        assert f"{flag}: the generations of --engine {file} were made elsewhere" in one_line(capsys)


def test_generations_that_were_cut_earlier_than_declared_are_told(stage, tokenizer, tmp_path, capsys):
    """Else the exact matches that could not come out would look like none."""
    rows = [
        {"id": probe["id"], "generation": decode(tokenizer, probe["suffix_ids"][: NEW // 2])}
        for probe, *_ in as_texts(stage, tokenizer)
    ]
    assert infer(stage, tmp_path, write_file(tmp_path / "generations.jsonl", rows)) == 0
    message = "the longest has 20 tokens, where 40 are declared (--max-new-tokens): a longer suffix cannot come out"
    assert message in capsys.readouterr().out
    generations, manifest = read_generations(result(tmp_path))
    assert message in manifest.facts["declared"] and not any(row.exact_match for row in generations)


@pytest.mark.parametrize("tokens", [False, True])
def test_of_longer_generations_than_declared_the_beginning_decides(stage, tokenizer, tmp_path, tokens):
    rows = [
        {"id": probe["id"], "generation": decode(tokenizer, ids)} | ({"generation_ids": ids} if tokens else {})
        for probe, _, ids in planted(stage)
    ]
    file = write_file(tmp_path / "generations.jsonl", rows)
    assert infer(stage, tmp_path, file, "--max-new-tokens", NEW // 2) == 0
    generations, _ = read_generations(result(tmp_path))
    kinds = [kind for _, kind, _ in planted(stage)]
    assert [row.exact_match for row in generations] == [kind != "none" for kind in kinds]
    assert {row.matched_tokens for row in generations if row.exact_match} == {NEW // 2 if tokens else None}


# ---- the audit


def test_an_audit_takes_a_file(tmp_path, tokenizer, capsys):
    """The probes of an audit are those of stage 1 with the same data."""
    rows = make_dialogues(seed=2, single=60, fourfold=0, sixteenfold=0)
    write_file(tmp_path / "train.jsonl", rows[:40])
    write_file(tmp_path / "held.jsonl", rows[40:])
    data = "--train-data", tmp_path / "train.jsonl", "--held-out-data", tmp_path / "held.jsonl"
    assert run_script("encode_dialogue.py", *data, "--tokenizer", TOKENIZER, "--output-dir", tmp_path) == 0
    probes = Probes(tmp_path, "dialogue")[:]
    generations = [
        {"id": probe["id"], "generation": probe["suffix"] if probe["member"] else "I do not know."} for probe in probes
    ]
    file = write_file(tmp_path / "generations.jsonl", generations)
    what = *data, "--model", NAME, "--tokenizer", TOKENIZER, "--engine", file, "--max-new-tokens", NEW
    capsys.readouterr()
    assert run_script("audit.py", *what, "--output", tmp_path / "audit", "--fail-above", "exact_match=0.5") == 1
    captured = capsys.readouterr()
    assert f"by {NAME} as declared" in " ".join(captured.err.split())
    (run,) = read_json(tmp_path / "audit" / "report" / "audit.json")["runs"]
    with (tmp_path / "audit" / "report" / "summary.csv").open(newline="", encoding="utf-8") as lines:
        cells = {(row["group"], row["metric"]): row for row in csv.DictReader(lines)}
    for metric in ("exact_match", "own"):
        assert (float(cells[MEMBERS, metric]["estimate"]), float(cells[HELD_OUT, metric]["estimate"])) == (1, 0)
    assert run["model"] == NAME.rpartition("/")[2]
    assert run_script("audit.py", *what, "--output", tmp_path / "dry", "--dry-run") == 0
    assert f"memory and time: not measured with --engine {file}" in capsys.readouterr().out
    assert run_script("audit.py", *what, "--output", tmp_path / "two", "--prefix-length", "5,50") == 2
    assert "--prefix-length: the generations of a file are of one length" in one_line(capsys)


# ---- how texts match


NUMBERS: dict[str, int] = {}


def words(text):
    """The tokens of a text: one a word."""
    return [NUMBERS.setdefault(word, len(NUMBERS)) for word in re.findall(r"\w+|\W", text)]


@given(st.data())
def test_of_texts_in_their_own_tokens_matches_are_those_of_tokens(tokenizer, data):
    pieces = st.sampled_from("a the boat Boats boat, sails 12 1234 ? \n é naïve 日本 語 don't".split(" "))
    texts = st.lists(pieces, min_size=1, max_size=12).map(" ".join)
    suffix, other, most = data.draw(texts), data.draw(texts), data.draw(st.integers(1, 30))
    tokens_of = tokenizer.encode
    ids, reached = tokens_of(suffix), decode(tokenizer, tokens_of(suffix)[:most])
    if not ENDS.sub("", reached):
        assert match_texts(other, reached, suffix, tokens_of) == (None, None)
        return
    assert match_texts(suffix, reached, suffix, tokens_of)[0]
    exact, close = match_texts(decode(tokenizer, ids[:most]), reached, suffix, tokens_of)
    assert exact and close.near_copy and close.edit_similarity == close.rouge_l == 1
    generated = tokens_of(other)[:most]
    text = decode(tokenizer, generated)
    exact, _ = match_texts(text, reached, suffix, tokens_of)
    if exact_match(generated, ids, most):
        assert exact
    elif exact:  # the same text in other tokens
        assert ENDS.sub("", text).startswith(ENDS.sub("", reached))


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("Yes", True),
        (" Yes\n", True),
        ("Yes, I can.", True),
        ("Yesterday it rained.", False),
        ("yes", False),
        ("", False),
        ("Ye", False),
        ("Oh. Yes", False),
    ],
)
def test_the_beginning_decides_and_no_part_of_a_word(text, exact):
    assert match_texts(text, "Yes", "Yes", words)[0] is exact


def test_a_suffix_that_is_cut_within_a_word_goes_on_as_it_does():
    assert match_texts("the boathouse is", "the boat", "the boathouse is old", words)[0]
    assert not match_texts("the boatman", "the boat", "the boathouse is old", words)[0]
