"""How much of the work is done at a time: less, once the memory has run out."""

import torch
from accelerate.utils.memory import should_reduce_batch_size
from tqdm import tqdm

from memorization.cli import UserError


class Room:
    """size: how many texts are worked on at a time."""

    def __init__(self, size):
        self.size = size

    def halve(self):
        """Make do with half, and say so. Raises UserError where that can't be."""
        torch.cuda.empty_cache()
        if self.size == 1:
            raise UserError("out of memory with a single text; use a device with more, or lower --max-new-tokens")
        self.size //= 2
        tqdm.write(f"out of memory: from now on at most {self.size} texts at a time")


def ran_out(work, *arguments):
    """(Whether the memory ran out in work(*arguments), what that returned)."""
    try:
        return False, work(*arguments)
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)):
            raise
    return True, None  # behind the handler: what the error holds on to is free


def in_parts(work, items, room):
    """What work(part) returns, a list of as many, for all items, in parts of as many as there is room for."""
    results = []
    while len(results) < len(items):
        failed, found = ran_out(work, items[len(results) : len(results) + room.size])
        if failed:
            room.halve()
        else:
            results += found
    return results
