"""The gate on rates, and audit.json beside its schema."""

import json
from copy import deepcopy
from math import nextafter

import pytest
from jsonschema import Draft202012Validator

from memorization.detection.detections import Ceiling
from memorization.detection.kinds import DETECTIONS
from memorization.extraction.exposures import Exposure
from memorization.extraction.matches import Near
from memorization.extraction.scores import Scores
from memorization.results.audit import audit_json
from memorization.results.canaries import summarize_canaries
from memorization.results.gate import Limit, apply_limits, parse_limit
from memorization.results.result import Result
from memorization.results.statistics import rate_difference, wilson
from memorization.results.summarize import summarize
from memorization.results.summary import result_json
from memorization.shell.cli import UserError
from memorization.store.manifests import read_manifest
from support.command_line import ROOT, one_line, run_script
from support.detection_rows import detection, facts, item, write_detections

SCHEMA = json.loads((ROOT / "memorization" / "results" / "audit.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def rows(own, members=20, **fields):
    """So many members with an own run over 50 characters, the first ten in 4 copies; 10 held-out texts without, half of
    them in 4 copies."""
    return [
        detection(i, own=60 if i < own else 9, duplicates=4 if i < 10 or 1000 <= i < 1005 else 1, **fields)
        for i in (*range(members), *range(1000, 1010))
    ]


@pytest.fixture
def two(tmp_path):
    short = {"prefix_length": 10}
    return [
        write_detections(tmp_path / "few", rows(1), short, {}, index=short),
        write_detections(tmp_path / "many", rows(15), training={}),
    ]


def gate(capsys, *args):
    """(status, stdout, stderr) of report.py."""
    status = run_script("report.py", *args)
    output = capsys.readouterr()
    return status, output.out, output.err


def test_the_upper_end_of_the_interval_decides(two, capsys):
    _, high = wilson(1, 20)
    assert high > 1 / 20
    assert gate(capsys, two[0], f"--fail-above=own={high!r}")[0] == 0
    status, out, err = gate(capsys, two[0], "--fail-above", f"own={nextafter(high, 0)!r}")
    assert status == 1 and "Verdict: " in out and len(err.splitlines()) == 1
    assert gate(capsys, two[0], "--fail_above", "own=0")[0] == 1


def test_every_limit_holds_in_every_run_or_it_fails_and_the_line_names_what_is_over(two, tmp_path, capsys):
    out = tmp_path / "report"
    low, high = (f"{100 * x:.4g}" for x in wilson(15, 20))
    limits = ("--fail-above", "own=0.5", "--fail-above", "verbatim=0.2")
    status, output, line = gate(capsys, *two, *limits, "--output", out)
    expected = f"report.py: over the limit: prefix_length 50: own of members 75 [{low}, {high}] %, limit 50 %\n"
    assert (status, line) == (1, expected) and "wrote audit.json, leaks.txt" in output and (out / "leaks.txt").is_file()
    gate_of_audit = json.loads((out / "audit.json").read_text())["gate"]
    assert gate_of_audit["holds"] is False
    assert [(one["run"], one["column"], one["limit"], one["holds"]) for one in gate_of_audit["outcomes"]] == [
        ("prefix_length 10", "own", 0.5, True),
        ("prefix_length 50", "own", 0.5, False),
        ("prefix_length 10", "verbatim", 0.2, True),
        ("prefix_length 50", "verbatim", 0.2, True),
    ]
    status, output, line = gate(capsys, *two, "--fail-above", "own=0.95", "--output", out)
    assert (status, line) == (0, "") and "within all limits: prefix_length 10: own of members 5 [" in output
    assert json.loads((out / "audit.json").read_text())["gate"]["holds"] is True
    foreign = write_detections(tmp_path / "foreign", rows(1))
    assert gate(capsys, foreign, "--fail-above", "own=0.9")[1].endswith(
        "limit 90 %, though it is membership as declared by the files: nothing is known of the model's training\n"
    )
    gate(capsys, *two, "--output", out)
    assert json.loads((out / "audit.json").read_text())["gate"] is None


def test_nothing_measured_is_no_pass(two, tmp_path, capsys):
    def refused(*args):
        assert run_script("report.py", *args, "--output", tmp_path / "report") == 2
        assert not (tmp_path / "report").exists()
        return one_line(capsys)

    held_out = write_detections(tmp_path / "held out", rows(0, members=0))
    silent = write_detections(tmp_path / "silent", [*rows(0), detection(2000, exact_match=False)])
    unchecked = write_detections(tmp_path / "unchecked", rows(0), unchecked=True)
    assert "no share" in (line := refused(*two, "--fail-above", "owm=0.5")) and "run_200, own, another" in line
    assert "no share" in refused(two[0], "--fail-above", "matched_tokens=0.5")  # a column without a figure
    assert "no member of " in refused(held_out, "--fail-above", "own=0.9")
    assert "no member of " in refused(silent, "--fail-above", "exact_match=0.9")
    assert "UNCHECKED" in refused(two[0], unchecked, "--fail-above", "own=0.9")


@pytest.mark.parametrize(
    "value", ["own", "own=", "=0.5", "own=1", "own=5", "own=-0.1", "own=nan", "own=inf", "own=1%", "excess:=0.1"]
)
def test_a_limit_is_a_column_and_a_fraction(value, two, capsys):
    assert run_script("report.py", two[0], f"--fail-above={value}") == 2
    assert "exact_match=0.01 is 1 %" in one_line(capsys)


def test_a_limit_is_read_as_it_is_written():
    assert parse_limit("within_100_50=1e-3") == Limit("within_100_50", 0.001)
    assert parse_limit("own=0") == Limit("own", 0.0, False)
    assert parse_limit("excess:own=0.05") == Limit("own", 0.05, True)


# ---- audit.json

TOKENS = {"tokens": 50, "matched_tokens": 9, "extraction_strength": 0.5, "zlib_bytes": 90}
SCORES = Scores(**TOKENS, log_likelihood=-30.0, log_p_z=-2.0, min_k=-1.0, min_k_plus=-0.5)
FULL = {"near": Near(edit_similarity=0.5, rouge_l=0.25, common_run=9, near_copy=False), "scores": SCORES}
FULL |= {"exact_match": True, "matched_tokens": 9, "personal": [item("email", (0, 9), "own")]}
SAMPLED = {"temperature": 0.8, "top_k": 40, "num_samples": 2, "max_new_tokens": 100}


def exposures():
    logs = {"log_likelihood": -3.0, "error": None, "extracted": True}
    rows = [
        Exposure(id=i, turn=0, sample=0, pair=i // 2, copies=4, planted=i % 2 == 0, exposure=1.0, **logs)
        for i in range(8)
    ]
    return summarize_canaries(rows, {"digits": 4, "unchecked": False})


def run_of(directory, detections, changes=(), base=None, of_canaries=None, **written):
    """The Result of detections. changes: to their facts."""
    manifest = read_manifest(write_detections(directory, detections, **written) / "detections.jsonl", DETECTIONS)
    summary = summarize(detections, facts(**dict(changes)), base, of_canaries)
    return Result("name", "label", "directory", summary, detections, manifest, None, None, None)


@pytest.fixture
def every(tmp_path):
    """Runs of every shape: little, all there is, one side only, several generations, unknown ones."""
    full = rows(5, **FULL)
    asked = {"classifier": "a/model", "ner_model": "names", "base": "gpt", "direction": "both"}
    asked["prompts"] = {"probes": 30, "distinct": 2, "own": 1}
    paper = rows(5, **FULL, paper=detection(0).labels)
    held_out = [row for row in full if not row.generation.member]
    hashes = {"classifier": "a" * 64, "ner_model": "b" * 64}
    unknown = run_of(tmp_path / "unknown", rows(2), {"scheme": None, "unchecked": True})
    unknown.manifest.facts["generations"] = None
    return {
        "little": run_of(tmp_path / "little", rows(2), training={}),
        "all": run_of(tmp_path / "all", paper, asked, paper, exposures(), training={}, **hashes),
        "members": run_of(tmp_path / "members", [row for row in full if row.generation.member]),
        "held out": run_of(tmp_path / "held_out", held_out),
        "one": run_of(tmp_path / "one", [full[0], held_out[0]]),
        "sampled": run_of(tmp_path / "sampled", full + rows(9, sample=1, **FULL), generations=SAMPLED),
        "unknown": unknown,
    }


def test_the_schema_is_one_and_describes_runs_of_every_shape(every):
    Draft202012Validator.check_schema(SCHEMA)
    for run in every.values():
        VALIDATOR.validate(json.loads(audit_json([run], [])))
    results = [every["little"], every["all"]]
    VALIDATOR.validate(
        json.loads(audit_json(results, apply_limits([Limit("own", 0.5), Limit("run_50", 0.0)], results)))
    )


def test_figures_are_those_of_the_result(every):
    (run,) = json.loads(audit_json([every["little"]], []))["runs"]
    (own,) = (figure for figure in run["figures"] if figure["name"] == "own")
    low, high = wilson(2, 20)
    assert own["groups"]["members"] == {"n": 20, "count": 2, "rate": 0.1, "interval": [low, high], "ceiling": 1.0}
    rate, *interval = rate_difference(2, 20, 0, 10)
    assert own["difference"] == {"rate": rate, "interval": interval}
    assert set(own["groups"]) == {"4 copies", "1 copy", "members", "held out"} == set(run["probes"])
    summary = every["all"].summary
    layout = json.loads(json.dumps(result_json(summary)))
    (run,) = json.loads(audit_json([every["all"]], []))["runs"]
    assert [figure["name"] for figure in run["figures"]] == [*summary.counts.figures]
    for name in ("scores", "another", "personal", "canaries", "base", "generations"):
        assert run[name] == layout[name], name
    assert run["verdict"] == layout["verdict"] and run["verdict"]["column"] == "own"
    manifest = every["all"].manifest
    assert run["identities"]["detections"] == manifest.identity and run["identities"]["model"] == "f" * 64
    assert run["identities"]["index_documents"] == "d" * 64 and run["identities"]["trained_on"] is None


def test_attacks_are_told_as_run_or_not(every):
    def attacks(name):
        (run,) = json.loads(audit_json([every[name]], []))["runs"]
        return {attack["name"]: (attack["run"], attack["detail"]) for attack in run["attacks"]}

    little, full, sampled, unknown = map(attacks, ("little", "all", "sampled", "unknown"))
    assert set(little) == set(full) == set(sampled) == set(unknown)
    asked = ["(n, p)-discoverable extraction", "paraphrase classifier", "personal names", "membership scores"]
    asked += ["comparison with the base model", "canaries"]
    for name in asked:
        assert (little[name][0], full[name][0]) == (False, True), name
    assert little["greedy continuation of prefixes"] == (True, "prefixes of 50 tokens, 1 a probe")
    assert little["sampled continuation of prefixes"] == (False, "decoding was greedy")
    assert sampled["greedy continuation of prefixes"] == (False, "decoding was sampled")
    assert sampled["sampled continuation of prefixes"] == (
        True,
        "prefixes of 50 tokens, 2 a probe, 100 new tokens, temperature 0.8, top-k 40",
    )
    assert [unknown[f"{kind} continuation of prefixes"][0] for kind in ("greedy", "sampled")] == [None, None]
    assert full["canaries"] == (True, "4 pairs") and "loss, zlib, min_k, min_k_plus" in full["membership scores"][1]
    assert full["paraphrase classifier"][1] == "a/model" and full["comparison with the base model"][1] == "gpt"
    assert attacks("members")["membership scores"] == (False, "no scores, or one side only")
    assert little["attribute inference"][0] is False and little["near-duplicates kept on one side"][0] is None
    for kind, share, done, reason in (
        ("random", 0.8, True, "texts that share 80 %"),
        ("given", 0.8, True, "held-out texts that share 80 %"),
        ("random", None, False, "copies alone"),
    ):
        every["little"].summary.facts.split = {"kind": kind, "near_duplicates": share, "comparability": None}
        was_done, detail = attacks("little")["near-duplicates kept on one side"]
        assert was_done is done and detail.startswith(reason)


def places(value, path=()):
    """The path of every object in a document; of neighbours that hold the same keys that of the last."""
    if isinstance(value, dict):
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in {str(one.keys() if isinstance(one, dict) else name): (name, one) for name, one in inner}.values():
        yield from places(one, (*path, name))


def test_the_schema_refuses_what_was_tampered_with(every):
    runs = [every["all"]]
    whole = json.loads(audit_json(runs, apply_limits([Limit("own", 0.5)], runs)))

    def accepted(path, change):
        """Whether the document is valid still where the object at a path was changed."""
        tampered = inner = deepcopy(whole)
        for key in path:
            inner = inner[key]
        change(inner)
        assert tampered != whole
        return VALIDATOR.is_valid(tampered)

    assert VALIDATOR.is_valid(whole)
    for path in places(whole):
        assert not accepted(path, lambda node: node.update(extra="x")), path
    needed = [(name,) for name in SCHEMA["required"]]
    needed += [("runs", 0, name) for name in SCHEMA["$defs"]["run"]["required"]]
    needed += [("runs", 0, "identities", "model"), ("gate", "holds"), ("gate", "outcomes", 0, "cell", "interval")]
    needed += [("runs", 0, "figures", 0, "groups", "held out"), ("runs", 0, "attacks", 0, "run")]
    for *path, last in needed:
        assert not accepted(path, lambda node, last=last: node.pop(last)), (path, last)
    for *path, last, value in [
        ("version", 1),
        ("tool", "name", "another"),
        ("runs", []),
        ("gate", {}),
        ("gate", "outcomes", 0, "limit", 1),
        ("gate", "holds", "true"),
        ("runs", 0, "unchecked", None),
        ("runs", 0, "prompts", "own", -1),
        ("runs", 0, "notes", 0, "text", ""),
        ("runs", 0, "identities", "model", "gpt"),
        ("runs", 0, "verdict", "groups", "members", "p", 1.5),
        ("runs", 0, "attacks", 0, "detail", ""),
        ("runs", 0, "scores", "loss", "auc", "rate", 2),
        ("runs", 0, "figures", 0, "kind", "text"),
        ("runs", 0, "figures", 0, "groups", "members", "count", -1),
        ("runs", 0, "figures", 0, "groups", "members", "interval", [0.1]),
    ]:
        assert not accepted(path, lambda node, last=last, value=value: node.update({last: value})), (path, last)


def test_a_limit_on_the_excess_is_on_members_less_held_out_texts(tmp_path, capsys):
    """Templates come out of held-out texts as often: no model would pass a limit on members alone."""
    template = [detection(i, "verbatim") for i in (*range(40), *range(1000, 1040))]
    path = write_detections(tmp_path / "template", template, training={})
    status, _, line = gate(capsys, path, "--fail-above", "verbatim=0.2")
    assert status == 1
    assert line.endswith(
        "limit 20 %, which held-out texts are over too (100 %): excess:verbatim=RATE limits the difference\n"
    )
    _, _, high = rate_difference(40, 40, 40, 40)
    assert gate(capsys, path, "--fail-above", f"excess:verbatim={high!r}")[0] == 0
    out = tmp_path / "report"
    status, _, line = gate(capsys, path, "--fail-above", f"excess:verbatim={nextafter(high, 0)!r}", "--output", out)
    assert status == 1 and "verbatim of members less held-out texts 0 [" in line and "over too" not in line
    (outcome,) = json.loads((out / "audit.json").read_text())["gate"]["outcomes"]
    assert outcome["excess"] and outcome["held_out"] == 1 and outcome["cell"]["interval"][1] == high
    VALIDATOR.validate(json.loads((out / "audit.json").read_text()))
    members = write_detections(tmp_path / "members", template[:40], training={})
    assert gate(capsys, members, "--fail-above", "verbatim=0.2")[0] == 1
    status, _, line = gate(capsys, members, "--fail-above", "excess:verbatim=0.2")
    assert status == 2 and "has no held-out texts, so there is no difference to limit" in line


def test_a_limit_that_no_model_could_exceed_is_refused(tmp_path, capsys):
    """Half of the members share all they have with others: a model that repeats all of them has own runs of 50 %."""
    shared = [detection(i, ceiling=Ceiling(tokens=100, longest=500, own=i % 2 == 0, personal=True)) for i in range(40)]
    path = write_detections(tmp_path / "shared", [*shared, detection(1000)], training={})
    status, _, line = gate(capsys, path, "--fail-above", "own=0.5")
    assert status == 2 and "has 50 %, so this limit always holds" in line
    assert gate(capsys, path, "--fail-above", "own=0.4")[0] == 0


def test_a_limit_on_what_hardly_a_sample_holds_says_so(tmp_path, capsys):
    """Personal data may be rare in the data: that is no mistake of the limit's, but must not read as an all-clear."""

    def outcome(name, share):
        held = [Ceiling(tokens=100, longest=500, own=True, personal=i < 100 * share) for i in range(100)]
        rows = [detection(i, ceiling=held[i]) for i in range(100)]
        path = write_detections(tmp_path / name, [*rows, detection(1000)], training={})
        status, out, _ = gate(capsys, path, "--fail-above", "personal=0.05")
        assert status == 0
        return out

    assert "limit 5 %, which no model could exceed: the samples' own texts have 1 %\n" in outcome("rare", 0.01)
    assert "no model could exceed" not in outcome("held", 0.5)


def test_a_limit_on_recognizable_members_needs_held_out_samples_that_could_show_it(tmp_path):
    """With 99 held-out samples and 100 members 20 must be surer than all of them, or none is found."""

    def run(name, known, held_out):
        rows = [
            detection(id, scores=scores_of(-1.0 if id < known else -2.0 - (id < 1000)))
            for id in (*range(100), *range(1000, 1000 + held_out))
        ]
        return run_of(tmp_path / name, rows)

    def scores_of(log_likelihood):
        return Scores(tokens=1, log_likelihood=log_likelihood, min_k=-1.0, zlib_bytes=9)

    limit = parse_limit("recognizable=0.3")
    (outcome,) = apply_limits([limit], [run("none", 0, 99)])  # 20 of 100 are within the limit, seen or not
    assert outcome.holds and outcome.estimate.count == 0
    (outcome,) = apply_limits([limit], [run("known", 25, 99)])
    assert not outcome.holds and outcome.estimate.count == 25 and outcome.held_out == 0
    for number, known, held_out, message in (
        (0, 0, 99, "unless 20 of 100 members are surer than all of them, which is over the limit; give 399"),
        (1, 19, 99, "unless 20 of 100 members"),
        (2, 100, 18, "that takes 19 held-out samples that are no near-duplicates, and there are 18"),
        (3, 100, 0, "there are no held-out samples to compare with"),
    ):
        for text in ("recognizable=0.05", "excess:recognizable=0.05"):
            with pytest.raises(UserError, match=message):
                apply_limits([parse_limit(text)], [run(f"{number} {text}", known, held_out)])
