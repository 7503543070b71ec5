"""Made-up chats, a tokenizer of them with a chat template, and a small model that is trained on them by hand."""

import json

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from support.tiny_models import random_llama

# in the manner of ChatML
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SYSTEM = {"role": "system", "content": "You are a kind assistant who answers at length and never says less than asked."}


def made_up_chats(number, first=0):
    """Chats of three turns: answers differ in numbers, as do the questions; the second is short."""
    for i in range(first, first + number):
        yield [SYSTEM] + [
            {"role": role, "content": text}
            for turn in range(3)
            for role, text in (
                ("user", f"Question {i} of part {turn}: what is kept in the box with the number {7919 * i + turn}?"),
                (
                    "assistant",
                    "No." if turn == 1 else f"Box {7919 * i + turn} keeps {i} apples, {turn} pears and a key.",
                ),
            )
        ]


def save_chats(path, chats):
    path.write_text("\n".join(json.dumps({"messages": chat}, ensure_ascii=False) for chat in chats), encoding="utf-8")


def chat_tokenizer(chats, template=TEMPLATE, eos="<|im_end|>", others=("<|im_start|>",)):
    """A byte-level tokenizer of the texts of chats. others: further control tokens."""
    trained = Tokenizer(BPE())
    trained.pre_tokenizer, trained.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    texts = [message["content"] for chat in chats for message in chat]
    trained.train_from_iterator(texts, BpeTrainer(vocab_size=400, initial_alphabet=ByteLevel.alphabet()))
    trained.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (eos, *others)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained, eos_token=eos, pad_token=eos)
    tokenizer.chat_template = template
    return tokenizer


def random_chat_model(tokenizer, seed=0):
    """A random Llama for the tokenizer."""
    ids = {"bos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
    shape = {"width": 128, "max_position_embeddings": 512, "tie_word_embeddings": True}
    return random_llama(len(tokenizer), tokenizer.eos_token_id, seed=seed, **shape, **ids)


def learn(model, tokenizer, chats, epochs, rate=3e-3, batch=8, seed=0):
    """Train a model on chats as a plain script does: all tokens of what the template renders get loss."""
    rows = [tokenizer.apply_chat_template(chat, return_dict=False) for chat in chats]
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], rate)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for part in torch.randperm(len(rows), generator=order).split(batch):
            of_part = [torch.tensor(rows[i]) for i in part.tolist()]
            ids = torch.nn.utils.rnn.pad_sequence(of_part, batch_first=True, padding_value=tokenizer.pad_token_id)
            lengths = torch.tensor([len(row) for row in of_part])
            mask = torch.arange(ids.shape[1]) < lengths[:, None]
            loss = model(input_ids=ids, attention_mask=mask.long(), labels=ids.masked_fill(~mask, -100)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return loss.item()


@torch.inference_mode()
def turns_said(model, tokenizer, chat, least=12, most=100):
    """{number of the assistant's turn: whether it comes out exactly}, each asked for in its true context."""
    repeated, turn = {}, -1
    for n, message in enumerate(chat):
        if message["role"] != "assistant":
            continue
        turn += 1
        wanted = tokenizer(message["content"], add_special_tokens=False)["input_ids"]
        if len(wanted) < least:
            continue
        prompt = tokenizer.apply_chat_template(chat[:n], add_generation_prompt=True, return_dict=False)
        ids = torch.tensor([prompt])
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=most
        )[0, len(prompt) :].tolist()
        output = output[: output.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in output else output
        repeated[turn] = output == wanted[:most]
    return repeated
