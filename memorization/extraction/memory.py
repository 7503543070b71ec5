"""How much work is done at a time: less, once the memory has run out."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from tqdm import tqdm

from memorization.shell.cli import UserError


class Room:
    """size: how many texts are worked on at a time."""

    def __init__(self, size: int) -> None:
        self.size = size

    def halve(self, tried: int) -> None:
        """Make do with half as many as were tried, and print that. Raises UserError where one was tried."""
        torch.cuda.empty_cache()
        if tried == 1:
            raise no_room()
        self.size = tried // 2
        tqdm.write(f"out of memory: from now on at most {self.size} texts at a time")


def no_room() -> UserError:
    """The UserError for a device that does not hold one text."""
    return UserError("out of memory with a single text; use a device with more, or lower --max-new-tokens")


def ran_out(work: Callable, *arguments: Any) -> tuple[bool, Any]:
    """(whether the memory ran out in work(*arguments), what that returned)."""
    try:
        return False, work(*arguments)
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)):
            raise
    return True, None  # behind the handler: what the error holds on to is free


def in_parts(work: Callable[[Sequence], list], items: Sequence, room: Room) -> list:
    """What work(part) returns, a list of as many, for all items, in parts of as many as there is room for."""
    results: list = []
    while len(results) < len(items):
        part = items[len(results) : len(results) + room.size]
        failed, of_part = ran_out(work, part)
        if failed:
            room.halve(len(part))
        else:
            results += of_part
    return results
