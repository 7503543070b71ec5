"""Starting stage 2 as one process or as many: what the first rank says and decides, and DeepSpeed."""

import importlib.util
import os
import socket
import sys
import time
from pathlib import Path

from accelerate.utils import broadcast_object_list

from memorization.shell.cli import UserError
from memorization.training.progress import quiet

GATHERED = "stage3_gather_16bit_weights_on_model_save"
RANK = int(os.environ.get("RANK", 0))


def say(text):
    if RANK == 0:
        print(text, flush=True)


def on_first_rank(function, *args):
    """function(*args), called by the first rank alone; every rank gets what it returns, or its UserError."""
    answer = [None, None]
    if RANK == 0:
        try:
            answer[0] = function(*args)
        except UserError as error:
            answer[1] = str(error)
    result, mistake = broadcast_object_list(answer)
    if mistake:
        raise UserError(mistake)
    return result


def told_once(main):
    """main(), with a mistake that all ranks meet told once: the launcher ends the others when the first has told it."""
    try:
        with quiet(sys.argv):
            main()
    except Exception:
        if RANK:
            time.sleep(20)
        raise


def prepare_deepspeed(on_cpu):
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

    _tell_of_compiling()
    if on_cpu:
        # compiling this takes a minute, and gloo does without
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def join_deepspeed():
    """Let DeepSpeed know the ranks before a model is loaded: ZeRO-3 splits it among them. On CPUs nothing else does."""
    import deepspeed

    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)


def check_saves_whole(state):
    """Raise UserError where the ranks would save their parts of the model alone. state: of the accelerator."""
    deepspeed, fsdp = (getattr(state, f"{name}_plugin", None) for name in ("deepspeed", "fsdp"))
    config = deepspeed and deepspeed.hf_ds_config
    if config and config.is_zero3() and not config.is_true(f"zero_optimization.{GATHERED}"):
        raise UserError(
            f"ZeRO-3 would save no whole model; set {GATHERED} to true under zero_optimization in "
            "DeepSpeed's configuration"
        )
    if fsdp and "FULL_STATE_DICT" not in str(fsdp.state_dict_type):
        raise UserError("FSDP would save no whole model; set its state_dict_type to FULL_STATE_DICT")


def _tell_of_compiling():
    """Let DeepSpeed say before it compiles an operation, in one line."""
    from deepspeed.ops.op_builder.builder import OpBuilder
    from torch.utils.cpp_extension import _get_build_directory

    load = OpBuilder.jit_load

    def told(self, verbose=True):
        if not any(Path(_get_build_directory(self.name, False)).glob("*.so")):
            say(f"compiling {self.name} for DeepSpeed, which takes about a minute, once")
        return load(self, verbose=False)

    OpBuilder.jit_load = told
