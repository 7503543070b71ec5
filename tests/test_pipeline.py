"""The five stages one after the other, by the paper's commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memorization.encoding.probes import read_probes
from memorization.store.files import read_json, read_jsonl
from support.command_line import ROOT
from support.tiny_models import save_language_model, save_paraphrase_classifier

# design: The paper's commands keep working; as written but for --num_gpus and --num_train_epochs
COMMANDS = """\
python encode_dialogue.py
deepspeed --num_gpus=2 run_clm.py --deepspeed ds_config.json --model_name_or_path ./gpt-neo-1.3B --train_file ./tokenized_data/tokenized_dialogue_train --validation_file ./tokenized_data/tokenized_dialogue_test --model_type gptneo --do_train --overwrite_cache --overwrite_output_dir --output_dir ./finetuned_models/finetuned_dialogue_gptneo_1.3B --num_train_epochs 1 --gradient_accumulation_steps 2 --per_device_train_batch_size 8 --learning_rate 2e-05 --save_total_limit 20 --save_strategy epoch --block_size 1028 --seed 5 --warmup_steps 10
python inference_prefix.py --model-path ./finetuned_models/finetuned_dialogue_gptneo_1.3B --token-path ./gpt-neo-1.3B --output_name dialogue --subset_name dialogue --dir_name finetuned_dialogue
python load_to_elastic.py -dir ./tokenized_data/ -fn dialogue_prefix.json --index-xsuffix dialogue_suffix
python plagiarism_detect.py -filedir ./memorization_finetuned_dialogue/dialogue/dialogue.txt -type gpt-neo-1.3B -dataset dialogue --index-xsuffix dialogue_suffix
"""  # noqa: E501


@pytest.mark.slow
def test_the_papers_five_commands_run_as_written(tmp_path):
    """In a directory with the scripts, where ./gpt-neo-1.3B and the hub name of the classifier are small models."""
    for path in [*ROOT.glob("*.py"), ROOT / "ds_config.json", ROOT / "memorization", ROOT / "configs"]:
        (tmp_path / path.name).symlink_to(path)
    tokenizer = ROOT / "configs" / "gpt-neo-small"
    save_language_model(tmp_path / "gpt-neo-1.3B", tokenizer)
    save_paraphrase_classifier(tmp_path / "textattack" / "roberta-base-MRPC", tokenizer)

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    for command in COMMANDS.splitlines():
        done = subprocess.run(command.split(), cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    probes = read_probes(tmp_path / "tokenized_data" / "dialogue_prefix.json")
    result = tmp_path / "results" / "gpt-neo-1.3B" / "dialogue"
    detections = read_jsonl(result / "detections.jsonl")
    assert [row["id"] for row in detections] == [probe["id"] for probe in probes]
    members = {probe["id"] for probe in probes if probe["member"]}
    assert {c["id"] for row in detections for c in row["candidates"]} <= members
    assert not {row["labels"]["label"] for row in detections} & {"unverified"}
    assert read_json(result / "result.json")["groups"]["members"]["n"] == len(members)
    evaluated = read_json(tmp_path / "finetuned_models" / "finetuned_dialogue_gptneo_1.3B" / "eval_results.json")
    assert evaluated["eval_perplexity"] > 1
