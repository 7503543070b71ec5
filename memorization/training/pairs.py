"""Stage 1's rows as training data of an encoder-decoder model: a source and a target each (stage 2)."""

import numpy as np
import pyarrow.compute as pc
import torch

from memorization.encoding.kinds import OF_ENCODING
from memorization.models.limits import WHOLE, context_length, cut_source
from memorization.shell.cli import UserError
from memorization.store.manifests import read_manifest
from memorization.training import mitigations
from memorization.training.blocks import COLUMNS, IGNORED, arrow, read_rows
from memorization.training.launch import say


class Pairs(torch.utils.data.Dataset):
    """The rows of a tokenized data set as sources and targets of at most so many tokens, read from disk when asked for.

    rows: datasets.Dataset with `input_ids` and `labels`. A source that is cut stays closed; of a longer target what
    comes first is learned, and not that it ends there. learned: which labels get loss, a bool array over all rows'
    labels one after the other; None: all.
    """

    def __init__(self, rows, max_source_length, max_target_length, learned=None):
        self.rows, self._limits, self.learned = rows, (max_source_length, max_target_length), learned
        if learned is not None:
            self._place = np.cumsum([0, *pc.list_value_length(arrow(rows, "labels")).to_numpy()])

    @property
    def lengths(self):
        """Tokens of each source and target together, int64."""
        columns = (pc.list_value_length(arrow(self.rows, name)).to_numpy() for name in COLUMNS)
        return sum(np.minimum(lengths, most) for lengths, most in zip(columns, self._limits, strict=True))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row, (source, target) = self.rows[int(index)], self._limits
        labels = row["labels"][:target]
        if self.learned is not None:
            place = self._place[int(index)]
            labels = np.where(self.learned[place : place + len(labels)], labels, IGNORED).tolist()
        return {"input_ids": cut_source(row["input_ids"], source), "labels": labels}


def read_pairs(paths, model, data):
    """The sets of stage 1 for an encoder-decoder model: dict kind -> list of Pairs, and a dict of their settings.

    paths: dict kind -> directories. data: the flags of run_seq2seq.py. Says how many there are. Raises UserError for
    another source prefix than stage 1's, if there is nothing to learn in a row, or if ids are not of the vocabulary.
    """
    context = context_length(model.config) or WHOLE
    limits = {}
    for name in ("max_source_length", "max_target_length"):
        given = getattr(data, name)
        limits[name] = min(given or WHOLE, context)
        if given and given > context:
            say(f"--{name} {given} is beyond the model's context: taking {context}")
    sets, vocab_size = {}, model.get_input_embeddings().num_embeddings
    for kind, directory in ((kind, directory) for kind, directories in paths.items() for directory in directories):
        encoded = read_manifest(directory, OF_ENCODING[kind]).made_of["source_prefix"]
        if data.source_prefix not in (None, encoded):
            raise UserError(
                f"--source-prefix {data.source_prefix!r}: stage 1 put {encoded!r} before the sources in {directory}; "
                "encode with the one, or leave the flag out"
            )
        rows, _, (_, labels), lengths = read_rows(directory, vocab_size)
        for name, column in zip(("token ids", "labels"), lengths, strict=True):
            if (empty := np.flatnonzero(column == 0)).size:
                raise UserError(f"{directory}: row {empty[0]} has no {name}; run encode_<task>.py again")
        learned, some = None, ""
        if data.goldfish_k and kind == "training set":
            learned = mitigations.learned(labels, lengths[1], goldfish_k=data.goldfish_k)
            some = f"; {learned.sum()} of {len(learned)} tokens of targets get loss"
        sets.setdefault(kind, []).append(Pairs(rows, *limits.values(), learned))
        over = [
            f", {(column > most).sum()} {side} over {most} tokens"
            for side, column, most in zip(("sources", "targets"), lengths, limits.values(), strict=True)
            if most < WHOLE
        ]
        say(f"{directory}: {len(rows)} samples{''.join(over)}{some}")
    return sets, limits | {"goldfish_k": data.goldfish_k}
