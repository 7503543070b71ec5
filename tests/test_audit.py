"""audit.py: what the stages give one by one, in one command; killed anywhere it gives the same; errors come at once."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import memorization
from memorization import audit, load_results
from memorization.auditing.forms import detect_form
from memorization.encoding.made_up import make_articles, make_dialogues, make_questions, make_reviews, make_translations
from memorization.shell.cli import UserError
from memorization.store.files import read_json
from support.command_line import ROOT, TWO_RANKS, one_line, read_jsonl, run_script
from support.tiny_models import save_language_model

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
SHORT = "--max-new-tokens", "12", "--batch-size", "2"  # 16 texts are decoded at a time
SAME = "encoding/audit_prefix.json", "memorization_audit/audit/audit.jsonl", "detections/detections.jsonl"
SAME += ("detections/result.json",)


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A random model, 22 dialogues to train on (some twice) and 12 held out."""
    path = tmp_path_factory.mktemp("home")
    rows = make_dialogues(seed=2, single=32, fourfold=0, sixteenfold=0)
    write_rows(path / "train.jsonl", rows[:20] + rows[:2])
    write_rows(path / "held.jsonl", rows[20:])
    save_language_model(path / "model", TOKENIZER)
    return path


def command(home, output, *flags):
    data = "--train-data", home / "train.jsonl", "--held-out-data", home / "held.jsonl"
    return ["audit.py", "--model", home / "model", *data, "--output", output, *SHORT, *flags]


@pytest.fixture(scope="module")
def finished(home):
    assert run_script(*command(home, home / "audit")) == 0
    return home / "audit"


def test_an_audit_gives_what_the_stages_give(home, finished, tmp_path):
    """The generations and the figures are those of the scripts, run one after the other."""
    data = "--train-data", home / "train.jsonl", "--held-out-data", home / "held.jsonl", "--tokenizer", home / "model"
    assert run_script("encode_dialogue.py", *data, "--output-dir", tmp_path) == 0
    paths = "--model-path", home / "model", "--tokenized-dir", tmp_path, "--output-dir", tmp_path
    assert run_script("inference_prefix.py", *paths, *SHORT) == 0
    index = "--indexes", tmp_path / "indexes", "--index-xsuffix", "i"
    assert run_script("load_to_elastic.py", "-dir", tmp_path, "-fn", "dialogue_prefix.json", *index) == 0
    generations = tmp_path / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"
    assert generations.read_bytes() == (finished / "memorization_audit" / "audit" / "audit.jsonl").read_bytes()
    what = "--filedir", generations, "--type", "model", "--output-dir", tmp_path / "results", *index
    assert run_script("plagiarism_detect.py", *what, "--paraphrase-model", "none") == 0
    for name in ("detections.jsonl", "result.json"):
        by_stages = tmp_path / "results" / "model" / "dialogue" / name
        assert by_stages.read_bytes() == (finished / "detections" / name).read_bytes()


def check_same(*audits):
    """Check that two audits are the same but for their places."""
    for file in SAME:
        assert len({(path / file).read_bytes() for path in audits}) == 1, file
    one, other = (read_json(path / "report" / "audit.json")["runs"][0] for path in audits)
    paths = dict.fromkeys(("name", "label", "directory"))
    assert one | paths == other | paths


