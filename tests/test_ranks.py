"""Stage 2 on two ranks by DeepSpeed's launcher: ZeRO-2, ZeRO-3, FSDP2 and plain, LoRA, mixtures; killed and resumed."""

import json
from types import SimpleNamespace

import pytest
import torch
from accelerate import DeepSpeedPlugin, FullyShardedDataParallelPlugin
from safetensors.torch import load_file
from transformers import AutoConfig

from memorization.models.loading import CAUSAL, check_weights, load_for_generation
from memorization.models.trained import model_made_of
from memorization.shell import cli
from memorization.store import manifests
from memorization.store.files import read_json, write_json
from memorization.training.distributed import check_saves_whole
from support.command_line import ROOT
from support.training_runs import as_killed, launch, two_ranks

WEIGHTS = "model.safetensors"
TRAIN = "--num_train_epochs 2 --per_device_train_batch_size 4 --learning_rate 1e-2 --seed 5"
SAVE = "--save_strategy steps --save_steps 7"  # of 5 steps an epoch, so that it resumes within the second


@two_ranks
def test_every_engine_trains_the_same_saves_it_whole_and_goes_on_after_a_kill(warm_python, finished, two, tmp_path):
    """Dropout is drawn by rank, so that all engines on two ranks draw alike: their models differ by rounding alone."""
    zero_3 = read_json(ROOT / "ds_config_zero3.json")
    zero_3["zero_optimization"]["stage3_param_persistence_threshold"] = 0  # small weights are split among ranks too
    write_json(tmp_path / "zero3.json", zero_3)
    data = f"--train-file {two}/data_train --validation-file {two}/data_test {TRAIN} {SAVE}"
    engines = {
        "zero2": "--deepspeed ds_config.json",
        "zero3": f"--deepspeed {tmp_path}/zero3.json",
        "fsdp": "--fsdp",
        "plain": "",
    }
    started = f"--model_name_or_path {finished} {data}"
    flags = {f"{name}_full": f"{started} {engine}" for name, engine in engines.items() if name != "zero2"}
    flags |= {f"{name}_lora": f"{started} {engine} --lora_rank 2" for name, engine in engines.items()}
    both = f"{two}/data_train {two}/more_train --task_weights 1,3"
    flags["mixture"] = f"--config_name {two}/small --train-file {both} {TRAIN} {SAVE} --save_steps 9"  # of 7 an epoch
    scratch = (
        f"--config_name {two}/small {data} {engines['zero3']} --learning_rate 1e-9 --output_dir {tmp_path}/scratch"
    )
    status, _, errors = launch(
        warm_python, tmp_path, [f"{run} --output_dir {tmp_path}/{name}" for name, run in flags.items()] + [scratch]
    )
    assert status == 0, errors[-3000:]

    step = {"zero2_lora": 7, "zero3_full": 7, "zero3_lora": 7, "mixture": 9}  # of the checkpoint gone on from
    for name in step:
        (tmp_path / name).rename(tmp_path / f"{name}_whole")
        manifests.manifest_path(tmp_path / name).rename(manifests.manifest_path(tmp_path / f"{name}_whole"))
        as_killed(tmp_path / f"{name}_whole", tmp_path / name, step[name])
    broken = f"{started} {engines['zero3']} --learning_rate 1e39 --max_steps 1 --eval_strategy no"
    again = [f"{flags[name]} --output_dir {tmp_path}/{name}" for name in step]
    status, printed, errors = launch(warm_python, tmp_path, [*again, f"{broken} --output_dir {tmp_path}/broken"])
    assert status and "is nan at step 1, so training ends here" in errors, errors[-3000:]
    assert not (tmp_path / "broken" / WEIGHTS).exists()
    for name in step:
        assert f"going on from {tmp_path}/{name}/checkpoint-{step[name]} " in printed
        for file in (WEIGHTS, "losses.jsonl", "config.json"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / f"{name}_whole" / file).read_bytes(), (
                name,
                file,
            )
        assert model_made_of(tmp_path / name) == model_made_of(tmp_path / f"{name}_whole")
    for name in flags:
        load_for_generation(tmp_path / name, torch.float32, "cpu")  # refuses what is not whole
    for kind in ("full", "lora"):
        plain = load_file(tmp_path / f"plain_{kind}" / WEIGHTS)
        plain["lm_head.weight"] = plain["transformer.wte.weight"]  # tied; some engines save it twice
        for name in engines:
            if f"{name}_{kind}" in flags:
                saved = load_file(tmp_path / f"{name}_{kind}" / WEIGHTS)
                assert saved.keys() | {"lm_head.weight"} == plain.keys()
                for weight, tensor in saved.items():
                    assert torch.allclose(tensor, plain[weight], atol=1e-5), (name, kind, weight)

    drawn, config = load_file(tmp_path / "scratch" / WEIGHTS), AutoConfig.from_pretrained(two / "small")
    for name, tensor in drawn.items():
        if tensor.dim() == 2:
            assert tensor.std().item() == pytest.approx(config.initializer_range, rel=0.15), name
        else:
            assert torch.allclose(tensor, torch.full_like(tensor, float("ln" in name and "weight" in name)), atol=1e-6)
    assert not torch.equal(drawn["transformer.h.0.mlp.c_fc.weight"], drawn["transformer.h.1.mlp.c_fc.weight"])


def test_a_configuration_that_would_save_parts_is_refused():
    zero_3 = {"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 1}
    gathers = json.loads(json.dumps(zero_3))
    gathers["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True

    def check(deepspeed=None, fsdp=None):
        check_saves_whole(SimpleNamespace(deepspeed_plugin=deepspeed, fsdp_plugin=fsdp))

    check()
    check(DeepSpeedPlugin(hf_ds_config=gathers))
    check(DeepSpeedPlugin(hf_ds_config=read_json(ROOT / "ds_config.json")))
    check(DeepSpeedPlugin(hf_ds_config=read_json(ROOT / "ds_config_zero3.json")))
    check(fsdp=FullyShardedDataParallelPlugin(fsdp_version=2, state_dict_type="FULL_STATE_DICT"))
    with pytest.raises(cli.UserError, match="set stage3_gather_16bit_weights_on_model_save to true under zero_opt"):
        check(DeepSpeedPlugin(hf_ds_config=zero_3))
    with pytest.raises(cli.UserError, match="FSDP would save no whole model; set its state_dict_type"):
        check(fsdp=FullyShardedDataParallelPlugin(fsdp_version=2, state_dict_type="SHARDED_STATE_DICT"))


def test_weights_that_lie_in_parts_are_looked_at_too(finished):
    """As ZeRO-3 leaves them: empty, with this rank's part beside."""
    model = load_for_generation(finished, torch.float32, "cpu")
    loading_info = dict.fromkeys(("missing_keys", "mismatched_keys", "unexpected_keys"), set())
    weight = model.get_parameter("transformer.h.1.mlp.c_fc.bias")
    for value in (1.0, float("nan")):
        weight.data, weight.ds_tensor = torch.empty(0), torch.tensor([0.5, value])
        if value == 1:
            check_weights(model, loading_info, "m", CAUSAL.what)
    with pytest.raises(cli.UserError, match=r"m: holds weights that are NaN or infinite \(transformer.h.1.mlp.c_fc.b"):
        check_weights(model, loading_info, "m", CAUSAL.what)
