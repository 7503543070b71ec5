#!/usr/bin/env bash
# The attention study: memorized members beside the others of their task, and one task beside another.
#
#     bash runs/attention.sh
#     BASE=./gpt-neo-125m DIALOGUE=chatdoctor5k.json SUMMARIZATION=dialogsum.train.jsonl EPOCHS=20 bash runs/attention.sh
#
# A small model is trained from scratch on each of TASKS (dialogue, summarization), or BASE is fine-tuned. The data of a
# task is the project's own unless the variable of its name names a file. On two cores without a GPU: some minutes.
set -euo pipefail
for name in DIALOGUE SUMMARIZATION QA TRANSLATION CLASSIFICATION; do
  [ -z "${!name:-}" ] || declare "$name=$(realpath "${!name}")"
done
source "$(dirname "$0")/common.sh"

out=$out/attention_study
names=()
for task in ${TASKS:-dialogue summarization}; do
  variable=${task^^}
  stage python "encode_$task.py" ${!variable:+--data "${!variable}"} --tokenizer "$tokenizer" --test-size 0.25 \
    --output-dir $out/data --overwrite --shared-prompts
  stage python run_clm.py "${model[@]}" --train_file "$out/data/tokenized_${task}_train" \
    --validation_file "$out/data/tokenized_${task}_test" --output_dir "$out/model_$task" --overwrite_output_dir \
    --do_train --num_train_epochs "${EPOCHS:-5}" --per_device_train_batch_size 8 --weight_decay 0 --warmup_steps 20 \
    --block_size 512 --seed 5 --save_strategy no
  stage python inference_prefix.py --model-path "$out/model_$task" --tokenized-dir $out/data --subset-name "$task" \
    --dir-name "$task" --output-name "$task" --output-dir $out --overwrite --shared-prompts
  results+=("$out/memorization_$task/$task/$task.jsonl") names+=("$task")
done
stage python attention_analysis.py --generations "${results[@]}" --names "${names[@]}" --output $out/study
