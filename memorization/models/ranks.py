"""What the processes (ranks) of one run share."""

import os

WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # of launchers


class Alone:
    """The state of a run that is one process without a device, as accelerate's PartialState tells it."""

    process_index, num_processes, is_main_process, device = 0, 1, True, "cpu"

    def wait_for_everyone(self):
        pass


def ranks(needed):
    """The PartialState of this run, which takes seconds to import, if a device is needed or it has several ranks."""
    if not needed and all(os.environ.get(name, "1") == "1" for name in WORLD_SIZES):
        return Alone()
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available())
