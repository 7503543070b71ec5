"""How much of the work is done at a time: less, once the memory has run out."""

import psutil
import torch
from accelerate.utils.memory import should_reduce_batch_size
from tqdm import tqdm

from memorization.shell.cli import UserError


def free_memory(device):
    """Bytes that are free on a device, or where it has no memory of its own, on the machine."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


class Room:
    """size: how many texts are worked on at a time."""

    def __init__(self, size):
        self.size = size

    def halve(self, tried):
        """Make do with half as many as were tried, and say so. Raises UserError where that can't be."""
        torch.cuda.empty_cache()
        if tried == 1:
            raise no_room()
        self.size = tried // 2
        tqdm.write(f"out of memory: from now on at most {self.size} texts at a time")


def no_room():
    """The UserError for a device that does not hold one text."""
    return UserError("out of memory with a single text; use a device with more, or lower --max-new-tokens")


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
        part = items[len(results) : len(results) + room.size]
        failed, found = ran_out(work, part)
        if failed:
            room.halve(len(part))
        else:
            results += found
    return results
