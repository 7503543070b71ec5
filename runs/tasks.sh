#!/usr/bin/env bash
# The paper's comparison: the same small model fine-tuned on each task, and on all of them at once.
#
#     bash runs/tasks.sh
#     QA=train-v1.1.json SUMMARIZATION=dialogsum.train.jsonl TOKENS=20000000 OUT=experiment bash runs/tasks.sh
#
# Every model sees the same number of tokens (TOKENS), the mixture in all, and continues every prefix by as many (100).
# The data of a task is the project's own unless the variable of its name names files. BASE=./gpt-neo-125m fine-tunes a
# model in place of training one from scratch; MAX_SAMPLES takes so many samples of each task. The prompts are the
# paper's, which SQuAD's questions on one passage share: then the report says so.
set -euo pipefail
tasks="dialogue qa summarization translation classification"
for name in ${tasks^^}; do
  [ -z "${!name:-}" ] || declare "$name=$(realpath "${!name}")"
done
source "$(dirname "$0")/common.sh"

out=$out/tasks

train() { # NAME TASKS
  name=$1
  shift
  sets=() held_out=()
  for task in "$@"; do
    sets+=("$out/data/tokenized_${task}_train") held_out+=("$out/data/tokenized_${task}_test")
  done
  epochs=$(python -c 'import sys, datasets
print(int(sys.argv[1]) / sum(sum(map(len, datasets.load_from_disk(name)["input_ids"])) for name in sys.argv[2:]))' \
    "${TOKENS:-424000}" "${sets[@]}")
  stage python run_clm.py "${model[@]}" --train_file "${sets[@]}" --validation_file "${held_out[@]}" \
    --output_dir "$out/model_$name" --overwrite_output_dir --num_train_epochs "$epochs" \
    --per_device_train_batch_size 8 --weight_decay 0 --warmup_steps 20 --block_size 512 --seed 5 --save_strategy no
}
task() { # NAME TASK: stages 3 and 5
  stage python inference_prefix.py --model-path "$out/model_$1" --tokenized-dir $out/data --subset-name "$2" \
    --dir-name "$1" --output-name "$2" --output-dir $out --overwrite --shared-prompts
  stage python plagiarism_detect.py --filedir "$out/memorization_$1/$2/$2.jsonl" --type "$1" --dataset "$2" \
    --index-xsuffix "tasks_$2" --indexes $out/indexes --output-dir $out/results --paraphrase-model none --overwrite
  results+=("$out/results/$1/$2")
}

for task in $tasks; do
  variable=${task^^}
  stage python "encode_$task.py" ${!variable:+--data "${!variable}"} ${MAX_SAMPLES:+--max-samples "$MAX_SAMPLES"} \
    --tokenizer "$tokenizer" --test-size 0.25 --output-dir $out/data --overwrite --shared-prompts
  stage python load_to_elastic.py -dir $out/data -fn "${task}_prefix.json" --index-xsuffix "tasks_$task" \
    --indexes $out/indexes --recreate
done
for task in $tasks; do
  train "$task" "$task"
  task "$task" "$task"
done
train mixture $tasks
for task in $tasks; do
  task mixture "$task"
done
stage python report.py "${results[@]}" --output $out/report
