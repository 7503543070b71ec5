"""Distinct prompts: probes that all ask the same are refused by the first stage that knows, or every report says so."""

import csv
import json
import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPTNeoForCausalLM

from memorization.encoding.kinds import PROBES
from memorization.encoding.probes import Probes
from memorization.encoding.prompt_counts import PromptCounter, check_prompts, prompts_are_shared
from memorization.extraction.kinds import GENERATIONS
from memorization.models.hub import load_tokenizer
from memorization.store.files import read_json, write_json
from memorization.store.locations import encoding_paths
from memorization.store.manifests import read_manifest
from support.command_line import ROOT, one_line, read_jsonl, run_script
from support.tiny_models import gpt_neo_config, save_bart

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
ONE_PROMPT = "{0} probes, 0 of which have one of their own, and what is asked alike is answered alike; "
REMEDY = "take --probe target or a longer --prefix-length, or go on with --shared-prompts"
QUESTION = "How do I reset my password on the web portal of the company, and where do I find the link for it, please? "
QUESTION += "I have tried it twice and it did not work, what else can I do to get in again today?"


def answers(number, seed=0):
    """As many answers to one question, of some 45 tokens, told apart by a number in their first words."""
    draw = random.Random(seed)
    words = "foot knee neck stomach ankle ear throat hand walk bend read eat rest sleep cold dull sharp burning".split()
    return [
        {
            "instruction": "",
            "input": QUESTION,
            "output": f"Case {number}: "
            + " ".join(draw.choices(words, k=22))
            + f" and {draw.randrange(10, 99)} drops.",
        }
        for number in draw.sample(range(100, 999), number)
    ]


def encode(home, rows, *flags):
    write_json(home / "d.json", rows)
    where = "--data", home / "d.json", "--output-dir", home / "out"
    return run_script("encode_dialogue.py", *where, "--near-duplicates", "none", *flags)


def infer(home, output, *flags):
    where = "--tokenized-dir", home / "out", "--output-dir", output, "--model-path", home / "model"
    return run_script("inference_prefix.py", *where, "--max-new-tokens", 30, *flags)


def rows_of(output):
    return output / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"


# ---- what is counted


@given(st.lists(st.tuples(*[st.lists(st.integers(0, 2), max_size=2)] * 2)))
def test_prompts_are_counted_as_by_comparing_them(prompts):
    counted = PromptCounter()
    for source, prefix in prompts:
        counted.add(source, prefix)
    times = Counter(json.dumps(prompt) for prompt in prompts)
    own = sum(number == 1 for number in times.values())
    assert counted.count() == {"probes": len(prompts), "distinct": len(times), "own": own}
    assert prompts_are_shared(counted.count()) == (own < len(prompts) / 2)


@pytest.mark.parametrize("pairs", [False, True])
def test_stage_1_counts_what_stage_3_is_given(pairs, tmp_path):
    """Some share all, some differ in their last token, in the source, or in the target's beginning alone."""
    sources, targets = ("word " * 30 + end for end in ("one", "two")), "four five six seven eight".split()
    rows = [
        {"instruction": "", "input": source, "output": " ".join([first, *"a b c d e f g h i j k".split(), last])}
        for source in sources
        for first in targets[:2]
        for last in targets
    ]
    rows[0]["input"] = "first " + rows[0]["input"]
    tokenizer, more = TOKENIZER, ()
    if pairs:
        tokenizer = save_bart(tmp_path / "bart", [f"{row['input']} {row['output']}" for row in rows])
        more = "--encoder-decoder", "--source-prefix", "say: "
    for kind, length in (("source" if pairs else "text", 5), ("target", 1), ("target", 3)):
        sizes = "--prefix-length", length, "--min-suffix-length", 2, "--probe", kind, "--overwrite", "--shared-prompts"
        assert encode(tmp_path, rows, *sizes, "--tokenizer", tokenizer, *more) == 0
        probes = Probes(tmp_path / "out", "dialogue")
        seen = Counter((*probe.get("source_ids", ()), -1, *probe["prefix_ids"]) for probe in probes[:])
        counted = {"probes": 20, "distinct": len(seen), "own": sum(times == 1 for times in seen.values())}
        assert probes.prompts() == probes.manifest.facts["prompts"] == counted
        assert 1 < len(seen) < 20 and counted["own"] > 0


