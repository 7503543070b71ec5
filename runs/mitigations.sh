#!/usr/bin/env bash
# What keeps a model from memorizing, and what it costs: held-out perplexity beside what comes out.
#
#     bash runs/mitigations.sh
#     DATA=dialogues.json BASE=./gpt-neo-125m EPOCHS=3 OUT=experiment bash runs/mitigations.sh
#
# The same model is fine-tuned on the demo's dialogues as they are, on one copy of each (--deduplicate), with the goldfish
# loss, with loss on the output alone, and with LoRA. It was trained before (BASE, or on made-up dialogues of another seed),
# as LoRA adapts a model that can write. All train as many epochs; LoRA, as usual, with a higher learning rate than full tuning.
set -euo pipefail
source "$(dirname "$0")/common.sh"

out=$out/mitigations
mkdir -p $out
train() { # OUTPUT DATA FLAGS OF STAGE 2
  output=$1 data=$2
  shift 2
  stage python run_clm.py --train_file "$data/tokenized_dialogue_train" --validation_file "$data/tokenized_dialogue_test" \
    --output_dir "$output" --overwrite_output_dir --num_train_epochs "${EPOCHS:-8}" --per_device_train_batch_size 8 \
    --weight_decay 0 --warmup_steps 20 --block_size 256 --seed 5 --save_strategy no "$@"
}
encode() { # DIRECTORY FLAGS OF STAGE 1
  stage python encode_dialogue.py --tokenizer "$tokenizer" --test-size 0.25 --output-dir "$@" --overwrite
}
mitigate() { # NAME DATA FLAGS OF STAGE 2
  name=$1 data=$2
  shift 2
  train "$out/model_$name" "$data" --model_name_or_path "$base" "$@"
  stage python inference_prefix.py --model-path "$out/model_$name" --tokenized-dir "$data" --output-dir $out \
    --dir-name "$name" --overwrite
  stage python plagiarism_detect.py --filedir "$out/memorization_$name/dialogue/dialogue.jsonl" --type "$name" \
    --dataset dialogue --index-xsuffix "mitigations_$(basename "$data")" --indexes $out/indexes --output-dir $out/results \
    --paraphrase-model none --overwrite
  results+=("$out/results/$name/dialogue")
}

encode $out/as_they_are ${DATA:+--data "$DATA"}
encode $out/one_copy ${DATA:+--data "$DATA"} --deduplicate
for data in as_they_are one_copy; do
  stage python load_to_elastic.py -dir $out/$data -fn dialogue_prefix.json --index-xsuffix mitigations_$data \
    --indexes $out/indexes --recreate
done
base=${BASE:-$out/base} rate=5e-5 lora_rate=2e-4
if [ -z "${BASE:-}" ]; then
  rate=1e-3 lora_rate=4e-3
  python -c 'import json; from memorization.encoding.made_up import make_dialogues; print(json.dumps(make_dialogues(1)))' \
    >$out/others.json
  encode $out/others --data $out/others.json
  train $out/base $out/others "${model[@]}"
fi
mitigate none $out/as_they_are --learning_rate $rate
mitigate deduplicate $out/one_copy --learning_rate $rate
mitigate goldfish $out/as_they_are --learning_rate $rate --goldfish_k 4
mitigate output $out/as_they_are --learning_rate $rate --loss_on output
mitigate lora $out/as_they_are --learning_rate $lora_rate --lora_rank 8
stage python report.py "${results[@]}" --output $out/report
