#!/usr/bin/env bash
# The five stages and the report on the project's own dialogues, on a CPU, in minutes:
#
#     make demo                                        # with the embedded index
#     make demo ELASTIC_URL=http://localhost:9200      # through an Elasticsearch server: the same counts
#
# A million-parameter model is trained from scratch until it knows part of its training set by heart: dialogues that
# stood in it 16 times almost surely, 4 times often, once seldom, held-out ones never. The other recipes vary a setting
# of it, and take real data and models as it does:
#
#     DATA=dialogues.json BASE=./gpt-neo-125m EPOCHS=3 OUT=experiment bash runs/demo.sh
set -euo pipefail
source "$(dirname "$0")/common.sh"

stage python encode_dialogue.py ${DATA:+--data "$DATA"} --tokenizer "$tokenizer" --test-size 0.25 \
  --output-dir "$out/tokenized_data" --overwrite
stage python run_clm.py "${model[@]}" --train_file "${dialogues}_train" --validation_file "${dialogues}_test" \
  --output_dir "$out/finetuned_models/dialogue" --overwrite_output_dir "${training[@]}" --save_strategy no
stage python inference_prefix.py --model-path "$out/finetuned_models/dialogue" --tokenized-dir "$out/tokenized_data" \
  --output-dir "$out" --overwrite
stage python load_to_elastic.py -dir "$out/tokenized_data" -fn dialogue_prefix.json \
  --index-xsuffix memorization_demo_suffix --indexes "$out/indexes" --recreate
stage python plagiarism_detect.py --filedir "$out/memorization_finetuned_dialogue/dialogue/dialogue.jsonl" \
  --type gpt-neo-small --dataset dialogue --index-xsuffix memorization_demo_suffix --indexes "$out/indexes" \
  --output-dir "$out/results" --paraphrase-model none --overwrite
printf '\n== %s\n' "python report.py $out/results/gpt-neo-small/dialogue --output $out/report"
python report.py "$out/results/gpt-neo-small/dialogue" --output "$out/report" >/dev/null
printf '\nThe page to look at, in a browser: %s\n' "$PWD/$out/report/report.html"
