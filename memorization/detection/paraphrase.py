"""The probability that two sentences are paraphrases, from a sequence-pair classifier such as one trained on MRPC."""

import re

import torch
from transformers import AutoModelForSequenceClassification

from memorization.models import hub
from memorization.models.limits import context_length
from memorization.models.loading import load_model
from memorization.shell.cli import UserError

# what a label is called that means paraphrase; LABEL_0 and LABEL_1 are 0 and 1 of MRPC
YES = {"equivalent", "paraphrase", "paraphrased", "duplicate", "is_duplicate", "label_1", "1", "yes", "true"}
NO = {"label_0", "0", "no", "false", "different", "distinct"}


class ParaphraseClassifier:
    """A pair classifier at a path or hub name. A pair that is longer than it reads is cut.

    Raises UserError if it cannot be loaded, has no trained head or no two labels that say which means paraphrase, or
    if its tokenizer does not fit.
    """

    def __init__(self, name, device):
        try:
            self.tokenizer = hub.load_any_tokenizer(name, "a paraphrase classifier's tokenizer")
            what = "a trained paraphrase classifier"
            self.model = load_model(AutoModelForSequenceClassification, name, what, self._check).to(device)
        except UserError as error:
            raise UserError(f"{error}; --paraphrase-model none goes without") from None

    def _check(self, model, name):
        self.model, self.name = model.eval(), name
        self.column = _paraphrase_column(model.config, name)
        pad, own_pad = self.tokenizer.pad_token_id, model.config.pad_token_id
        top, room = max(self.tokenizer.get_vocab().values()), model.get_input_embeddings().num_embeddings
        if top >= room or pad is None or own_pad not in (None, pad):
            raise UserError(
                f"{name}: its tokenizer has ids to {top} and pads with {pad}, the model to {room - 1} and with "
                f"{own_pad}; add the tokenizer that it was trained with, or name another"
            )
        model.config.pad_token_id = pad
        self.longest = min(self.tokenizer.model_max_length, _positions(model))
        self.probabilities([("a", "b"), (" a" * self.longest, "b")])  # what does not fit fails here, not in the middle

    @torch.inference_mode()
    def probabilities(self, pairs, batch_size=64):
        """dict (sentence, sentence) -> probability. Each distinct pair is scored once, in batches of similar length.

        Raises UserError if one is not a number.
        """
        ordered = sorted(set(pairs), key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
        scores = {}
        for i in range(0, len(ordered), batch_size):
            batch = ordered[i : i + batch_size]
            limit = {"truncation": True, "max_length": self.longest}
            sides = [a for a, _ in batch], [b for _, b in batch]
            encoded = self.tokenizer(*sides, padding=True, return_tensors="pt", **limit)
            logits = self.model(**encoded.to(self.model.device)).logits.float()
            if not logits.isfinite().all():
                raise UserError(f"{self.name}: gives probabilities that are not numbers; name another classifier")
            scores.update(zip(batch, logits.softmax(-1)[:, self.column].tolist(), strict=True))
        return scores


def directory(name):
    """The directory of a classifier at a path or hub name, fetched if need be. Raises UserError as it does itself."""
    ParaphraseClassifier(name, "cpu")  # before anything is written
    return hub.directory(name)


def _paraphrase_column(config, name):
    """Which of two labels means paraphrase, by their names."""
    labels = [str(config.id2label.get(index)) for index in range(config.num_labels)]
    meanings = [_means_paraphrase(re.sub("[^a-z0-9]+", "_", label.lower())) for label in labels]
    moved = any((config.label2id or {}).get(label, index) != index for index, label in enumerate(labels))
    if sorted(meanings, key=str) != [False, True] or moved:
        raise UserError(
            f"{name}: its labels ({', '.join(labels)}) do not say which of two means paraphrase; name a paraphrase "
            "classifier, or call them not_equivalent and equivalent in its config.json (id2label and label2id)"
        )
    return meanings.index(True)


def _means_paraphrase(label):
    if label in YES:
        return True
    return False if label in NO or re.sub("^(non|not|no|un)_?", "", label) in YES else None


def _positions(model):
    """How many tokens a model reads; 512 where it sets no bound. RoBERTa's kin count from the one after the padding."""
    tables = [part for name, part in model.named_modules() if name.endswith("position_embeddings")]
    padding = [table.padding_idx for table in tables if getattr(table, "padding_idx", None) is not None]
    bound = context_length(model.config)
    return bound - max(padding, default=-1) - 1 if bound else 512
