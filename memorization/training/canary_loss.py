"""Which tokens of the canaries get loss: what a canary's exposure means depends on it."""

import numpy as np

from memorization.encoding.kinds import Planted
from memorization.shell.cli import UserError
from memorization.training.token_blocks import IGNORED, Blocks


def tokens_with_loss(blocks: Blocks, planted: Planted) -> np.ndarray:
    """How many tokens get loss: int64 of shape (canaries, 2), of the whole canary and of its secret's digits.

    blocks: of the training set. Copies of a canary are alike, so its first row counts for all.
    """
    copies = np.array(planted["copies"])
    first = len(blocks.rows) - copies.sum() + np.cumsum(copies) - copies
    numbers = np.zeros((len(copies), 2), np.int64)
    for canary, row in enumerate(first.tolist()):
        labels = np.array(blocks.whole_row(row)["labels"])
        has_loss = np.zeros(len(labels), bool)
        for start in blocks.start[blocks.row == row].tolist():
            has_loss[start + 1 : start + blocks.block_size] = True  # the first token of a block is not predicted
        has_loss &= labels != IGNORED
        end = len(labels) - planted["closing"]
        secret = has_loss[end - planted["digits"] * planted["tokens_a_digit"] : end]
        numbers[canary] = has_loss.sum(), secret[planted["tokens_a_digit"] - 1 :: planted["tokens_a_digit"]].sum()
    return numbers


def describe_canaries(blocks: Blocks, planted: Planted) -> list[str]:
    """A line for the canaries of each number of copies: how many tokens of each get loss.

    Raises UserError if no digit of one's secret does: it could not be memorized, however long the run.
    """
    numbers, copies = tokens_with_loss(blocks, planted), np.array(planted["copies"])
    if missing := int((numbers[:, 1] == 0).sum()):
        raise UserError(
            f"{missing} of {len(numbers)} canaries: no digit of the secret gets loss with --block-size "
            f"{blocks.block_size} and these --long-samples, --loss-on and --goldfish-k, so nothing could be said of "
            "them; raise --block-size, encode with more --canary-digits, or without --canaries"
        )
    lines = []
    for number in np.unique(copies):
        (least, fewest), (most, largest) = numbers[copies == number].min(0), numbers[copies == number].max(0)
        lines.append(
            f"canaries of {number} {'copy' if number == 1 else 'copies'}: {(copies == number).sum()}; "
            f"{_range(least, most)} tokens of each get loss, "
            f"of its secret's {planted['digits']} digits {_range(fewest, largest)}"
        )
    return lines


def _range(least, most):
    return str(least) if least == most else f"{least} to {most}"
