"""The probability that two sentences are paraphrases, from a sequence-pair classifier such as one trained on MRPC."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from memorization.models import hub
from memorization.models.limits import context_length
from memorization.models.loading import load_model
from memorization.shell.cli import UserError

# names of labels that mean paraphrase, and that do not; LABEL_0 and LABEL_1 are 0 and 1 of MRPC
YES = {"equivalent", "paraphrase", "paraphrased", "duplicate", "is_duplicate", "label_1", "1", "yes", "true"}
NO = {"label_0", "0", "no", "false", "different", "distinct"}


class ParaphraseClassifier:
    """A pair classifier at a path or hub name. A pair that is longer than it can read is cut. directory: where it is.

    Raises UserError if it cannot be loaded, has no trained head, has no two labels whose names tell which one means
    paraphrase, or if its tokenizer does not fit. Tokens without an embedding are refused when a text has one.
    """

    def __init__(self, name: str, device: Any) -> None:
        try:
            self.tokenizer = hub.load_any_tokenizer(name, "a paraphrase classifier's tokenizer")
            what = "a trained paraphrase classifier"
            self.model = load_model(AutoModelForSequenceClassification, name, what, self._check, device)
        except UserError as error:
            raise UserError(f"{error}; --paraphrase-model none goes without") from None
        self.directory = hub.directory(name)

    def _check(self, model, name):
        self.model, self.name = model.eval(), name
        self.column = _paraphrase_column(model.config, name)
        pad, own_pad = self.tokenizer.pad_token_id, model.config.pad_token_id
        added, self.room = self.tokenizer.get_added_vocab(), model.get_input_embeddings().num_embeddings
        top = max(id for token, id in self.tokenizer.get_vocab().items() if token not in added)
        if top >= self.room or pad is None or pad >= self.room or own_pad not in (None, pad):
            raise UserError(
                f"{name}: its tokenizer has ids to {top} and pads with {pad}, the model to {self.room - 1} and with "
                f"{own_pad}; add the tokenizer that it was trained with, or name another"
            )
        model.config.pad_token_id = pad
        self.longest = min(self.tokenizer.model_max_length, _positions(model))
        self.probabilities([("a", "b"), (" a" * self.longest, "b")])  # what does not fit fails here, not in the middle

    @torch.inference_mode()
    def probabilities(self, pairs: Sequence[tuple[str, str]], batch_size: int = 64) -> dict[tuple[str, str], float]:
        """The probability of each distinct pair, scored once, in batches of similar length.

        Raises UserError if one is not a number, or if a token has no embedding.
        """
        ordered = sorted(set(pairs), key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
        scores: dict[tuple[str, str], float] = {}
        for i in range(0, len(ordered), batch_size):
            batch = ordered[i : i + batch_size]
            limit = {"truncation": True, "max_length": self.longest}
            sides = [a for a, _ in batch], [b for _, b in batch]
            encoded = self.tokenizer(*sides, padding=True, return_tensors="pt", **limit)
            if (most := int(encoded["input_ids"].max())) >= self.room:
                token = self.tokenizer.convert_ids_to_tokens(most)
                raise UserError(f"{self.name}: has no embedding of the token {token!r}; name another classifier")
            logits = self.model(**encoded.to(self.model.device)).logits.float()
            if not logits.isfinite().all():
                raise UserError(f"{self.name}: gives probabilities that are not numbers; name another classifier")
            scores.update(zip(batch, logits.softmax(-1)[:, self.column].tolist(), strict=True))
        return scores


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