def test_a_source_that_is_cut_counts_as_it_is_read(tmp_path):
    rows = [{"instruction": "", "input": "same " * 40 + str(n), "output": "a b c d e f g h i j k"} for n in range(9)]
    tokenizer = save_bart(tmp_path / "bart", [f"{row['input']} {row['output']}" for row in rows])
    sizes = "--prefix-length", 2, "--min-suffix-length", 2, "--probe", "target", "--encoder-decoder"
    assert encode(tmp_path, rows, *sizes, "--tokenizer", tokenizer) == 0
    probes = Probes(tmp_path / "out", "dialogue")
    assert probes.prompts() == {"probes": 9, "distinct": 9, "own": 9}
    assert probes.prompts(source_length=20) == {"probes": 9, "distinct": 1, "own": 0}


# ---- stage 1


def system_prompt(number):
    """Texts behind a system prompt of 70 words."""
    system = " ".join(f"rule{n}" for n in range(70))
    return [row | {"instruction": system, "input": f"{row['output'][:9]} hurts"} for row in answers(number)]


SHARED = {"a system prompt": system_prompt(300), "one question": answers(30)}


@pytest.mark.parametrize("case", SHARED)
def test_one_prompt_for_all_is_refused_with_the_remedy_and_nothing_is_written(case, tmp_path, capsys):
    rows = SHARED[case]
    assert encode(tmp_path, rows) == 2
    message = ONE_PROMPT.format(f"1 distinct prompt among {len(rows)}") + REMEDY
    assert one_line(capsys) == f"encode_dialogue.py: {tmp_path}/d.json: {message}"
    assert [path.name for path in tmp_path.iterdir()] == ["d.json"]
    assert encode(tmp_path, rows, "--probe", "target", "--prefix-length", 10) == 0
    assert (
        "distinct prompt" not in (message := capsys.readouterr().out)
        and f"{len(rows)} probes of kind target" in message
    )
    before = (tmp_path / "out" / "dialogue_prefix.json").read_bytes()
    assert encode(tmp_path, rows) == 2  # the encoding that is there stays
    assert (tmp_path / "out" / "dialogue_prefix.json").read_bytes() == before
    assert encode(tmp_path, rows, "--shared-prompts") == 0
    assert f"1 distinct prompt among {len(rows)} probes, 0 of which" in capsys.readouterr().out
    facts = read_manifest(encoding_paths(tmp_path / "out", "dialogue")["probes"], PROBES).facts
    assert facts["prompts"] == {"probes": len(rows), "distinct": 1, "own": 0}


def test_a_remedy_that_is_taken_is_not_proposed_again():
    with pytest.raises(
        Exception, match="answered alike; take a longer --prefix-length, or go on with --shared-prompts"
    ):
        check_prompts({"probes": 3, "distinct": 1, "own": 0}, "d", "target", allowed=False)


def test_a_digit_tells_prompts_apart_and_copies_of_a_text_share_none(tmp_path, capsys):
    rows = [{"instruction": "", "input": f"Visit {n}. {QUESTION}", "output": "the same answer " * 20} for n in range(9)]
    assert encode(tmp_path, rows * 3) == 0
    assert "distinct prompt" not in capsys.readouterr().out


