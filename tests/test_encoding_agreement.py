"""Tokenizers are compared by the tokens that they make of stage 1's texts: neither by names nor by unused ids."""

import pytest
from datasets import Dataset

from memorization.encoding.kinds import OF_ENCODING, PROBES
from memorization.encoding.made_up import make_translations
from memorization.encoding.tasks import SEPARATOR
from memorization.encoding.tokenizer_check import tokenizer_agrees
from memorization.models.hub import load_tokenizer
from memorization.store import locations, manifests
from support.command_line import ROOT, run_script
from support.tiny_models import save_t5

SETS = "training set", "held-out set"


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """dict kind of model -> (the paths of an encoding, its tokenizer)."""
    home = tmp_path_factory.mktemp("encoded")
    texts = [text for row in make_translations()[:40] for text in row.values()]
    save_t5(home / "t5", [*texts, "Translate from German to English."])
    canaries = "--canaries", 4, "--canary-copies", 1, "--canary-digits", 2
    assert run_script("encode_dialogue.py", "--max-samples", 40, "--output-dir", home / "causal", *canaries) == 0
    pairs = "--encoder-decoder", "--tokenizer", home / "t5", "--source-prefix", "translate: ", "--min-suffix-length", 2
    small = "--max-samples", 40, "--prefix-length", 5, "--shared-prompts", "--output-dir", home / "pairs"
    assert run_script("encode_translation.py", *small, *pairs) == 0
    tokenizers = {"causal": ("dialogue", ROOT / "configs" / "gpt-neo-small"), "pairs": ("translation", home / "t5")}
    return {
        kind: (locations.encoding_paths(home / kind, name), tokenizer) for kind, (name, tokenizer) in tokenizers.items()
    }


def agreeing(encoded, change):
    """Of each kind of model and each set, whether the encoding's own tokenizer agrees once it is changed."""
    answers = {}
    for kind, (paths, name) in encoded.items():
        tokenizer = load_tokenizer(name)
        change(tokenizer, paths["training set"])
        answers |= {
            (kind, of): tokenizer_agrees(
                tokenizer, [paths[of]], manifests.read_manifest(paths[of], OF_ENCODING[of]).made_of | {"tokenizer": ""}
            )
            for of in SETS
        }
    return answers


def text(path):
    return Dataset.load_from_disk(str(path))["text"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda tokenizer, path: None,
        lambda tokenizer, path: tokenizer.add_special_tokens({"pad_token": "[PAD]"}),
        lambda tokenizer, path: tokenizer.add_tokens(["hippocampus"]),
        lambda tokenizer, path: tokenizer.backend_tokenizer.enable_truncation(3),  # is no business of stage 1's either
    ],
)
def test_ids_that_no_text_has_make_no_difference(encoded, change):
    assert set(agreeing(encoded, change).values()) == {True}


def another_end(tokenizer, path):
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(7)
    if "translation" in path.name:  # T5's rules close a text with the token they know
        tokenizer.backend_tokenizer.post_processor = None


@pytest.mark.parametrize("change", [another_end, lambda tokenizer, path: tokenizer.add_tokens([text(path)[-9:]])])
def test_another_end_of_text_or_other_tokens_of_one_text_make_one(encoded, change):
    answers = agreeing(encoded, change)
    assert not any(answers[kind, "training set"] for kind in encoded)
    if change is another_end:
        assert not any(answers.values())


def test_the_fingerprint_that_stage_1_noted_suffices(encoded):
    paths, name = encoded["causal"]
    tokenizer = load_tokenizer(name)
    made_of = manifests.read_manifest(paths["probes"], PROBES).made_of
    assert tokenizer_agrees(tokenizer, "nowhere", made_of)


def test_a_separator_within_a_source_or_a_target_is_none(encoded, tmp_path):
    """Sets for encoder-decoder models do not say where a text is parted."""
    tokenizer, eos = load_tokenizer(encoded["pairs"][1]), load_tokenizer(encoded["pairs"][1]).eos_token_id
    source, target = f"one{SEPARATOR}two", f"three{SEPARATOR}four"
    made_of = {"tokenizer": "", "encoder_decoder": True, "separator": SEPARATOR, "source_prefix": ""}

    def stored(source, target):
        ids = [tokenizer.backend_tokenizer.encode(part).ids for part in (source, target)]
        assert all(part[-1] == eos for part in ids)
        rows = {"text": [source + SEPARATOR + target], "input_ids": ids[:1], "labels": ids[1:]}
        Dataset.from_dict(rows).save_to_disk(str(tmp_path / "set"))
        return tokenizer_agrees(tokenizer, [tmp_path / "set"], made_of)

    assert stored(source, target)
    Dataset.from_dict({"text": ["a b"], "input_ids": [[1]], "labels": [[1]]}).save_to_disk(str(tmp_path / "none"))
    assert not tokenizer_agrees(tokenizer, [tmp_path / "none"], made_of)