STEPS = [  # where an audit is killed: a function, and at which of its calls
    ("memorization.encoding.encode.write_manifest", 2),
    ("memorization.extraction.transformers_engine.token_scores", 4),
    ("memorization.extraction.extract.write_listing", 1),
    ("memorization.detection.indexing.build", 1),
    ("memorization.detection.indexing.write_manifest", 1),
    ("memorization.detection.detect.judge_batch", 1),
    ("memorization.results.result_files.write_json", 1),
    ("memorization.results.report.audit_json", 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("function", "call"), STEPS, ids=[name.rpartition(".")[2] for name, _ in STEPS])
def test_a_killed_audit_goes_on_and_gives_the_same_bytes(home, finished, tmp_path, monkeypatch, function, call):
    module, _, name = function.rpartition(".")
    original, calls = getattr(sys.modules[module], name), []

    def killed(*args, **options):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(function, killed)
        assert run_script(*command(home, tmp_path / "audit")) == 130
    assert len(calls) == call
    assert not (tmp_path / "audit" / "report").exists()
    assert run_script(*command(home, tmp_path / "audit")) == 0
    check_same(tmp_path / "audit", finished)


def holders(path):
    """The processes that have a file open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if link.samefile(path):
                yield int(link.parts[2])


@pytest.mark.slow
def test_two_ranks_of_a_cluster_give_what_one_gives(home, finished, warm_python, tmp_path):
    """By runs/slurm.sbatch, where srun starts what it is given on this machine."""
    for program, does in (("srun", 'exec "$@"'), ("scontrol", "echo localhost")):
        (tmp_path / program).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / program).chmod(0o755)
    job = {"SUBMIT_DIR": ROOT, "JOB_ID": os.getpid(), "JOB_NODELIST": "this", "NNODES": 1, "GPUS_ON_NODE": 2}
    env = os.environ | {f"SLURM_{name}": str(value) for name, value in job.items()}
    env["PATH"] = os.pathsep.join(map(str, [tmp_path, warm_python, os.environ["PATH"]]))
    submitted = ["bash", ROOT / "runs" / "slurm.sbatch", *command(home, tmp_path / "audit")]
    done = subprocess.run(list(map(str, submitted)), capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("page: ") == 1, done.stdout
    check_same(tmp_path / "audit", finished)


@pytest.mark.slow
def test_a_killed_rank_ends_the_other_and_the_same_command_goes_on(home, finished, warm_python, tmp_path):
    two = [warm_python / "torchrun", *TWO_RANKS, ROOT / "audit.py", *command(home, tmp_path / "audit")[1:]]
    launch = subprocess.Popen(list(map(str, two)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    generations = tmp_path / "audit" / "memorization_audit" / "audit"
    while not (locks := [*generations.glob(".*.1.partial.memorization-lock")]):
        assert launch.poll() is None, launch.stderr.read()
    os.kill(next(holders(locks[0])), signal.SIGKILL)
    launch.communicate()
    assert launch.returncode and not (tmp_path / "audit" / "report").exists()
    done = subprocess.run(list(map(str, two)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check_same(tmp_path / "audit", finished)


@pytest.mark.slow
def test_a_mistake_is_told_once_by_two_ranks(home, warm_python, tmp_path):
    two = [warm_python / "torchrun", *TWO_RANKS, ROOT / "audit.py", *command(home, tmp_path / "audit")[1:]]
    wrong = ["--train-data", "nowhere.jsonl"], ["--dry-run"], ["--engine", home / "train.jsonl"]
    for flags, message in zip(wrong, ("no such file", "takes one process", "takes one process"), strict=True):
        done = subprocess.run(list(map(str, [*two, *flags])), capture_output=True, text=True)
        assert done.returncode and done.stderr.count(message) == 1, done.stderr
    assert not (tmp_path / "audit").exists()


def test_the_index_may_be_on_a_server(home, finished, elastic_flags, tmp_path, capsys):
    """One that holds other documents is not replaced unless told, which is known before a model is asked."""
    assert run_script(*command(home, tmp_path / "audit", *elastic_flags)) == 0
    rows, others = (read_jsonl(path / SAME[2]) for path in (tmp_path / "audit", finished))
    assert [(row["generation"]["id"], row["labels"]) for row in rows] == [
        (row["generation"]["id"], row["labels"]) for row in others
    ]
    capsys.readouterr()
    data = write_rows(tmp_path / "other.jsonl", make_dialogues(seed=3, single=24, fourfold=0, sixteenfold=0))
    assert run_script(*command(home, tmp_path / "other", *elastic_flags, "--train-data", data)) == 2
    assert "holds other documents than these" in (line := one_line(capsys)) and "--recreate" in line
    assert not (tmp_path / "other" / "memorization_audit").exists()
    assert run_script(*command(home, tmp_path / "other", *elastic_flags, "--train-data", data, "--recreate")) == 0


def test_several_prefix_lengths_are_results_side_by_side(home, tmp_path):
    """Each is what an audit of it alone gives."""
    lengths = {}
    for name, flags in (("10", ["10"]), ("20", ["20"]), ("both", ["10,20"])):
        assert run_script(*command(home, tmp_path / name, "--prefix-length", *flags)) == 0
        lengths[name] = load_results(tmp_path / name).runs if name != "both" else None
    both = load_results(tmp_path / "both").runs
    for alone, one in zip((*lengths["10"], *lengths["20"]), both, strict=True):
        assert list(alone.rows) == list(one.rows)
    assert len(both[0].rows[0].generation.prefix) < len(both[1].rows[0].generation.prefix)
    assert (tmp_path / "both" / "report" / "report.html").is_file()


def test_what_is_finished_is_not_done_again(home, finished, monkeypatch, capsys):
    for function in ("run_audit.encode_task", "run_audit.index_training_set"):
        monkeypatch.delattr(f"memorization.auditing.{function}")
    monkeypatch.delattr("memorization.extraction.decoding.GenerationConfig")
    assert run_script(*command(home, finished)) == 0
    printed = capsys.readouterr().out
    assert "32 of them done before" in printed and f"page: {finished / 'report' / 'report.html'}" in printed


def test_other_data_or_settings_make_another_result_only_if_told(home, finished, tmp_path, capsys):
    rows = [json.loads(line) for line in (home / "held.jsonl").read_text().splitlines()]
    other = "--held-out-data", write_rows(tmp_path / "other.jsonl", rows[1:])
    output = tmp_path / "audit"
    assert run_script(*command(home, output)) == 0
    before = (output / "detections" / "detections.jsonl").read_bytes()
    capsys.readouterr()
    assert run_script(*command(home, output, *other)) == 2
    assert (output / "detections" / "detections.jsonl").read_bytes() == before
    assert run_script(*command(home, output, *other, "--overwrite")) == 0
    assert read_json(output / "report" / "audit.json")["runs"][0]["samples"]["held out"] == 11


def test_without_held_out_data_there_is_no_verdict(home, tmp_path, capsys):
    flags = "--model", home / "model", "--train-data", home / "train.jsonl", "--output", tmp_path / "audit"
    assert run_script("audit.py", *flags, *SHORT) == 0
    printed = capsys.readouterr().out
    assert "no --held-out-data: there is no control" in printed and "Verdict: none" in printed
    assert read_json(tmp_path / "audit" / "report" / "audit.json")["runs"][0]["verdict"] is None


def test_the_gate_is_that_of_the_report(home, finished, capsys):
    assert run_script(*command(home, finished, "--fail-above", "exact_match=0.5")) == 0
    assert "within all limits" in capsys.readouterr().out
    assert run_script(*command(home, finished, "--fail-above", "exact_match=0.01")) == 1
    assert "audit.py: over the limit" in capsys.readouterr().err


WRONG = {
    "no model": (["--model", "nowhere"], "nowhere"),
    "no training data": (["--train-data", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    "no held-out data": (["--held-out-data", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    "no base model": (["--base-model", "nowhere"], "nowhere"),
    "no adapter": (["--adapter", "nowhere"], "nowhere"),
    "no column of a limit": (["--fail-above", "exact=0.1"], "--fail-above exact: no share has this name"),
    "no limit": (["--fail-above", "exact_match"], "give COLUMN=RATE"),
    "no region": (["--regions", "XX"], "--regions XX"),
    "columns of no form": (["--train-data", "strange.jsonl"], "its columns are of no form known here"),
    "sides of two forms": (["--held-out-data", "texts.jsonl"], "is of the form text, the training data of instruction"),
    "an empty prefix": (["--prefix-length", "10,0"], "--prefix-length 0: gives nothing of a text to go on from"),
    "too few members": (["--members", "1"], "--members 1: the samples are of 2 groups"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused_in_one_line(home, finished, tmp_path, wrong, capsys, monkeypatch):
    """Behind an audit, which has compiled what it needs and said so."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "strange.jsonl", [{"a": "b"}])
    write_rows(tmp_path / "texts.jsonl", [{"text": "b"}])
    flags, message = WRONG[wrong]
    assert run_script(*command(home, tmp_path / "audit", *flags)) == 2
    assert message in one_line(capsys)
    assert not (tmp_path / "audit").exists() or wrong == "too few members"


FORMS = {
    "dialogue": make_dialogues()[:3],
    "qa": make_questions()[:3],
    "summarization": make_articles()[:3],
    "translation": make_translations()[:3],
    "classification": make_reviews()[:3],
    "text": [{"id": 1, "text": "a"}],
}


@pytest.mark.parametrize("form", FORMS)
def test_the_columns_say_what_the_data_is(form, tmp_path):
    assert detect_form([str(write_rows(tmp_path / "d.jsonl", FORMS[form]))]).task.name == form


@pytest.mark.parametrize("template", [True, False])
def test_chats_are_chats_and_the_tokenizer_decides_about_texts(template, tmp_path):
    turn = {"role": "user", "content": "a"}
    for row, turns in (
        ({"messages": [turn]}, False),
        ({"conversations": [turn]}, False),
        ({"prompt": "a", "completion": "b"}, template),
        ({"instruction": "a", "input": "", "output": "b"}, True),
    ):
        form = detect_form([str(write_rows(tmp_path / "d.jsonl", [row]))], template)
        assert (form.task.name, form.turns) == (
            ("chat", turns) if template or "output" not in row else ("dialogue", False)
        )


def test_a_column_that_only_later_rows_have_counts(tmp_path):
    rows = [{"instruction": "a", "output": "b"}, {"instruction": "a", "input": "c", "output": "b"}]
    assert detect_form([str(write_rows(tmp_path / "d.jsonl", rows))]).task.source_fields == ("instruction", "input")
    assert detect_form([str(write_rows(tmp_path / "d.jsonl", rows[:1]))]).task.source_fields == ("instruction",)


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(home, tmp_path, capsys):
    assert run_script(*command(home, tmp_path / "audit", "--dry-run", "--members", "8", "--held-out", "4")) == 0
    printed = capsys.readouterr().out
    assert "asked: 12 of 8 members and 4 held-out samples; 32 distinct prompts of 32" in printed
    assert "generations: 12, at most 144 tokens" in printed and "time: about" in printed and "memory on" in printed
    assert not list(tmp_path.iterdir())


def test_from_python(home, finished, tmp_path, monkeypatch):
    data = {"train_data": home / "train.jsonl", "held_out_data": [home / "held.jsonl"]}
    result = audit(model=home / "model", **data, output=finished, max_new_tokens=12, batch_size=2)
    assert result.verdict.startswith("Verdict: ") and result.page.is_file() and result.verdict in repr(result)
    loaded = load_results(finished)
    assert loaded.table() == load_results(finished / "detections").table() and "exact match" in loaded.table()
    assert "<table" in loaded._repr_html_() and "Verdict" in loaded._repr_html_()
    frame = loaded.to_pandas()
    rows = {row.generation.id: row for row in loaded.runs[0].rows}
    assert len(frame) == 32 and set(frame.max_new_tokens) == {12} and frame.copies.sum() == 34
    for one in frame.itertuples():
        assert one.member == rows[one.id].generation.member
        assert one.loss == pytest.approx(
            -rows[one.id].generation.scores.log_likelihood / rows[one.id].generation.scores.tokens
        )
    with pytest.raises(UserError, match="no such file"):
        audit(model=home / "model", train_data="nowhere.jsonl", output=tmp_path / "a")
    with pytest.raises(UserError, match="max-new-tokens"):
        audit(model=home / "model", **data, output=tmp_path / "a", max_new_tokens=0)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"pandas is not installed; pip install memorization\[pandas\]"):
        loaded.to_pandas()


def test_importing_the_package_stays_cheap():
    code = "import sys, memorization; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    assert not hasattr(memorization, "no_such_name")
