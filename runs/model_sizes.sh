#!/usr/bin/env bash
# How much of the training set comes out, by the size of the model: three of 0.2, 0.5 and 1.4 million weights.
#
#     bash runs/model_sizes.sh
#     MODELS="./gpt-neo-125m ./gpt-neo-1.3B ./gpt-neo-2.7B" DATA=dialogues.json OUT=experiment bash runs/model_sizes.sh
#
# Real models (MODELS) are of one family: the data is encoded with the tokenizer of the first, which all have to share.
# All train on the same samples, in the same order, with the same flags.
set -euo pipefail
if [ -n "${MODELS:-}" ]; then
  absolute=()
  for name in $MODELS; do
    [ ! -d "$name" ] || name=$(realpath "$name")
    absolute+=("$name")
  done
  BASE=${absolute[0]}
fi
source "$(dirname "$0")/common.sh"

here=$out/model_sizes
stage python encode_dialogue.py ${DATA:+--data "$DATA"} --tokenizer "$tokenizer" --test-size 0.25 \
  --output-dir "$out/tokenized_data" --overwrite
stage python load_to_elastic.py -dir "$out/tokenized_data" -fn dialogue_prefix.json \
  --index-xsuffix memorization_demo_suffix --indexes "$out/indexes" --recreate
size() { # NAME FLAGS OF STAGE 2
  local name=$1
  shift
  stage python run_clm.py "$@" --train_file "${dialogues}_train" --validation_file "${dialogues}_test" \
    --output_dir "$here/model_$name" --overwrite_output_dir "${training[@]}" --save_strategy no
  measure "$name" "$here/model_$name" "$here" memorization_demo_suffix
}
if [ -n "${MODELS:-}" ]; then
  for path in "${absolute[@]}"; do
    size "$(basename "$path")" --model_name_or_path "$path" --learning_rate 5e-5
  done
else
  for width in 48 96 192; do
    config=$here/config_$width
    mkdir -p "$config"
    sed "s/\"hidden_size\": 192/\"hidden_size\": $width/" configs/gpt-neo-small/config.json >"$config/config.json"
    size "width_$width" --config_name "$config" --tokenizer_name configs/gpt-neo-small --learning_rate 4e-3
  done
fi
stage python report.py "${results[@]}" --output "$here/report"
