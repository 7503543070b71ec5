"""The paraphrase classifier: its probabilities are those of the model; one that can't be right is refused."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaForMaskedLM,
    RobertaModel,
)

from memorization.detection.paraphrase import ParaphraseClassifier
from memorization.models.hub import load_tokenizer
from memorization.shell.cli import UserError
from memorization.store.files import read_json, write_json
from support.command_line import ROOT
from support.tiny_models import edited, save_language_model, save_paraphrase_classifier, save_word_tokenizer, weights

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
PAIRS = [("one two", "three"), ("a", "b " * 20), ("x " * 5000, "y")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save_paraphrase_classifier(tmp_path_factory.mktemp("classifiers") / "whole", TOKENIZER)


def scores(path, batch_size=64):
    return ParaphraseClassifier(path, "cpu").probabilities(PAIRS, batch_size)


def named(zero, one, label2id=None):
    return {"id2label": {0: zero, 1: one}, "label2id": label2id or {zero: 0, one: 1}}


def test_the_probabilities_are_those_of_the_forward_pass_whatever_the_batch(whole):
    tokenizer, model = AutoTokenizer.from_pretrained(whole), AutoModelForSequenceClassification.from_pretrained(whole)
    for batch_size in (1, 2, 64):
        probabilities = scores(whole, batch_size)
        for pair in PAIRS:
            encoded = tokenizer(*pair, truncation=True, max_length=128, return_tensors="pt")
            assert probabilities[pair] == pytest.approx(
                model.eval()(**encoded).logits.softmax(-1)[0, 1].item(), abs=1e-5
            )


@pytest.mark.parametrize(
    ("labels", "swapped"),
    [
        (("LABEL_0", "LABEL_1"), False), (("LABEL_1", "LABEL_0"), True),
        (("not_equivalent", "equivalent"), False), (("equivalent", "not_equivalent"), True),
        (("Not Paraphrase", "Paraphrase"), False), (("duplicate", "non-duplicate"), True), (("0", "1"), False),
    ],
)  # fmt: skip
def test_the_labels_say_which_means_paraphrase(whole, tmp_path, labels, swapped):
    edited(whole, tmp_path / "named", named(*labels))
    for pair, score in scores(tmp_path / "named").items():
        own = scores(whole)[pair]
        assert score == pytest.approx(1 - own if swapped else own, abs=1e-6) and abs(own - 0.5) > 1e-4


def test_a_pair_longer_than_the_positions_is_cut_to_them(whole, tmp_path):
    """The tokenizer sets no bound of its own."""
    change = tokenizer_config("model_max_length", 10**30)
    assert scores(edited(whole, tmp_path / "boundless", change)) == pytest.approx(scores(whole), abs=1e-3)
    assert ParaphraseClassifier(tmp_path / "boundless", "cpu").longest == 129  # of 130, position 0 is the padding's


def test_a_configuration_that_names_no_padding_takes_the_tokenizers(tmp_path):
    """GPT-2 classifies by the last token that is no padding."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    GPT2ForSequenceClassification(GPT2Config(**sizes)).save_pretrained(tmp_path)
    save_word_tokenizer(tmp_path, 64)
    classifier, pairs = ParaphraseClassifier(tmp_path, "cpu"), [("w1", "w2"), ("w3 w4 w5", "w6 w7")]
    assert classifier.probabilities(pairs) == pytest.approx(classifier.probabilities(pairs, batch_size=1), abs=1e-6)


def tokenizer_config(name, value):
    def edit(path):
        write_json(path / "tokenizer_config.json", read_json(path / "tokenizer_config.json") | {name: value})

    return edit


def tokenizer(save):
    """An edit of a directory: another tokenizer."""

    def edit(path):
        for file in path.glob("tokenizer*"):
            file.unlink()
        save(path)

    return edit


def without_padding(path):
    load_tokenizer(TOKENIZER).save_pretrained(path)
    write_json(path / "config.json", read_json(path / "config.json") | {"pad_token_id": None})


def as_class(model):
    """An edit of a directory: a model of another class with the same configuration."""
    return lambda path: model(AutoConfig.from_pretrained(path)).save_pretrained(path)


