"""Token ids and the characters at which tokens start, with tokenizers of the kinds that models have; and the cut."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from memorization.encoding.made_up import make_dialogues
from memorization.encoding.tasks import DIALOGUE
from memorization.encoding.tokens import INSIDE, SPECIAL, cut, encode
from support.hard_texts import CHARACTERS, HARD

TEXTS = [DIALOGUE.text(row) for row in make_dialogues(seed=1, single=40, fourfold=0, sixteenfold=0)]
END = "<|endoftext|>"


def byte_level(trim_offsets, bos):
    """As GPT-2's, GPT-Neo's and Llama 3's; RoBERTa's trims the offsets."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=[END, "<s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    steps = [processors.ByteLevel(trim_offsets=trim_offsets, add_prefix_space=False)]
    if bos:
        special = [("<s>", 1), (END, 0)]
        steps.append(processors.TemplateProcessing(single=f"<s> $A {END}", special_tokens=special))
    tokenizer.post_processor = processors.Sequence(steps)
    return tokenizer, 0


def byte_fallback():
    """As Llama 2's and Mistral's: blanks are a sign, unknown characters several tokens of one byte."""
    single_bytes = [f"<0x{i:02X}>" for i in range(256)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", END, *single_bytes], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    vocabulary = tokenizer.get_vocab()
    merges = [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens(["<s>", END])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return tokenizer, vocabulary[END]


TOKENIZERS = {
    "byte-level": byte_level(trim_offsets=False, bos=False),
    "byte-level, trimmed": byte_level(trim_offsets=True, bos=True),
    "byte fallback": byte_fallback(),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(texts=st.lists(st.text(CHARACTERS, max_size=20), min_size=1, max_size=4))
@example(texts=[HARD, "", " ", "日本", "  lead", "\n \n\n x"])
def test_ids_starts_and_cut_agree_with_what_the_tokenizer_decodes(kind, texts):
    tokenizer, eos = TOKENIZERS[kind]
    ids, starts, bounds, *_ = encode(texts, [()] * len(texts), tokenizer, eos)
    assert len(ids) == len(starts) == bounds[-1]
    for i, text in enumerate(texts):
        own, own_starts = ids[bounds[i] : bounds[i + 1]].tolist(), starts[bounds[i] : bounds[i + 1]]
        tokenizer.encode_special_tokens = True
        alone = tokenizer.encode(text).ids
        assert own == alone + [eos] * (kind != "byte-level, trimmed")
        if text == "":
            continue
        text_tokens = np.flatnonzero(own_starts != SPECIAL)
        assert own_starts[text_tokens[0]] == 0
        assert eos not in [own[k] for k in text_tokens]

        def whole(k, own=own, text=text):
            """Whether the first k tokens are whole characters; a decoder strips the blank put before a text."""
            decoded = tokenizer.decode(own[:k], skip_special_tokens=True)
            return decoded != "" and text.startswith(decoded)

        for length in range(1, len(text_tokens) + 1):
            _, _, begin, end = cut("text", length, starts, bounds)
            expected = [k for k in text_tokens[length:].tolist() if whole(k)]
            if not expected:
                assert begin[i] == end[i] == -1
                continue
            assert (begin[i] - bounds[i], end[i] - bounds[i]) == (expected[0], text_tokens[-1] + 1)
            prefix = tokenizer.decode(own[: expected[0]], skip_special_tokens=True)
            assert text[: starts[begin[i]]] == prefix


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(
    texts=st.lists(st.tuples(st.text(CHARACTERS, max_size=9), st.text(CHARACTERS, max_size=9)), min_size=1, max_size=4)
)
@example(texts=[(HARD, HARD), ("", ""), ("", "x"), ("x", ""), ("Is it good? ", "yes"), ("日", "本"), ("x\n", "\n y")])
def test_the_target_begins_with_the_first_token_that_holds_some_of_it(kind, texts):
    """Tokens one by one, by the tokenizer's own offsets."""
    tokenizer, eos = TOKENIZERS[kind]
    given = [source + target for source, target in texts]
    targets = [(len(source), len(text)) for (source, _), text in zip(texts, given, strict=True)]
    ids, starts, bounds, triples, target_bounds = encode(given, targets, tokenizer, eos)
    assert target_bounds.tolist() == [*range(len(texts) + 1)]
    assert (triples[:, 2] == np.diff(bounds)).all()  # what closes a text is learned with its target
    first = triples[:, 0]
    for i, (source, target) in enumerate(texts):
        encoded, own_starts = tokenizer.encode(source + target), starts[bounds[i] : bounds[i + 1]]
        spans = zip(encoded.offsets, encoded.special_tokens_mask, strict=True)
        holds = [k for k, ((_, end), special) in enumerate(spans) if not special and end > len(source)]
        text = np.flatnonzero(own_starts != SPECIAL)
        assert first[i] == (holds[0] if holds else text[-1] + 1 if len(text) else 0)
        assert first[i] < bounds[i + 1] - bounds[i]
        if target and len(source) in own_starts:  # the tokens part where the target begins
            assert first[i] == np.flatnonzero(own_starts >= len(source))[0]


@pytest.mark.parametrize(("separator", "begins"), [("\n ---------- \n", "yes"), (" ", " yes"), ("\n", "yes")])
def test_what_is_learned_of_a_target_is_all_of_it(separator, begins):
    tokenizer, eos = TOKENIZERS["byte-level"]
    source = "Is it good?" + separator
    text = source + "yes, by now"
    ids, _, _, ((begin, end, closed),), _ = encode([text], [(len(source), len(text))], tokenizer, eos)
    assert tokenizer.decode(ids[begin:end].tolist()) == begins + ", by now"
    assert ids[end:closed].tolist() == [eos] and closed == len(ids)


def test_a_cut_never_falls_inside_a_character():
    tokenizer, eos = TOKENIZERS["byte-level"]
    text = "a🧑日" * 10
    _, starts, bounds, *_ = encode([text], [()], tokenizer, eos)
    assert starts[:9].tolist() == [0, 1, INSIDE, INSIDE, INSIDE, 2, INSIDE, INSIDE, 3]
    begins = [int(cut("text", length, starts, bounds)[2][0]) for length in range(9)]
    assert begins == [0, 1, 5, 5, 5, 5, 8, 8, 8]


def test_a_sample_of_the_cut_length_has_no_suffix():
    tokenizer, eos = TOKENIZERS["byte-level, trimmed"]
    _, starts, bounds, *_ = encode(["one two", "", "one two three four"], [()] * 3, tokenizer, eos)
    tokens = int((starts[: bounds[1]] != SPECIAL).sum())
    _, _, begin, end = cut("text", tokens, starts, bounds)
    assert begin[:2].tolist() == end[:2].tolist() == [-1, -1]
    assert 0 < begin[2] - bounds[2] < end[2] - bounds[2]
