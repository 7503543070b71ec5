"""Whether a model finds texts likelier through its chat template than as they were encoded."""

import numpy as np
from transformers import PreTrainedTokenizerBase

from memorization.encoding.chats import Chat, ChatRenderer, NotAChat
from memorization.encoding.probes import Probes
from memorization.encoding.tokens import CHAT, encode
from memorization.extraction.engine import Engine
from memorization.models.limits import WHOLE
from memorization.shell.cli import UserError

NUMBER, READ = 16, 256  # texts that are compared, and probes among which they are the shortest


def losses_in_template(
    engine: Engine, tokenizer: PreTrainedTokenizerBase, probes: Probes, context: int | None
) -> tuple[float, float] | None:
    """The mean loss of targets, in nats a token, as encoded, and as the assistant's answers to what stands before them.

    Of the shortest of some held-out texts, or members where there are none. context: the most tokens of a text. None
    where the texts have gone through the template, or nothing can be compared.
    """
    if not getattr(tokenizer, "chat_template", None) or probes.manifest.made_of.get("chat_template") or probes.pairs:
        return None
    try:
        targets = Probes(probes.path.parent, probes.name, 0, "target")
        renderer = ChatRenderer(tokenizer, "")  # type: ignore[arg-type]  # a fast one, as stage 1's
    except UserError:
        return None
    targets.keep(~targets.members if (~targets.members).any() else targets.members)
    read = targets[:READ]
    flat, rendered = [], []
    for probe in sorted(read, key=lambda probe: len(probe["prefix_ids"]) + len(probe["suffix_ids"]))[:NUMBER]:
        messages = [
            {"role": role, "content": text.strip()}
            for role, text in (("user", probe["prefix"]), ("assistant", probe["suffix"]))
        ]
        try:
            sample = renderer.sample(Chat(messages))
        except NotAChat:
            return None
        tokens = encode([sample.text], [sample.targets], tokenizer.backend_tokenizer, tokenizer.eos_token_id, CHAT)
        (begin, end, _), *_ = tokens.targets.tolist()
        ids = tokens.ids.tolist()
        if begin < end and max(end, len(probe["prefix_ids"]) + len(probe["suffix_ids"])) <= (context or WHOLE):
            flat.append(probe)
            rendered.append(probe | {"prefix_ids": ids[:begin], "suffix_ids": ids[begin:end]})
    scores = [engine.score(each) for each in (flat, rendered)] if flat else []
    if not flat or any(one is None for each in scores for one in each):
        return None
    as_encoded, in_template = (
        -float(np.mean(np.concatenate([one.log_prob for one in each if one is not None]))) for each in scores
    )
    return round(as_encoded, 3), round(in_template, 3)
