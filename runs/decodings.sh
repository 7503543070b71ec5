#!/usr/bin/env bash
# How much of the demo's training set comes out, by the way the next token is chosen.
#
#     bash runs/decodings.sh
#
# Runs the demo first if it has not been run. The index is the demo's: it does not depend on the decoding.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -e demo/finetuned_models/dialogue.manifest.json ] || bash runs/demo.sh

out=demo/decodings
results=()
decode() { # NAME FLAGS OF STAGE 3
  name=$1
  shift
  stage python inference_prefix.py --model-path demo/finetuned_models/dialogue --tokenized-dir demo/tokenized_data \
    --output-dir $out --dir-name "$name" --overwrite "$@"
  stage python plagiarism_detect.py --filedir "$out/memorization_$name/dialogue/dialogue.jsonl" \
    --type "$name" --dataset dialogue --index-xsuffix memorization_demo_suffix --indexes demo/indexes \
    --output-dir $out/results --paraphrase-model none --overwrite
  results+=("$out/results/$name/dialogue")
}
decode greedy
decode temperature_1 --temperature 1
decode top_k_40 --temperature 1 --top-k 40
decode top_p_95 --temperature 1 --top-p 0.95
decode top_k_40_four --temperature 1 --top-k 40 --num-samples 4
stage python report.py "${results[@]}" --output $out/report
