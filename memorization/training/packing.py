"""Packing: several samples in one row of a batch, none of which sees another (Krell et al. 2021).

A pack is a list of blocks, together no longer than the block size. Positions restart at 0 with every block, and there
is neither attention mask nor cache: from that the models of transformers tell the samples apart (masking_utils,
find_packed_sequence_indices). Whether a model does is checked before the first step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import TrainerCallback, TrainingArguments

from memorization.shell.cli import UserError
from memorization.training.losses import token_losses
from memorization.training.token_blocks import COLUMNS, IGNORED, Blocks, collate

TOLERANCE = {True: 0.01, False: 0.1}  # in 32 bits, in half -> the share of a joined text's difference that is rounding
ROUNDING = 1e-5  # nats a token
Pack = list[dict[str, list[int]]]


class Packs(torch.utils.data.Dataset):
    """Blocks in packs of at most `blocks.block_size` tokens; which share one is drawn by the seed, once for all epochs.

    Each block goes where it leaves the least room (best fit), in shuffled order: in order of length, copies of a text
    would meet in one pack, and so in one step.
    """

    def __init__(self, blocks: Blocks, seed: int) -> None:
        self.blocks = blocks
        order = np.random.default_rng(seed).permutation(len(blocks))
        lengths = blocks.lengths[order]
        packs = best_fit(lengths.tolist(), blocks.block_size)
        self.members = np.split(order[np.argsort(packs, kind="stable")], np.cumsum(np.bincount(packs))[:-1])
        self.full = lengths.sum() / (len(self.members) * blocks.block_size)  # the share of tokens that are no padding

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> Pack:
        return [self.blocks[int(block)] for block in self.members[index]]


def best_fit(lengths: Sequence[int], size: int) -> np.ndarray:
    """The number of the pack of `size` that each of the lengths (none larger) goes to: the fullest that has room."""
    numbers: list[int] = []
    packs_by_space: list[list[int]] = [[] for _ in range(size + 1)]
    spaces = 0  # bit s: packs_by_space[s] has a pack
    count = 0
    for length in lengths:
        if fitting := spaces >> length:
            space = length + (fitting & -fitting).bit_length() - 1
            pack = packs_by_space[space].pop()
            if not packs_by_space[space]:
                spaces ^= 1 << space
        else:
            pack, space, count = count, size, count + 1
        numbers.append(pack)
        packs_by_space[space - length].append(pack)
        spaces |= 1 << (space - length)
    return np.array(numbers)


def collate_packs(packs: Sequence[Any], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Packs as tensors of shape (batch, longest pack); blocks, as they are evaluated, as token_blocks.collate does.

    The first token of a block has no label: it would be predicted from the block before. Each token of padding on the
    right is a sample of its own, without a label.
    """
    if isinstance(packs[0], dict):
        return collate(packs, pad_token_id)
    rows = [[torch.tensor([block[name] for name in COLUMNS]) for block in pack] for pack in packs]
    for block in (block for row in rows for block in row):
        block[1, 0] = IGNORED
    ids, labels = map(list, zip(*(torch.cat(row, 1) for row in rows), strict=True))
    positions = [torch.cat([torch.arange(block.shape[1]) for block in row]) for row in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad_token_id),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        "position_ids": pad_sequence(positions, batch_first=True),
    }


class PackingCheck(TrainerCallback):
    """Raises UserError before the first step if a model's losses of packed samples are not those of each alone.

    Checks the last samples of the pack with the most, as many as there are packs in a batch. Half-precision numbers
    differ a little between batches of other shapes. The tolerance is a share of how much the losses differ in the
    joined text, which is what a model computes that ignores restarting positions.
    """

    def __init__(self, packs: list[Packs], pad_token_id: int) -> None:
        self._packs, self._pad = packs, pad_token_id

    @torch.no_grad()
    def on_train_begin(self, args: TrainingArguments, *_: Any, **options: Any) -> None:
        model = options["model"]
        sizes = [np.array([*map(len, packs.members)]) for packs in self._packs]
        largest = int(np.argmax([*map(np.max, sizes)]))
        pack = self._packs[largest][int(sizes[largest].argmax())]
        if len(pack) == 1:
            return
        last = pack[-args.per_device_train_batch_size :]
        training = model.training
        model.eval()

        def losses(batch):
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            labels = batch.pop("labels")
            return token_losses(model(**batch, use_cache=False).logits, labels)[labels[:, 1:] != IGNORED]

        packed = collate_packs([pack], self._pad)
        joined = {name: tensor for name, tensor in packed.items() if name != "position_ids"}
        alone = losses(collate(last, self._pad))
        difference, of_joined = (
            (losses(batch)[-len(alone) :] - alone).abs().mean().item() for batch in (packed, joined)
        )
        model.train(training)
        if not difference <= max(TOLERANCE[args.mixed_precision == "no"] * of_joined, ROUNDING):
            raise UserError(
                f"--packing: in a pack this {model.config.model_type} model's losses differ from those of each sample "
                f"alone, by {difference:.2g} nats a token, so it reads the samples before, or their positions; leave "
                "it out"
            )
