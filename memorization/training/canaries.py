"""Which tokens of the canaries a run learns: what a canary's exposure says depends on it."""

import numpy as np

from memorization.shell.cli import UserError
from memorization.training.blocks import IGNORED


def learned(blocks, planted):
    """How many tokens get loss: int64 of shape (canaries, 2), of the whole canary and of its secret's digits.

    blocks: of the training set, as it is trained on. planted: kinds.Planted. Copies of a canary are alike, so its
    first row counts for all.
    """
    copies = np.array(planted["copies"])
    first = len(blocks.rows) - copies.sum() + np.cumsum(copies) - copies
    found = np.zeros((len(copies), 2), np.int64)
    for canary, row in enumerate(first.tolist()):
        labels = np.array(blocks.whole(row)["labels"])
        counts = np.zeros(len(labels), bool)
        for start in blocks.start[blocks.row == row].tolist():
            counts[start + 1 : start + blocks.block_size] = True  # nothing foretells the first token of a block
        counts &= labels != IGNORED
        end = len(labels) - planted["closing"]
        secret = counts[end - planted["digits"] * planted["tokens_a_digit"] : end]
        found[canary] = counts.sum(), secret[planted["tokens_a_digit"] - 1 :: planted["tokens_a_digit"]].sum()
    return found


def described(blocks, planted):
    """A line for the canaries of each number of copies: how many tokens of each get loss.

    Raises UserError if of one it is none of the secret's digits: it could not be memorized, however long the run.
    """
    found, copies = learned(blocks, planted), np.array(planted["copies"])
    if missing := int((found[:, 1] == 0).sum()):
        raise UserError(
            f"{missing} of {len(found)} canaries: no digit of the secret gets loss with --block-size "
            f"{blocks.block_size} and these --long-samples, --loss-on and --goldfish-k, so nothing could be said of "
            "them; raise --block-size, encode with more --canary-digits, or without --canaries"
        )
    lines = []
    for number in np.unique(copies):
        (least, fewest), (most, largest) = found[copies == number].min(0), found[copies == number].max(0)
        lines.append(
            f"canaries of {number} {'copy' if number == 1 else 'copies'}: {(copies == number).sum()}; "
            f"{_range(least, most)} tokens of each get loss, "
            f"of its secret's {planted['digits']} digits {_range(fewest, largest)}"
        )
    return lines


def _range(least, most):
    return str(least) if least == most else f"{least} to {most}"