@pytest.mark.parametrize(("own", "status"), [(10, 0), (9, 2)])
def test_half_of_the_probes_need_a_prompt_of_their_own(own, status, tmp_path, capsys):
    rows = [{"instruction": "", "input": f"Visit {n}. {QUESTION}", "output": "an answer " * 20} for n in range(own)]
    assert encode(tmp_path, rows + answers(20 - own)) == status
    output = capsys.readouterr()
    assert (
        f"{own + 1} distinct prompts among 20 probes, {own} of which have one of their own" in output.out + output.err
    )


# ---- stages 3 to 5 and the reports


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Answers to one question, encoded with target probes, and a model that knows the members by heart."""
    home = tmp_path_factory.mktemp("home")
    sizes = "--probe", "target", "--prefix-length", 10, "--test-size", 0.4
    assert encode(home, answers(20), *sizes) == 0
    tokenizer = load_tokenizer(TOKENIZER)
    torch.manual_seed(0)
    model = GPTNeoForCausalLM(gpt_neo_config(len(tokenizer), tokenizer.eos_token_id))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    probes = [probe for probe in Probes(home / "out", "dialogue")[:] if probe["member"]]
    texts = [torch.tensor(probe["prefix_ids"] + probe["suffix_ids"]) for probe in probes]
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=-100)
    for _ in range(150):
        loss = model(input_ids=ids.clamp(min=0), labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.01:
            break
    assert loss < 0.05
    model.eval().save_pretrained(home / "model")
    tokenizer.save_pretrained(home / "model")
    return home


def detect(home, output, *flags):
    where = "--indexes", output / "indexes", "--index-xsuffix", "i"
    probes = "-dir", home / "out", "-fn", "dialogue_prefix.json"
    assert run_script("load_to_elastic.py", *probes, *where, *flags) == 0
    what = "--filedir", rows_of(output), *where, "--type", "m", "--output-dir", output / "results"
    assert run_script("plagiarism_detect.py", *what, "--paraphrase-model", "none") == 0
    return output / "results" / "m" / "dialogue"


def test_a_model_that_knows_the_answers_is_told_so_by_target_probes(home, tmp_path, capsys):
    assert infer(home, tmp_path) == 0
    result = detect(home, tmp_path)
    output = " ".join(capsys.readouterr().out.split())
    assert "model m, probe target, profile paper" in output and "SHARED PROMPTS" not in output
    groups = read_json(result / "result.json")["groups"]
    assert groups["members"]["n"] == 12 and groups["members"]["exact_match"]["rate"] > 0.9
    assert groups["members"]["own"]["rate"] > 0.9
    assert groups["held out"]["exact_match"]["rate"] == groups["held out"]["own"]["rate"] == 0
    assert "Verdict: yes" in output
    probes = {probe["id"]: probe for probe in Probes(home / "out", "dialogue")[:]}
    for row in read_jsonl(result / "detections.jsonl"):
        id, prefix = (row["generation"][name] for name in ("id", "prefix"))
        begin = len(probes[id]["prefix"])
        assert prefix.startswith(QUESTION) and len(prefix) == begin > len(QUESTION)
        assert all(run["sample_span"][0] >= begin for run in row["copied"] if run["sample"] == id)
    assert run_script("report.py", result) == 0
    assert "model m, probe target, profile paper" in " ".join(capsys.readouterr().out.split())


def test_prompts_longer_than_the_context_are_left_out_and_named_unless_all_are(home, tmp_path, capsys):
    rows = answers(8, seed=1)
    rows[2]["input"] *= 8
    assert encode(tmp_path, rows, "--probe", "target", "--prefix-length", 10, "--test-size", 0.4) == 0
    model = "--tokenized-dir", tmp_path / "out"
    assert infer(home, tmp_path, *model) == 0
    assert "1 of 8 probes are left out: their prompts and 30 new tokens are longer than the" in capsys.readouterr().out
    manifest = read_manifest(rows_of(tmp_path), GENERATIONS)
    (id,) = manifest.facts["too_long"]
    assert id == 2 and manifest.rows == manifest.facts["prompts"]["probes"] == 7
    assert {row["id"] for row in read_jsonl(rows_of(tmp_path))} == {*range(8)} - {2}
    where = "--indexes", tmp_path / "indexes", "--index-xsuffix", "i"
    assert run_script("load_to_elastic.py", "-dir", tmp_path / "out", "-fn", "dialogue_prefix.json", *where) == 0
    what = "--filedir", rows_of(tmp_path), *where, "--type", "m", "--output-dir", tmp_path / "results"
    assert run_script("plagiarism_detect.py", *what, "--paraphrase-model", "none") == 0
    capsys.readouterr()
    assert infer(home, tmp_path, *model, "--max-new-tokens", 250, "--overwrite") == 2
    assert "its context of 256 tokens is shorter than prefix + new tokens" in one_line(capsys)


def test_stage_3_refuses_shared_prompts_too_and_with_the_flag_every_report_says_so(home, tmp_path, capsys):
    text = "--probe", "text", "--prefix-length", 20
    assert infer(home, tmp_path / "out", *text) == 2
    message = ONE_PROMPT.format("1 distinct prompt among 20") + REMEDY
    assert one_line(capsys) == f"inference_prefix.py: {home}/out/tokenized_dialogue_prefix: {message}"
    assert not list(tmp_path.iterdir())
    assert infer(home, tmp_path, *text, "--shared-prompts") == 0
    counted = {"probes": 20, "distinct": 1, "own": 0}
    assert read_manifest(rows_of(tmp_path), GENERATIONS).facts["prompts"] == counted
    capsys.readouterr()
    result = detect(home, tmp_path, *text)
    note = "SHARED PROMPTS: 1 distinct prompt among 20 probes, 0 of which have one of their own; what is asked alike"
    assert note in " ".join(capsys.readouterr().out.split())
    assert read_json(result / "result.json")["facts"]["prompts"] == counted
    assert run_script("report.py", result, "--output", tmp_path / "report", "--fail-above", "another=0.99") == 0
    message = " ".join(capsys.readouterr().out.split())
    assert note in message and "within all limits" in message
    assert "limit 99 %, though " in message and "and 1 distinct prompt among 20 probes, 0 of which" in message
    for name in ("summary.md", "summary.tex", "leaks.txt", "report.html"):
        written = (tmp_path / "report" / name).read_text().replace("% ", "")
        assert "SHARED PROMPTS: 1 distinct prompt among 20 probes" in " ".join(written.split()), name
    (run,) = read_json(tmp_path / "report" / "audit.json")["runs"]
    assert run["prompts"] == counted and "SHARED PROMPTS" in [note["name"] for note in run["notes"]]
    cells = list(csv.DictReader((tmp_path / "report" / "summary.csv").open()))
    assert {row["notes"] for row in cells} == {"SUSPECT; SHARED PROMPTS; NOTE"}


def test_a_listing_of_other_code_has_its_prompts_counted_by_their_texts(home, tmp_path, capsys):
    assert encode(tmp_path, answers(20), "--shared-prompts", "--test-size", 0.4) == 0
    probes = tmp_path / "out" / "dialogue_prefix.json"
    rows = read_json(probes)["data"]
    (tmp_path / "said.txt").write_text("".join(f"{row[0]}{'=' * 23}\nnothing\n" for row in rows))
    where = "--indexes", tmp_path / "indexes", "--index-xsuffix", "i", "--output-dir", tmp_path / "results"
    assert run_script("load_to_elastic.py", "-dir", tmp_path / "out", "-fn", probes.name, *where[:4]) == 0
    what = "--filedir", tmp_path / "said.txt", "--probes", probes, "--unchecked", "--type", "m", *where
    assert run_script("plagiarism_detect.py", *what, "--paraphrase-model", "none") == 0
    assert "SHARED PROMPTS: 1 distinct prompt among 20 probes" in " ".join(capsys.readouterr().out.split())
