#!/usr/bin/env bash
# How much of the training set comes out, by the number of epochs: the checkpoints of one training run.
#
#     bash runs/epochs.sh
#     DATA=dialogues.json BASE=./gpt-neo-125m EPOCHS=5 OUT=experiment bash runs/epochs.sh
#
# Runs the demo first if it has not been run, for its data and its index; the model is trained again, with checkpoints.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -e "$out/finetuned_models/dialogue.manifest.json" ] || bash runs/demo.sh

here=$out/epochs
stage python run_clm.py "${model[@]}" --train_file "${dialogues}_train" --validation_file "${dialogues}_test" \
  --output_dir "$here/model" --overwrite_output_dir "${training[@]}" --save_strategy epoch \
  --memorization_probes "${dialogues}_prefix"
for checkpoint in $(printf '%s\n' "$here"/model/checkpoint-* | sort --version-sort); do
  measure "$(basename "$checkpoint")" "$checkpoint" "$here" memorization_demo_suffix
done
stage python report.py "${results[@]}" --output "$here/report"
