#!/usr/bin/env bash
# How much of the training set comes out, by the length of the prefix: 10, 25 and 50 tokens.
#
#     bash runs/prefix_lengths.sh
#     LENGTHS="50 100 200" OUT=experiment bash runs/prefix_lengths.sh
#
# Runs the demo first if it has not been run. A suffix begins where the prefix ends, so that each length has an index.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -e "$out/finetuned_models/dialogue.manifest.json" ] || bash runs/demo.sh

here=$out/prefix_lengths
for length in ${LENGTHS:-10 25 50}; do
  index=memorization_demo_suffix
  if [ "$length" != 50 ]; then # the demo has indexed that one
    index=memorization_demo_suffix_$length
    stage python load_to_elastic.py -dir "$out/tokenized_data" -fn dialogue_prefix.json --prefix-length "$length" \
      --index-xsuffix "$index" --indexes "$out/indexes" --recreate
  fi
  measure "prefix_$length" "$out/finetuned_models/dialogue" "$here" "$index" --prefix-length "$length"
done
stage python report.py "${results[@]}" --output "$here/report"
