"""What the processes (ranks) of one run share."""

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from memorization.shell.cli import UserError

WAIT = timedelta(days=30)  # for a rank that works alone; a dead one ends the others, by their launcher
WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # of launchers


class Alone:
    """The part of accelerate's PartialState that we use, for one process without a device."""

    process_index, num_processes, is_main_process, device = 0, 1, True, "cpu"

    def wait_for_everyone(self) -> None:
        pass


def ranks(needed: bool) -> Any:
    """The PartialState of this run if a device is needed or there are several ranks, else Alone.

    PartialState takes seconds to import.
    """
    if not needed and all(os.environ.get(name, "1") == "1" for name in WORLD_SIZES):
        return Alone()
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available(), timeout=WAIT)


def is_first_rank() -> bool:
    """Whether this process is alone, or the one of a launcher's that prints."""
    return os.environ.get("RANK", "0") == "0"


def on_first_rank(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on the first rank only; every rank gets its result, or its UserError."""
    if ranks(needed=False).num_processes == 1:
        return function(*arguments)
    from accelerate.utils import broadcast_object_list

    result_and_error: list[Any] = [None, None]
    if is_first_rank():
        try:
            result_and_error[0] = function(*arguments)
        except UserError as error:
            result_and_error[1] = str(error)
    result, message = broadcast_object_list(result_and_error)
    if message:
        raise UserError(message)
    return result


def rank_memory() -> dict[int | str, int] | None:
    """Bytes by device that a model of this rank may fill, accelerate's max_memory: the ranks of a machine share its
    GPUs. None for all, where this is the only one.

    Raises UserError for GPUs that the ranks can't share evenly.
    """
    number, own = (int(os.environ.get(name, default)) for name, default in (("LOCAL_WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    if number == 1:
        return None
    from accelerate.utils import get_max_memory

    memory = get_max_memory()
    gpus = [device for device in memory if isinstance(device, int)]
    if len(gpus) % number:
        raise UserError(
            f"--device-map: {number} processes can't share {len(gpus)} GPUs evenly; start as many as divide them, or "
            "one alone"
        )
    share = {gpu: int(0.9 * memory[gpu]) if gpu % number == own else 0 for gpu in gpus}  # the rest is for the work
    return memory | share


def leave_process_group() -> None:
    """Leave the process group of several ranks at the end of a run: a process that ends in it may be aborted."""
    torch = sys.modules.get("torch")
    if torch and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.destroy_process_group()
