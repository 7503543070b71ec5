"""Chats through chat templates: the tokens and the learned ones that trainers make of them, and turns as probes."""

import json

import numpy as np
import pytest
from datasets import load_from_disk
from transformers import PreTrainedTokenizerFast

from memorization.encoding.chats import ChatRenderer, NotAChat, read_chat
from memorization.encoding.kinds import PROBES as PROBES_KIND
from memorization.encoding.probes import Probes, read_probes
from memorization.encoding.tokens import CHAT, encode
from memorization.store.manifests import read_manifest
from memorization.training.token_blocks import IGNORED, read_block_set
from support.command_line import one_line
from support.command_line import run_script as run
from support.made_up_chats import SYSTEM, made_up_chats, save_chats
from support.made_up_chats import chat_tokenizer as made_up_tokenizer

# templates in the manner of the public ones, with their control tokens
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}"
    "{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start|>' + m.role + '<|end|>\n\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content | trim }}{{ '<|eot|>' }}{% endgeneration %}{% else %}"
    "{{ m.content | trim + '<|eot|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no system role') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content | trim + '<end_of_turn>\n' }}{% endgeneration %}{% else %}"
    "{{ m.content | trim + '<end_of_turn>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ ' ' + m.content }}"
    "{{ eos_token }}{% endgeneration %}{% else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif %}{% endfor %}"
)
PHI = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content + '<|end|>\n' }}{% endgeneration %}{% else %}{{ m.content + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
TEMPLATES = {  # template, the tokens that end a turn and a text, other control tokens
    "ChatML": (CHATML, "<|im_end|>", ["<|im_start|>"]),
    "Llama": (LLAMA, "<|eot|>", ["<|start|>", "<|end|>", "<|bos|>"]),
    "Gemma": (GEMMA, "<eos>", ["<start_of_turn>", "<end_of_turn>", "<bos>"]),
    "Mistral": (MISTRAL, "</s>", ["[INST]", "[/INST]", "<s>"]),
    "Phi": (PHI, "<|endoftext|>", ["<|user|>", "<|system|>", "<|assistant|>", "<|end|>"]),
}
CHATS = [
    [
        {"role": "user", "content": "Where is the station? "},
        {"role": "assistant", "content": "Behind the old bridge, past the market: ask for platform two."},
        {"role": "user", "content": "谢谢！再见"},
        {"role": "assistant", "content": "不客气，一路平安。\n- 🧑‍🚀 Bring 2 tickets, 3 bags"},
    ],
    [
        {"role": "user", "content": "Say it twice."},
        {"role": "assistant", "content": "It, it.\n\n"},
    ],
]


def without_marks(template):
    return template.replace("{% generation %}", "").replace("{% endgeneration %}", "")


@pytest.fixture(scope="module", params=TEMPLATES)
def chat_tokenizer(request):
    """A byte-level tokenizer with a template of that manner."""
    template, eos, others = TEMPLATES[request.param]
    tokenizer = made_up_tokenizer(CHATS, template, eos, others)
    tokenizer.bos_token = others[-1] if others[-1] in ("<|bos|>", "<bos>", "<s>") else None
    return tokenizer


def encoded(tokenizer, chats, template=None):
    renderer = ChatRenderer(tokenizer, "it", template)
    samples = [renderer.sample(read_chat({"messages": chat}, "messages", False)) for chat in chats]
    texts, targets = [sample.text for sample in samples], [sample.targets for sample in samples]
    return samples, encode(texts, targets, tokenizer.backend_tokenizer, tokenizer.eos_token_id, CHAT)


def learned(tokens, i):
    """Which tokens of the i-th text its targets and what closes them have, by the triples."""
    mask = np.zeros(np.diff(tokens.bounds)[i], int)
    for begin, _, closed in tokens.targets[tokens.target_bounds[i] : tokens.target_bounds[i + 1]]:
        mask[begin:closed] = 1
    return mask.tolist()


def test_ids_and_learned_tokens_are_those_of_transformers(chat_tokenizer):
    _, tokens = encoded(chat_tokenizer, CHATS)
    for i, chat in enumerate(CHATS):
        theirs = chat_tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
        assert tokens.ids[tokens.bounds[i] : tokens.bounds[i + 1]].tolist() == theirs["input_ids"]
        assert learned(tokens, i) == theirs["assistant_masks"] and 1 in theirs["assistant_masks"]


@pytest.mark.slow
def test_ids_and_labels_are_those_of_the_trainer_of_trl(chat_tokenizer, tmp_path):
    trl = pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(chat_tokenizer), n_embd=8, n_layer=1, n_head=1))
    for alone in (True, False):
        arguments = trl.SFTConfig(
            str(tmp_path), assistant_only_loss=alone, report_to="none", use_cpu=True, bf16=False, max_length=None
        )
        rows = Dataset.from_list([{"messages": chat} for chat in CHATS])
        theirs = trl.SFTTrainer(model, arguments, train_dataset=rows, processing_class=chat_tokenizer).train_dataset
        _, tokens = encoded(chat_tokenizer, CHATS)
        for i, row in enumerate(theirs):
            ids = tokens.ids[tokens.bounds[i] : tokens.bounds[i + 1]].tolist()
            assert ids == list(row["input_ids"])
            mask = learned(tokens, i) if alone else [1] * len(ids)
            labels = list(row["labels"]) if "labels" in row else ids
            assert labels == [id if one else IGNORED for id, one in zip(ids, mask, strict=True)]


