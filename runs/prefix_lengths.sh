#!/usr/bin/env bash
# How much of the demo's training set comes out, by the length of the prefix: 10, 25 and 50 tokens.
#
#     bash runs/prefix_lengths.sh
#
# Runs the demo first if it has not been run. A suffix begins where the prefix ends, so that each length has an index.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -e demo/finetuned_models/dialogue.manifest.json ] || bash runs/demo.sh

out=demo/prefix_lengths
for length in 10 25 50; do
  index=memorization_demo_suffix
  if [ $length != 50 ]; then # the demo has indexed that one
    index=memorization_demo_suffix_$length
    stage python load_to_elastic.py -dir demo/tokenized_data -fn dialogue_prefix.json --prefix-length $length \
      --index-xsuffix $index --indexes demo/indexes --recreate
  fi
  stage python inference_prefix.py --model-path demo/finetuned_models/dialogue --tokenized-dir demo/tokenized_data \
    --prefix-length $length --output-dir $out --dir-name prefix_$length --overwrite
  stage python plagiarism_detect.py --filedir $out/memorization_prefix_$length/dialogue/dialogue.jsonl \
    --type prefix_$length --dataset dialogue --index-xsuffix $index --indexes demo/indexes \
    --output-dir $out/results --paraphrase-model none --overwrite
done
stage python report.py $out/results/prefix_{10,25,50}/dialogue --output $out/report
