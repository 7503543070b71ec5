#!/usr/bin/env bash
# How much of the training set comes out, by the way the next token is chosen.
#
#     bash runs/decodings.sh
#     DATA=dialogues.json BASE=./gpt-neo-125m EPOCHS=3 OUT=experiment bash runs/decodings.sh
#
# Runs the demo first if it has not been run. The index is the demo's: it does not depend on the decoding.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -e "$out/finetuned_models/dialogue.manifest.json" ] || bash runs/demo.sh

here=$out/decodings
decode() { # NAME FLAGS OF STAGE 3
  local name=$1
  shift
  measure "$name" "$out/finetuned_models/dialogue" "$here" memorization_demo_suffix "$@"
}
decode greedy
decode temperature_1 --temperature 1
decode top_k_40 --temperature 1 --top-k 40
decode top_p_95 --temperature 1 --top-p 0.95
decode top_k_40_four --temperature 1 --top-k 40 --num-samples 4
stage python report.py "${results[@]}" --output "$here/report"
