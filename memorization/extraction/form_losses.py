"""The loss of a model on the same answers in other forms than they were encoded in: was it trained on another one?"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from memorization.encoding.chats import ASSISTANT, Chat, ChatRenderer, NotAChat
from memorization.encoding.kinds import AS_ENCODED
from memorization.encoding.probes import Probes
from memorization.encoding.tokens import CHAT, encode
from memorization.extraction.engine import Engine
from memorization.models.limits import WHOLE
from memorization.shell.cli import UserError

NUMBER, READ = 8, 256  # answers that are compared, and probes of texts among which they are the shortest
OWN = "the tokenizer's chat template"
ROLES = ("system", "user", ASSISTANT)
FORMS = {  # name -> role -> what stands before a message and what behind it, in the manner of the public ones
    "ChatML": {role: (f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ROLES},
    "Llama 3": {role: (f"<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>") for role in ROLES},
    "Gemma": {
        role: (f"<start_of_turn>{name}\n", "<end_of_turn>\n")
        for role, name in zip(ROLES, ("user", "user", "model"), strict=True)
    },
    "Mistral": {"system": ("", "\n\n"), "user": ("[INST] ", " [/INST]"), ASSISTANT: (" ", "</s>")},
    "Phi": {role: (f"<|{role}|>\n", "<|end|>\n") for role in ROLES},
    "Zephyr": {role: (f"<|{role}|>\n", "</s>\n") for role in ROLES},
    "Vicuna": {"system": ("", " "), "user": ("USER: ", " "), ASSISTANT: ("ASSISTANT: ", "</s>")},
    "Alpaca": {
        "system": ("", "\n\n"),
        "user": ("### Instruction:\n", "\n\n"),
        ASSISTANT: ("### Response:\n", "\n\n"),
    },
    "Human and Assistant": {
        "system": ("", "\n\n"),
        "user": ("Human: ", "\n\n"),
        ASSISTANT: ("Assistant: ", "\n\n"),
    },
}


def losses_by_form(
    engine: Engine, tokenizer: PreTrainedTokenizerBase, probes: Probes, context: int | None
) -> dict[str, float] | None:
    """The mean loss, in nats a token, of a few short answers as they were encoded, and of the same ones in each form
    that writes them otherwise: in the tokenizer's chat template, and in FORMS.

    Of members, where a difference is greatest, and of held-out samples where there are none. context: the most tokens
    of a text. None where nothing can be compared.
    """
    if probes.pairs:
        return None
    try:
        targets = Probes(probes.path.parent, probes.name, 0, "target")
    except UserError:
        return None
    examples = [*_examples(targets)]
    texts = {AS_ENCODED: [(probe["prefix_ids"], probe["suffix_ids"]) for probe, _ in examples]}
    for name in (OWN, *FORMS):
        rendered = [_rendered(name, chat, tokenizer) for _, chat in examples]
        if None not in rendered and rendered not in texts.values():
            texts[name] = [one for one in rendered if one is not None]
    fitting = [
        number
        for number in range(len(examples))
        if max(len(prompt) + len(answer) for prompt, answer in (each[number] for each in texts.values()))
        <= (context or WHOLE)
    ]
    if not fitting or len(texts) == 1:
        return None
    losses = {}
    for name, each in texts.items():
        of_form = [
            examples[number][0] | dict(zip(("prefix_ids", "suffix_ids"), each[number], strict=True))
            for number in fitting
        ]
        parts = [of_form[i : i + engine.batch_size] for i in range(0, len(of_form), engine.batch_size)]
        scores = [one.log_prob for part in parts for one in engine.score(part) if one is not None]
        if not scores:
            return None
        losses[name] = round(-float(np.mean(np.concatenate(scores))), 3)
    return losses


def _examples(targets: Probes) -> Iterator[tuple[dict[str, Any], Chat]]:
    """A few probes with short answers, and the chat of which each is a turn, up to it. Of texts: a question, what
    stands before the answer."""
    of_chats = targets.manifest.facts.get("examples")
    if of_chats is not None:
        places = zip(targets.ids.tolist(), targets.turns.tolist(), strict=True)
        at = {place: number for number, place in enumerate(places)}
        asked = [(at[place], one) for one in of_chats if (place := (one["id"], one["turn"])) in at]
        asked.sort(key=lambda one: not targets.members[one[0]])
        for number, example in asked[:NUMBER]:
            yield targets[number : number + 1][0], Chat(example["messages"])
        return
    targets.keep(targets.members if targets.members.any() else ~targets.members)
    read = sorted(targets[:READ], key=lambda probe: len(probe["prefix_ids"]) + len(probe["suffix_ids"]))
    for probe in read[:NUMBER]:
        contents = zip(("user", ASSISTANT), (probe["prefix"], probe["suffix"]), strict=True)
        yield probe, Chat([{"role": role, "content": text.strip()} for role, text in contents])


def _rendered(form: str, chat: Chat, tokenizer: PreTrainedTokenizerBase) -> tuple[Sequence[int], Sequence[int]] | None:
    """The token ids of what stands before the last message of a chat in a form, and of that message. None if the form
    has no such chats."""
    *before, last = chat.messages
    if form == OWN:
        try:
            renderer = ChatRenderer(tokenizer, "")  # type: ignore[arg-type]  # a fast one, as stage 1's
            opening = renderer.opening(chat, len(before))
        except (UserError, NotAChat):
            return None
    else:
        around = FORMS[form]
        each = [message["content"].join(around.get(message["role"], around["user"])) for message in before]
        opening = "".join(each) + around[ASSISTANT][0]
        begin = tokenizer.bos_token
        if isinstance(begin, str) and not opening.startswith(begin):
            opening = begin + opening
    text = opening + last["content"]
    tokens = encode([text], [(len(opening), len(text))], tokenizer.backend_tokenizer, tokenizer.eos_token_id, CHAT)
    (begin_of, end, _), *_ = tokens.targets.tolist()
    ids = tokens.ids.tolist()
    return (ids[:begin_of], ids[begin_of:end]) if begin_of < end else None
