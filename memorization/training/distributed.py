"""Stage 2 as one process or as many ranks: what the first rank prints and decides, and how DeepSpeed starts."""

import importlib.util
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from accelerate.state import AcceleratorState

from memorization.models.ranks import is_first_rank, leave_process_group
from memorization.shell.cli import UserError
from memorization.training.progress import quiet_libraries

GATHERED = "stage3_gather_16bit_weights_on_model_save"


def print_once(text: str) -> None:
    """Print on the first rank."""
    if is_first_rank():
        print(text, flush=True)


def quietly(main: Callable[[], None]) -> None:
    """Call main() without what libraries print, and leave the ranks in order."""
    with quiet_libraries(sys.argv):
        main()
    leave_process_group()


def prepare_deepspeed(on_cpu: bool) -> None:
    """Let DeepSpeed start from plain python, from an environment that is not activated, and without a compiler.

    Raises UserError if it is not installed.
    """
    if importlib.util.find_spec("deepspeed") is None:
        raise UserError("--deepspeed: DeepSpeed is not installed; pip install deepspeed, or leave the flag out")
    # the ninja it compiles with lies beside the interpreter
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if "RANK" not in os.environ:  # no launcher: a world of one
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        world = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update(world)
    import deepspeed.ops
    from deepspeed.ops.op_builder.builder import OpBuilder
    from torch.utils.cpp_extension import _get_build_directory

    load = OpBuilder.jit_load

    def load_with_notice(self, verbose=True):
        if not any(Path(_get_build_directory(self.name, False)).glob("*.so")):
            print_once(f"compiling {self.name} for DeepSpeed, which takes about a minute, once")
        return load(self, verbose=False)

    OpBuilder.jit_load = load_with_notice
    if on_cpu:
        # compiling this takes a minute, and gloo works without it
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def join_deepspeed() -> None:
    """Let DeepSpeed know the ranks before a model is loaded: ZeRO-3 splits it among them. On CPUs nothing else does."""
    import deepspeed

    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)


def check_saves_whole(state: AcceleratorState) -> None:
    """Raise UserError if each rank would save only its own part of the model."""
    deepspeed, fsdp = (getattr(state, f"{name}_plugin", None) for name in ("deepspeed", "fsdp"))
    config = deepspeed and deepspeed.hf_ds_config
    if config and config.is_zero3() and not config.is_true(f"zero_optimization.{GATHERED}"):
        raise UserError(
            f"ZeRO-3 would save no whole model; set {GATHERED} to true under zero_optimization in "
            "DeepSpeed's configuration"
        )
    if fsdp and "FULL_STATE_DICT" not in str(fsdp.state_dict_type):
        raise UserError("FSDP would save no whole model; set its state_dict_type to FULL_STATE_DICT")
