"""Stage 1's rows as training data of an encoder-decoder model: a source and a target each."""

from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from memorization.encoding.kinds import OF_ENCODING
from memorization.models.limits import WHOLE, context_length, cut_source
from memorization.shell.cli import UserError
from memorization.store.manifests import read_manifest
from memorization.training.distributed import print_once
from memorization.training.mitigations import loss_mask
from memorization.training.settings import SourceTargetSettings
from memorization.training.token_blocks import (
    COLUMNS,
    IGNORED,
    arrow_column,
    read_token_rows,
    vocabulary_size,
)


class SourcesAndTargets(torch.utils.data.Dataset):
    """The rows of a tokenized data set as sources and targets of limited length, read from disk when needed.

    A source that is cut keeps its closing token; of a longer target the first tokens are learned, but not that it ends
    there.
    """

    def __init__(
        self, rows: Dataset, max_source_length: int, max_target_length: int, learned: np.ndarray | None = None
    ) -> None:
        """rows: with `input_ids` and `labels`. learned: which labels of all rows get loss, bool (default: all)."""
        self.rows, self._limits, self.learned = rows, (max_source_length, max_target_length), learned
        if learned is not None:
            self._place = np.cumsum([0, *pc.list_value_length(arrow_column(rows, "labels")).to_numpy()])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each source and target together, int64."""
        source, target = (pc.list_value_length(arrow_column(self.rows, name)).to_numpy() for name in COLUMNS)
        return np.minimum(source, self._limits[0]) + np.minimum(target, self._limits[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        row, (source, target) = self.rows[int(index)], self._limits
        labels = row["labels"][:target]
        if self.learned is not None:
            place = self._place[int(index)]
            labels = np.where(self.learned[place : place + len(labels)], labels, IGNORED).tolist()
        return {"input_ids": cut_source(row["input_ids"], source), "labels": labels}


def read_sources_and_targets(
    paths: dict[str, list[str]], model: PreTrainedModel, settings: SourceTargetSettings
) -> tuple[dict[str, list[SourcesAndTargets]], dict[str, Any]]:
    """The SourcesAndTargets of stage 1's sets by kind of set, and the settings that determine them.

    paths: directories by kind of set. Prints how many there are. Raises UserError for another source prefix than stage
    1's, if there is nothing to learn in a row, or if ids are outside the vocabulary.
    """
    context = context_length(model.config) or WHOLE
    limits: dict[str, int] = {}
    for name in ("max_source_length", "max_target_length"):
        limit = getattr(settings, name)
        limits[name] = min(limit or WHOLE, context)
        if limit and limit > context:
            print_once(f"--{name} {limit} is beyond the model's context: taking {context}")
    sets: dict[str, list[SourcesAndTargets]] = {}
    vocab_size = vocabulary_size(model)
    for kind, directory in ((kind, directory) for kind, directories in paths.items() for directory in directories):
        prefix = read_manifest(directory, OF_ENCODING[kind]).made_of["source_prefix"]
        if settings.source_prefix not in (None, prefix):
            raise UserError(
                f"--source-prefix {settings.source_prefix!r}: stage 1 put {prefix!r} before the sources in "
                f"{directory}; encode with the one, or leave the flag out"
            )
        rows, _, _, labels, lengths = read_token_rows(directory, vocab_size)
        for name, column in zip(("token ids", "labels"), lengths, strict=True):
            if (empty := np.flatnonzero(column == 0)).size:
                raise UserError(f"{directory}: row {empty[0]} has no {name}; run encode_<task>.py again")
        learned, with_loss = None, ""
        if settings.goldfish_k and kind == "training set":
            learned = loss_mask(labels, lengths[1], goldfish_k=settings.goldfish_k)
            with_loss = f"; {learned.sum()} of {len(learned)} tokens of targets get loss"
        sets.setdefault(kind, []).append(SourcesAndTargets(rows, learned=learned, **limits))
        longer = [
            f", {(column > most).sum()} {side} over {most} tokens"
            for side, column, most in zip(("sources", "targets"), lengths, limits.values(), strict=True)
            if most < WHOLE
        ]
        print_once(f"{directory}: {len(rows)} samples{''.join(longer)}{with_loss}")
    return sets, limits | {"goldfish_k": settings.goldfish_k}