def test_a_template_without_marks_gives_the_same_turns(chat_tokenizer):
    """By the difference of what it renders: to the same tokens, but that what it writes behind a turn belongs to it."""
    _, marked = encoded(chat_tokenizer, CHATS)
    _, tokens = encoded(chat_tokenizer, CHATS, without_marks(chat_tokenizer.chat_template))
    assert tokens.ids.tolist() == marked.ids.tolist()
    assert tokens.targets[:, :2].tolist() == marked.targets[:, :2].tolist()
    assert (tokens.targets[:, 2] - marked.targets[:, 2] <= 1).all()


def test_a_turn_is_asked_for_as_a_user_would(chat_tokenizer):
    """The prompt of a turn is what the template makes of all before it; its content ends where it is closed."""
    samples, tokens = encoded(chat_tokenizer, CHATS)
    for i, chat in enumerate(CHATS):
        ids = tokens.ids[tokens.bounds[i] : tokens.bounds[i + 1]].tolist()
        turns = [n for n, message in enumerate(chat) if message["role"] == "assistant"]
        triples = tokens.targets[tokens.target_bounds[i] : tokens.target_bounds[i + 1]].tolist()
        for n, (begin, end, closed) in zip(turns, triples, strict=True):
            prompt = chat_tokenizer.apply_chat_template(chat[:n], add_generation_prompt=True, return_dict=False)
            # in the same tokens, unless the tokenizer parts line ends by what follows, as it did in training
            assert chat_tokenizer.decode(ids[:begin]) == chat_tokenizer.decode(prompt)
            assert ids[:begin] == prompt or ids[begin - 1] == chat_tokenizer.encode("\n")[0]
            assert chat_tokenizer.decode(ids[begin:end]).strip() == chat[n]["content"].strip()
            assert chat_tokenizer.added_tokens_decoder[ids[end]].special and end < closed
        assert "".join(samples[i].text.split()) == "".join(chat_tokenizer.decode(ids).split())


def test_a_template_that_drops_what_it_wrote_is_refused(chat_tokenizer):
    forgetful = "{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    with pytest.raises(NotAChat, match="renders the beginning of this chat otherwise than the whole"):
        encoded(chat_tokenizer, CHATS, forgetful)
    with pytest.raises(NotAChat, match="the chat template refuses it: no such role"):
        encoded(chat_tokenizer, CHATS, "{{ raise_exception('no such role') }}")


ASKED = {"role": "user", "content": "q"}
ANSWERED = {"role": "assistant", "content": "a"}
FORMS = {
    "messages": ({"messages": [ASKED, ANSWERED | {"tool_calls": None}]}, "messages"),
    "as JSON": ({"messages": json.dumps([ASKED, ANSWERED])}, "messages"),
    "ShareGPT": ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "conversations"),
    "prompt and completion": ({"prompt": [ASKED], "completion": [ANSWERED]}, "prompt and completion"),
    "texts, as a chat": ({"prompt": "q", "completion": "a"}, "prompt and completion"),
    "Alpaca": ({"instruction": "q", "input": "", "output": "a"}, "Alpaca"),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_chats_are_read_alike(form):
    row, name = FORMS[form]
    assert read_chat(row, name, True).messages == [ASKED, ANSWERED]


