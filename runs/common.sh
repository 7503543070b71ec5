# Sourced by the recipes: they run from the project's root, with its environment, on this machine alone.
# DATA=dialogues.json takes real dialogues in place of made-up ones; BASE=./gpt-neo-125m fine-tunes a model in place of
# training a small one from scratch; EPOCHS says for how long, OUT where everything goes (demo).
[ -z "${DATA:-}" ] || DATA=$(realpath "$DATA")
[ ! -d "${BASE:-}" ] || BASE=$(realpath "$BASE")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ ! -x .venv/bin/python ] || PATH=$PWD/.venv/bin:$PATH
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE-1} TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=passive
stage() { printf '\n== %s\n' "$*"; "$@"; }

out=${OUT:-demo}
dialogues=$out/tokenized_data/tokenized_dialogue
tokenizer=${BASE:-configs/gpt-neo-small}
model=(--config_name configs/gpt-neo-small --tokenizer_name configs/gpt-neo-small --learning_rate 4e-3)
[ -z "${BASE:-}" ] || model=(--model_name_or_path "$BASE" --learning_rate 5e-5)
# how the demo's model is trained, but for its data, its output and what a recipe varies
training=(--do_train --num_train_epochs "${EPOCHS:-8}" --per_device_train_batch_size 8 --weight_decay 0
  --warmup_steps 20 --block_size 256 --seed 5 --train_sampling_strategy random)
measure() { # NAME MODEL OUTPUT INDEX FLAGS OF STAGE 3: stages 3 and 5; the result is added to results
  local name=$1 model=$2 output=$3 index=$4
  shift 4
  stage python inference_prefix.py --model-path "$model" --tokenized-dir "$out/tokenized_data" --output-dir "$output" \
    --dir-name "$name" --overwrite "$@"
  stage python plagiarism_detect.py --filedir "$output/memorization_$name/dialogue/dialogue.jsonl" --type "$name" \
    --dataset dialogue --index-xsuffix "$index" --indexes "$out/indexes" --output-dir "$output/results" \
    --paraphrase-model none --overwrite
  results+=("$output/results/$name/dialogue")
}
results=()
