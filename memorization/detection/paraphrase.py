"""The probability that two sentences are paraphrases, from a sequence-pair classifier such as one trained on MRPC."""

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from memorization import hub
from memorization.cli import UserError


class ParaphraseClassifier:
    """A pair classifier at a path or hub name; its class 1 means paraphrase, as MRPC has it."""

    def __init__(self, name, device):
        self.tokenizer = hub.load(AutoTokenizer.from_pretrained, name, "a paraphrase classifier's tokenizer")
        model = hub.load(AutoModelForSequenceClassification.from_pretrained, name, "a paraphrase classifier")
        if model.config.num_labels != 2:
            raise UserError(f"{name}: has {model.config.num_labels} classes, not 2; name a paraphrase classifier")
        self.model = model.eval().to(device)

    @torch.inference_mode()
    def probabilities(self, pairs, batch_size=64):
        """dict (sentence, sentence) -> probability. Each distinct pair is scored once, in batches of similar length."""
        ordered = sorted(set(pairs), key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
        scores = {}
        for i in range(0, len(ordered), batch_size):
            batch = ordered[i : i + batch_size]
            encoded = self.tokenizer(
                [a for a, _ in batch], [b for _, b in batch], truncation=True, padding=True, return_tensors="pt"
            )
            logits = self.model(**encoded.to(self.model.device)).logits.float()
            scores.update(zip(batch, logits.softmax(-1)[:, 1].tolist(), strict=True))
        return scores


def directory(name):
    """The directory of a classifier at a path or hub name, fetched if need be. Raises UserError if there is none."""
    if not Path(name).is_dir():
        ParaphraseClassifier(name, "cpu")
    return hub.directory(name)