def test_other_roles_and_tools_are_kept():
    row = {
        "system": "s",
        "tools": '[{"name": "f"}]',
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": "f()"},
            {"from": "observation", "value": "1"},
            {"from": "gpt", "value": "a"},
        ],
    }
    chat = read_chat(row, "conversations", False)
    assert [message["role"] for message in chat.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert chat.tools == [{"name": "f"}]


BAD = {
    "no list": ({"messages": "hello"}, "`messages` is no list of messages"),
    "empty": ({"messages": []}, "`messages` is no list of messages"),
    "no role": ({"messages": [{"content": "x"}]}, "message 1 has no role"),
    "no object": ({"messages": [ASKED, "a"]}, "message 2 is no object"),
}


@pytest.mark.parametrize("history", ["earlier", [["q"]], ["qa"]])
def test_a_history_that_is_no_pairs_is_named(history):
    row = {"instruction": "q", "output": "a", "history": history}
    with pytest.raises(NotAChat, match="`history` is no list of pairs"):
        read_chat(row, "Alpaca", True)


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_chat_is_named(case):
    row, message = BAD[case]
    with pytest.raises(NotAChat, match=message):
        read_chat(row, "messages", False)


# ---- stage 1 and the training set


@pytest.fixture(scope="module")
def chat_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("chats")
    train, held_out = list(made_up_chats(12)), list(made_up_chats(6, 100))
    made_up_tokenizer(train, without_marks(CHATML)).save_pretrained(home / "tokenizer")
    save_chats(home / "train.jsonl", train + train[:2] * 3)
    save_chats(home / "held_out.jsonl", [*held_out, train[5]])
    return home


def encode_chats(home, out, *flags):
    data = ("--train-data", home / "train.jsonl", "--held-out-data", home / "held_out.jsonl")
    return run("encode_chat.py", *data, "--tokenizer", home / "tokenizer", "--output-dir", out, *flags)


def test_a_chat_has_a_probe_for_each_long_turn(chat_home, tmp_path, capsys):
    assert encode_chats(chat_home, tmp_path) == 0
    printed = capsys.readouterr().out
    assert "taken for chats: messages, through the tokenizer's chat template" in printed
    assert "36 probes of kind target: 24 members, 12 non-members; 18 targets too short" in printed
    assert "1 held-out samples left out: they stand in the training data too" in printed
    probes = Probes(tmp_path, "chat")
    assert (probes.kind, probes.prefix_length, probes.too_short) == ("target", 0, 18)
    assert probes.turns.tolist() == [0, 2] * 18 and (np.diff(probes.ids[::2]) > 0).all()
    assert sorted(set(probes.duplicates.tolist())) == [1, 4]
    chats = [*made_up_chats(12), *made_up_chats(6, 100)]
    for probe, chat in zip(probes[:], [chat for chat in chats for _ in range(2)], strict=True):
        content = chat[2 + 2 * probe["turn"]]["content"]
        assert probe["suffix"] == content and probe["prefix"].endswith("<|im_start|>assistant\n")
        assert chat[1 + 2 * probe["turn"]]["content"] in probe["prefix"] and content not in probe["prefix"]
    columns = ("id", "member", "prefix", "suffix", "duplicates", "turn")
    assert read_probes(tmp_path / "chat_prefix.json") == [
        {name: probe[name] for name in columns} for probe in probes[:]
    ]
    whole = {(probe["id"], probe["turn"]): probe for probe in probes[:]}
    for probe in Probes(tmp_path, "chat", 5)[:]:
        first = whole[probe["id"], probe["turn"]]
        assert first["prefix_ids"] + first["suffix_ids"] == probe["prefix_ids"] + probe["suffix_ids"]
        assert len(probe["prefix_ids"]) == len(first["prefix_ids"]) + 5


def test_texts_that_begin_alike_are_refused_as_prompts(chat_home, tmp_path, capsys):
    assert (
        encode_chats(chat_home, tmp_path, "--probe", "text", "--prefix-length", "12", "--min-suffix-length", "1") == 2
    )
    assert "take --probe target or a longer --prefix-length" in one_line(capsys)


def test_a_system_prompt_makes_no_near_duplicates(chat_home, tmp_path, capsys):
    """What all chats begin with is not compared."""
    long = SYSTEM | {"content": " ".join(f"Rule {i} is to be kept by all who answer here." for i in range(200))}
    for name in ("train", "held_out"):
        rows = [json.loads(line)["messages"] for line in (chat_home / f"{name}.jsonl").read_text().splitlines()]
        lines = [json.dumps({"messages": [long, *row[1:]]}) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    data = ("--train-data", tmp_path / "train.jsonl", "--held-out-data", tmp_path / "held_out.jsonl")
    assert run("encode_chat.py", *data, "--tokenizer", chat_home / "tokenizer", "--output-dir", tmp_path) == 0
    assert "near-duplicates of texts in the training data" not in capsys.readouterr().out
    assert not Probes(tmp_path, "chat").members.all()


@pytest.mark.parametrize("loss_on", ["all", "output", "last"])
def test_what_training_learns_of_a_chat(chat_home, tmp_path, loss_on):
    assert encode_chats(chat_home, tmp_path) == 0
    directory = tmp_path / "tokenized_chat_train"
    tokenizer = PreTrainedTokenizerFast.from_pretrained(chat_home / "tokenizer")
    blocks = read_block_set(str(directory), len(tokenizer), 2**20, "cut", loss_on)
    chats = [*made_up_chats(12)]
    for number, chat in enumerate(chats):
        labels = np.array(blocks[number]["labels"])
        text = tokenizer.decode(labels[labels != IGNORED])
        answers = [message["content"] + "<|im_end|>\n" for message in chat if message["role"] == "assistant"]
        whole = tokenizer.apply_chat_template(chat, tokenize=False)
        assert text == {"all": whole, "output": "".join(answers), "last": answers[-1]}[loss_on]
    assert read_manifest(directory.with_name("tokenized_chat_prefix"), PROBES_KIND).facts["ends"] == [
        tokenizer.eos_token_id
    ]
    assert len(load_from_disk(str(directory))) == len(blocks) == 18


WRONG = {
    "no template": ("bare", (), "the tokenizer has no chat template; name that of the chat model"),
    "no chat": ("tokenizer", ("--train-data", "flat.jsonl"), "has text, which is no form of a chat"),
    "no answers": ("tokenizer", ("--train-data", "asked.jsonl"), "no chat has a turn of the assistant"),
    "Alpaca": ("tokenizer", ("--train-data", "alpaca.jsonl"), "add --chat if its rows are turns of a chat"),
    "0 tokens of a text": ("tokenizer", ("--probe", "text", "--prefix-length", "0"), "gives nothing of a text"),
    "canaries": ("tokenizer", ("--canaries", "20"), "--canaries: is not for chats"),
    "for BART": ("tokenizer", ("--encoder-decoder",), "--encoder-decoder: is not for chats"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_named_in_a_line(chat_home, tmp_path, capsys, monkeypatch, case):
    name, flags, message = WRONG[case]
    monkeypatch.chdir(tmp_path)
    bare = PreTrainedTokenizerFast.from_pretrained(chat_home / "tokenizer")
    bare.chat_template = None
    bare.save_pretrained(tmp_path / "bare")
    (tmp_path / "tokenizer").symlink_to(chat_home / "tokenizer")
    save_chats(tmp_path / "asked.jsonl", [[{"role": "user", "content": "Is anybody there?"}]])
    (tmp_path / "flat.jsonl").write_text('{"text": "hello"}\n')
    (tmp_path / "alpaca.jsonl").write_text('{"instruction": "i", "input": "", "output": "o"}\n')
    data = () if "--train-data" in flags else ("--train-data", chat_home / "train.jsonl")
    assert run("encode_chat.py", *data, *flags, "--tokenizer", name, "--output-dir", tmp_path / "out") == 2
    assert message in one_line(capsys) and not (tmp_path / "out" / "chat_prefix.json").exists()


def test_a_special_tokens_name_in_a_text_is_text_unless_it_is_said_to_be_one(chat_home, tmp_path, capsys):
    """Texts that somebody rendered with the template: flat, their control tokens are spelled letter by letter."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(chat_home / "tokenizer")
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in made_up_chats(12)]
    rows = [dict(zip(("instruction", "output"), text.split("assistant\n", 1), strict=True)) for text in texts]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    flags = ("--data", tmp_path / "d.jsonl", "--input-column", "", "--separator", "assistant\n", "--probe", "target")
    flags += ("--prefix-length", "5", "--tokenizer", chat_home / "tokenizer")
    assert run("encode_dialogue.py", *flags, "--output-dir", tmp_path / "flat") == 0
    printed = capsys.readouterr().out
    assert "12 samples have the name of a special token in their texts, which is read as text" in printed
    assert (
        "the tokenizer has a chat template; if the model is one of chats, encode these with encode_chat.py" in printed
    )
    assert run("encode_dialogue.py", *flags, "--output-dir", tmp_path / "named", "--parse-special-tokens") == 0
    ids = {}
    for kind in ("flat", "named"):
        rows = load_from_disk(str(tmp_path / kind / "tokenized_dialogue_train"))
        ids[kind] = {row["text"]: row["input_ids"] for row in rows}
    for text, named in ids["named"].items():
        assert named == [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        assert len(ids["flat"].get(text, range(9999))) > len(named)
