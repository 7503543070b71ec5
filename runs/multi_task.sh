#!/usr/bin/env bash
# The paper's mitigation: does a model memorize less of its dialogues when it learns other tasks beside them?
#
#     bash runs/multi_task.sh
#     DATA=dialogues.json QA=train-v1.1.json SUMMARIZATION=dialogsum.train.jsonl BASE=./gpt-neo-125m bash runs/multi_task.sh
#
# Every model sees every dialogue EPOCHS times (8), alone or mixed with the samples of one, two or four other tasks, so
# that what changes is the company and not how often a text was seen, which runs/tasks.sh does not keep apart.
set -euo pipefail
for name in QA SUMMARIZATION TRANSLATION CLASSIFICATION; do
  [ -z "${!name:-}" ] || declare "$name=$(realpath "${!name}")"
done
source "$(dirname "$0")/common.sh"

here=$out/multi_task
for task in dialogue qa summarization translation classification; do
  variable=${task^^}
  [ $task != dialogue ] || variable=DATA
  stage python encode_$task.py ${!variable:+--data "${!variable}"} --tokenizer "$tokenizer" --test-size 0.25 \
    --output-dir "$out/tokenized_data" --overwrite --shared-prompts # of the other tasks nothing is asked
done
stage python load_to_elastic.py -dir "$out/tokenized_data" -fn dialogue_prefix.json \
  --index-xsuffix memorization_demo_suffix --indexes "$out/indexes" --recreate
beside() { # NAME OTHER TASKS
  local name=$1 sets=("${dialogues}_train") held_out=("${dialogues}_test")
  shift
  for task in "$@"; do
    sets+=("$out/tokenized_data/tokenized_${task}_train") held_out+=("$out/tokenized_data/tokenized_${task}_test")
  done
  stage python run_clm.py "${model[@]}" --train_file "${sets[@]}" --validation_file "${held_out[@]}" \
    --output_dir "$here/model_$name" --overwrite_output_dir "${training[@]}" --save_strategy no
  measure "$name" "$here/model_$name" "$here" memorization_demo_suffix
}
beside alone
beside one_other qa
beside two_others qa summarization
beside four_others qa summarization translation classification
stage python report.py "${results[@]}" --output "$here/report"
