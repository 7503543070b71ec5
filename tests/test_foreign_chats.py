"""A chat model that others trained, full or an adapter: an audit finds what a plain script gets out of it."""

import json
import os
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM

from memorization import audit
from memorization.shell.cli import UserError
from support.command_line import one_line
from support.command_line import run_script as run
from support.made_up_chats import (
    TEMPLATE,
    chat_tokenizer,
    learn,
    made_up_chats,
    random_chat_model,
    save_chats,
    turns_said,
)

MEMBERS, HELD_OUT = 16, 12
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A base model that has seen other chats, and what a plain script fine-tuned on 16: whole, and as an adapter."""
    home = tmp_path_factory.mktemp("foreign")
    members, held_out, others = list(made_up_chats(MEMBERS)), list(made_up_chats(HELD_OUT, 200)), made_up_chats(16, 400)
    tokenizer = chat_tokenizer(members)
    save_chats(home / "train.jsonl", members + members[:4] * 3)
    save_chats(home / "held_out.jsonl", held_out)
    model = random_chat_model(tokenizer)
    learn(model, tokenizer, list(others), 10)
    for name in ("base", "full"):
        model.save_pretrained(home / name)
        tokenizer.save_pretrained(home / name)
        if name == "base":
            learn(model, tokenizer, members + members[:4] * 3, 45)
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(
        LlamaForCausalLM.from_pretrained(home / "base"),
        peft.LoraConfig(r=64, lora_alpha=128, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    learn(adapted, tokenizer, members + members[:4] * 3, 90, rate=4e-3)
    adapted.save_pretrained(home / "lora")
    tokenizer.save_pretrained(home / "lora")
    return home, tokenizer, members, held_out


def data_of(home):
    return {"train_data": home / "train.jsonl", "held_out_data": home / "held_out.jsonl"}


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_an_audit_finds_what_a_plain_script_gets(foreign, tmp_path, kind):
    home, tokenizer, members, held_out = foreign
    if kind == "full":
        model, named = LlamaForCausalLM.from_pretrained(home / "full"), {"model": home / "full"}
    else:
        peft = pytest.importorskip("peft")
        model = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(home / "base"), home / "lora")
        named = {"model": home / "base", "adapter": home / "lora"}
    model.eval()
    plain = {
        (i, turn): exact
        for i, chat in [*enumerate(members), *enumerate(held_out, MEMBERS + 12)]
        for turn, exact in turns_said(model, tokenizer, chat).items()
    }
    result = audit(**named, **data_of(home), output=tmp_path / "audit")
    (run_of,) = result.runs
    rows = {(row.generation.id, row.generation.turn): row.generation.exact_match for row in run_of.rows}
    assert rows == plain
    of_members = [exact for (id, _), exact in plain.items() if id < MEMBERS]
    of_held_out = [exact for (id, _), exact in plain.items() if id >= MEMBERS]
    assert sum(of_members) > len(of_members) / 4 and not any(of_held_out)
    assert result.verdict.startswith("Verdict: yes")
    assert "membership as declared by the files" in " ".join(result.table().split())


def test_the_same_chats_as_flat_text_are_no_all_clear(foreign, tmp_path, capsys, monkeypatch):
    """Their texts without the template: what the model knows does not come out, and every report says why."""
    home, _, members, held_out = foreign
    monkeypatch.chdir(tmp_path)
    flat = [
        {"instruction": chat[1]["content"], "input": "", "output": chat[2]["content"]} for chat in members + held_out
    ]
    (tmp_path / "flat.json").write_text(json.dumps(flat))
    stages = {
        "encode_dialogue.py": "--data flat.json --tokenizer full --probe target --prefix-length 0 "
        "--min-suffix-length 12 --test-size 0.3",
        "inference_prefix.py": "--model-path full",
        "load_to_elastic.py": "-dir tokenized_data -fn dialogue_prefix.json --index-xsuffix flat",
        "plagiarism_detect.py": "-filedir memorization_finetuned_dialogue/dialogue/dialogue.txt -type m "
        "-dataset dialogue --index-xsuffix flat --paraphrase-model none",
    }
    (tmp_path / "full").symlink_to(home / "full")
    for script, flags in stages.items():
        assert run(script, *flags.split()) == 0
    capsys.readouterr()
    assert run("report.py", "results/m/dialogue", "--output", tmp_path / "report") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "SUSPECT: the loss of some answers is" in text and "in another form, the tokenizer's chat template" in text
    assert run("report.py", "results/m/dialogue", "--fail-above", "exact_match=0.9") == 2
    assert "is SUSPECT, so no limit holds of it" in one_line(capsys)


@pytest.mark.parametrize("named", [True, False])
def test_another_template_than_in_training_is_no_all_clear(named, foreign, tmp_path):
    """Named by --chat-template, or the one that the tokenizer happens to have: what the model knows does not come out,
    and the report says why."""
    home, tokenizer, *_ = foreign
    head, rest = "<|start_header_id|>", "<|end_header_id|>\n\n"
    other = (
        f"{{% for m in messages %}}{{{{ '{head}' + m.role + '{rest}' + m.content + '<|eot_id|>' }}}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ '{head}assistant{rest}' }}}}{{% endif %}}"
    )
    model, flags = home / "full", {}
    if named:
        (tmp_path / "other.jinja").write_text(other)
        flags = {"chat_template": tmp_path / "other.jinja"}
    else:
        model = tmp_path / "full"
        LlamaForCausalLM.from_pretrained(home / "full").save_pretrained(model)
        changed = type(tokenizer).from_pretrained(home / "full")
        changed.chat_template = other
        changed.save_pretrained(model)
    result = audit(model=model, **data_of(home), **flags, output=tmp_path / "audit")
    form = "the tokenizer's chat template" if named else "ChatML"
    text = " ".join(result.table().split())
    assert "SUSPECT: the loss of some answers is" in text and f"in another form, {form}" in text


def test_a_tokenizer_without_a_template_is_refused_for_chats(foreign, tmp_path):
    home, tokenizer, *_ = foreign
    assert tokenizer.chat_template == TEMPLATE
    bare = type(tokenizer).from_pretrained(home / "full")
    bare.chat_template = None
    LlamaForCausalLM.from_pretrained(home / "full").save_pretrained(tmp_path / "bare")
    bare.save_pretrained(tmp_path / "bare")
    with pytest.raises(UserError, match="the tokenizer has no chat template"):
        audit(model=tmp_path / "bare", **data_of(home), output=tmp_path / "audit")
    assert not (tmp_path / "audit" / "report").exists()


SHARED = Path(os.environ.get("SHARED", Path(__file__).parents[2] / "shared")) / "chat"


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/chat")
def test_a_model_that_trl_trained_says_what_its_truth_says(tmp_path):
    """Of the chats that stand 16 and 4 times in the data: as many turns and chats as a plain script gets."""
    chats = [json.loads(line)["messages"] for line in (SHARED / "train.jsonl").read_text().splitlines()]
    distinct = {json.dumps(chat): chats.count(chat) for chat in chats}
    chosen = [json.loads(chat) for chat, copies in distinct.items() for _ in range(copies) if copies >= 4]
    held_out = [json.loads(line)["messages"] for line in (SHARED / "heldout.jsonl").read_text().splitlines()][:20]
    save_chats(tmp_path / "train.jsonl", chosen)
    save_chats(tmp_path / "held_out.jsonl", held_out)
    data = {"train_data": tmp_path / "train.jsonl", "held_out_data": tmp_path / "held_out.jsonl"}
    (run_of,) = audit(model=SHARED / "full", **data, output=tmp_path / "audit").runs
    exact: dict = {}
    for row in run_of.rows:
        exact.setdefault(row.generation.duplicates if row.generation.member else 0, []).append(row.generation)
    counts = {copies: (sum(row.exact_match for row in rows), len(rows)) for copies, rows in exact.items()}
    assert counts[16] == (31, 33) and counts[4] == (28, 91) and counts[0][0] == 0
    chats_with = {copies: len({row.id for row in rows if row.exact_match}) for copies, rows in exact.items()}
    assert (chats_with[16], chats_with[4]) == (10, 20)
