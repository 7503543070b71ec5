#!/usr/bin/env bash
# Real dialogues in HealthCareMagic's format (instruction, input, output) through all five stages, on a CPU:
#
#     bash runs/chatdoctor.sh chatdoctor5k.json
#
# A tokenizer and a small model of their own, trained from scratch long enough to memorize part of the data. SAMPLES
# (default 1000) says how many of the file's dialogues are taken, EPOCHS (default 14) how long it trains on them.
set -euo pipefail
[ $# = 1 ] || { echo "usage: bash runs/chatdoctor.sh DATA" >&2; exit 2; }
data=$(realpath "$1")
source "$(dirname "$0")/common.sh"
out=${OUT:-demo/chatdoctor}

mkdir -p "$out/model"
stage python configs/make_tokenizer.py --data "$data" --vocab-size 4096 --output "$out/model"
cp configs/gpt-neo-small/config.json "$out/model/"
stage python encode_dialogue.py --data "$data" --tokenizer "$out/model" --max-samples "${SAMPLES:-1000}" \
  --test-size 0.2 --output-dir "$out/tokenized_data" --overwrite
stage python run_clm.py --config_name "$out/model" --tokenizer_name "$out/model" \
  --train_file "$out/tokenized_data/tokenized_dialogue_train" \
  --validation_file "$out/tokenized_data/tokenized_dialogue_test" \
  --output_dir "$out/finetuned_models/dialogue" --overwrite_output_dir --do_train \
  --num_train_epochs "${EPOCHS:-14}" --per_device_train_batch_size 8 --learning_rate 4e-3 --weight_decay 0 \
  --warmup_steps 100 --block_size 512 --seed 5 --save_strategy no
stage python inference_prefix.py --model-path "$out/finetuned_models/dialogue" \
  --tokenized-dir "$out/tokenized_data" --output-dir "$out" --overwrite
stage python load_to_elastic.py -dir "$out/tokenized_data" -fn dialogue_prefix.json \
  --index-xsuffix chatdoctor_suffix --indexes "$out/indexes"
stage python plagiarism_detect.py --filedir "$out/memorization_finetuned_dialogue/dialogue/dialogue.jsonl" \
  --type gpt-neo-small --dataset dialogue --index-xsuffix chatdoctor_suffix --indexes "$out/indexes" \
  --output-dir "$out/results" --paraphrase-model none --overwrite
