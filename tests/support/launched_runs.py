"""Several runs of stage 2 one after the other in the ranks of one launch, which spares starting them anew:

    deepspeed tests/support/launched_runs.py RUNS.json

RUNS.json holds a list of lists of flags of run_clm.py.
"""

import gc
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import run_clm  # noqa: E402
from memorization.models.loading import CAUSAL  # noqa: E402
from memorization.shell import cli  # noqa: E402
from memorization.training.distributed import quietly  # noqa: E402
from memorization.training.fine_tune import fine_tune  # noqa: E402
from memorization.training.token_blocks import read_blocks  # noqa: E402


def main():
    from accelerate.state import AcceleratorState, DistributedType, PartialState
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    before = dict(os.environ)
    for argv in json.loads(Path(next(arg for arg in sys.argv[1:] if arg.endswith(".json"))).read_text()):
        settings, args = run_clm.parse(argv)
        if args.fsdp and args.use_cpu:  # accelerate passes it over on CPUs; called GPUs, they do as these
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        fine_tune(CAUSAL, read_blocks, settings, args)
        unset_hf_deepspeed_config()
        gc.collect()
        AcceleratorState._reset_state()
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


if __name__ == "__main__":
    cli.run(quietly, main)