def other_classes(number):
    def edit(path):
        config = AutoConfig.from_pretrained(path, num_labels=number)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(path)

    return edit


def headless(tensors):
    for name in [name for name in tensors if name.startswith("classifier")]:
        del tensors[name]


def overflowing(tensors):
    tensors["classifier.dense.bias"].fill_(100)  # each feature of the head is 1
    tensors["classifier.out_proj.weight"].fill_(3e38)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (weights(headless), r"lacks weights \(classifier.*not a trained paraphrase classifier"),
        (as_class(RobertaModel), r"lacks weights \(classifier"),
        (as_class(RobertaForMaskedLM), r"lacks weights \(classifier"),
        (other_classes(3), r"its labels \(LABEL_0, LABEL_1, LABEL_2\) do not say"),
        (other_classes(1), r"its labels \(LABEL_0\) do not say"),
        (named("equivalent", "paraphrase"), r"its labels \(equivalent, paraphrase\) do not say"),
        (named("POSITIVE", "NEGATIVE"), "do not say which of two means paraphrase; .* call them not_equivalent and"),
        (named("different", "same"), "do not say"),
        (named("not_equivalent", "equivalent", {"not_equivalent": 1, "equivalent": 0}), "do not say"),
        ({"id2label": 3}, "could not be loaded"),
        (tokenizer(lambda path: None), "has no tokenizer"),
        (tokenizer(lambda path: load_tokenizer(TOKENIZER).save_pretrained(path)), "ids to 2047 and pads with None"),
        (tokenizer(without_padding), "pads with None, the model to 2047 and with None"),
        (tokenizer(lambda path: save_word_tokenizer(path, 2049)), "ids to 2048 and pads with 0, the model to 2047"),
        (tokenizer(lambda path: save_word_tokenizer(path, 64, eos="w5")), "pads with 5, the model .* with 0"),
        (weights(lambda tensors: tensors["classifier.out_proj.bias"].fill_(float("nan"))), "NaN or infinite"),
        (weights(overflowing), "probabilities that are not numbers"),
        ({"type_vocab_size": 1}, "other shapes"),
    ],
)
def test_a_classifier_that_cannot_be_right_is_refused(whole, tmp_path, change, message):
    torch.manual_seed(0)
    edited(whole, tmp_path / "classifier", change)
    refused(tmp_path / "classifier", message)


def refused(path, message):
    with pytest.raises(UserError, match=message) as error:
        ParaphraseClassifier(path, "cpu")
    line = str(error.value)
    assert line.startswith(str(path)) and line.endswith("; --paraphrase-model none goes without")


def test_an_added_token_without_an_embedding_is_refused_only_where_a_text_has_it(whole, tmp_path):
    def with_token(path):
        tokenizer = AutoTokenizer.from_pretrained(path)
        tokenizer.add_tokens([f"<unused{i}>" for i in range(2049 - len(tokenizer))])
        tokenizer.save_pretrained(path)

    edited(whole, tmp_path / "classifier", with_token)
    classifier = ParaphraseClassifier(tmp_path / "classifier", "cpu")
    assert classifier.probabilities(PAIRS) == ParaphraseClassifier(whole, "cpu").probabilities(PAIRS)
    added = max(classifier.tokenizer.get_vocab(), key=classifier.tokenizer.get_vocab().get)
    with pytest.raises(UserError, match="classifier: has no embedding of the token '<unused"):
        classifier.probabilities([("w1", f"w2 {added}")])


def test_a_language_model_is_no_classifier(tmp_path):
    save_language_model(tmp_path / "model", TOKENIZER)
    refused(tmp_path / "model", r"lacks weights \(score.weight\)")


def test_a_classifier_that_is_not_there_says_how_to_go_without():
    for name in ("./nowhere", "textattack/roberta-base-MRPC"):
        refused(name, "no such directory|not in the local cache")


def test_scores_that_are_not_numbers_are_told(whole):
    classifier = ParaphraseClassifier(whole, "cpu")
    classifier.model.classifier.out_proj.bias.data[0] = float("nan")
    with pytest.raises(UserError, match="whole: gives probabilities that are not numbers"):
        classifier.probabilities(PAIRS)
