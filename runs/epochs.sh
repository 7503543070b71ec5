#!/usr/bin/env bash
# How much of the demo's training set comes out, by the number of epochs: the checkpoints of one training run.
#
#     bash runs/epochs.sh
#
# Runs the demo first if it has not been run, for its data and its index; the model is trained again, with checkpoints.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -e demo/finetuned_models/dialogue.manifest.json ] || bash runs/demo.sh

out=demo/epochs
stage python run_clm.py --config_name configs/gpt-neo-small --tokenizer_name configs/gpt-neo-small \
  --train_file demo/tokenized_data/tokenized_dialogue_train \
  --validation_file demo/tokenized_data/tokenized_dialogue_test \
  --output_dir $out/model --do_train \
  --num_train_epochs 8 --per_device_train_batch_size 8 --learning_rate 4e-3 --weight_decay 0 \
  --warmup_steps 20 --block_size 256 --seed 5 --save_strategy epoch \
  --memorization_probes demo/tokenized_data/tokenized_dialogue_prefix
results=()
for checkpoint in $(printf '%s\n' $out/model/checkpoint-* | sort --version-sort); do
  name=$(basename "$checkpoint")
  stage python inference_prefix.py --model-path "$checkpoint" --tokenized-dir demo/tokenized_data \
    --output-dir $out --dir-name "$name" --overwrite
  stage python plagiarism_detect.py --filedir "$out/memorization_$name/dialogue/dialogue.jsonl" \
    --type "$name" --dataset dialogue --index-xsuffix memorization_demo_suffix --indexes demo/indexes \
    --output-dir $out/results --paraphrase-model none --overwrite
  results+=("$out/results/$name/dialogue")
done
stage python report.py "${results[@]}" --output $out/report
