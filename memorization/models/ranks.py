"""What the processes (ranks) of one run share."""

import os
import sys
from typing import Any

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

    return PartialState(cpu=not torch.accelerator.is_available())


def leave_process_group() -> None:
    """Leave the process group of several ranks at the end of a run: a process that ends in it may be aborted."""
    torch = sys.modules.get("torch")
    if torch and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.destroy_process_group()
