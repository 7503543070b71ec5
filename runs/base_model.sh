#!/usr/bin/env bash
# What fine-tuning added: the demo's probes through a model before and after it was trained on the demo's data.
#
#     bash runs/base_model.sh
#     DATA=dialogues.json BASE=./gpt-neo-125m EPOCHS=3 OUT=experiment bash runs/base_model.sh
#
# Runs the demo first if it has not been run, for its data and its index. The model before (BASE) has been trained on
# other made-up dialogues, so that it writes such texts, and knows none of these.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -e "$out/finetuned_models/dialogue.manifest.json" ] || bash runs/demo.sh

here=$out/base_model
mkdir -p "$here"
train() { # DATA OUTPUT FLAGS OF STAGE 2
  local data=$1 output=$2
  shift 2
  stage python run_clm.py --train_file "${data}_train" --validation_file "${data}_test" --output_dir "$output" \
    --overwrite_output_dir "${training[@]}" --save_strategy no "$@"
}
base=${BASE:-$here/base} rate=5e-5
if [ -z "${BASE:-}" ]; then
  rate=4e-3
  python -c "import json; from memorization.encoding.made_up import make_dialogues; print(json.dumps(make_dialogues(
    seed=6, single=1600, fourfold=0, sixteenfold=0)))" >"$here/others.json"
  stage python encode_dialogue.py --data "$here/others.json" --output-dir "$here/tokenized_data" --overwrite
  train "$here/tokenized_data/tokenized_dialogue" "$base" "${model[@]}" --num_train_epochs 2
fi
train "$dialogues" "$here/tuned" --model_name_or_path "$base" --learning_rate $rate
measure tuned "$here/tuned" "$here" memorization_demo_suffix --base-model "$base"
stage python report.py "${results[@]}" --output "$here/report"
