#!/usr/bin/env bash
# What fine-tuning added: the demo's probes through a model before and after it was trained on the demo's data.
#
#     bash runs/base_model.sh
#
# Runs the demo first if it has not been run, for its data and its index. The model before has been trained on other
# made-up dialogues, so that it writes such texts, and knows none of these.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -e demo/finetuned_models/dialogue.manifest.json ] || bash runs/demo.sh

out=demo/base_model
train() { # DATA OUTPUT FLAGS OF STAGE 2
  data=$1/tokenized_data/tokenized_dialogue output=$2
  shift 2
  stage python run_clm.py --train_file "${data}_train" --validation_file "${data}_test" --output_dir "$output" \
    --overwrite_output_dir --do_train --per_device_train_batch_size 8 --weight_decay 0 --warmup_steps 20 \
    --block_size 256 --seed 5 --save_strategy no "$@"
}
mkdir -p $out
python -c "import json; from memorization.encoding.dialogues import make_dialogues; print(json.dumps(make_dialogues(
  seed=6, single=1600, fourfold=0, sixteenfold=0)))" >$out/others.json
stage python encode_dialogue.py --data $out/others.json --output-dir $out/tokenized_data --overwrite
train $out $out/base --config_name configs/gpt-neo-small --tokenizer_name configs/gpt-neo-small \
  --num_train_epochs 2 --learning_rate 4e-3
train demo $out/tuned --model_name_or_path $out/base --num_train_epochs 8 --learning_rate 4e-3
stage python inference_prefix.py --model-path $out/tuned --base-model $out/base --tokenized-dir demo/tokenized_data \
  --output-dir $out --overwrite
stage python plagiarism_detect.py --filedir $out/memorization_finetuned_dialogue/dialogue/dialogue.jsonl \
  --type tuned --dataset dialogue --index-xsuffix memorization_demo_suffix --indexes demo/indexes \
  --output-dir $out/results --paraphrase-model none --overwrite
stage python report.py $out/results/tuned/dialogue --output $out/report
