#!/usr/bin/env bash
# The five stages on the project's own dialogues, on a CPU, in minutes:
#
#     make demo                                        # with the embedded index
#     make demo ELASTIC_URL=http://localhost:9200      # through an Elasticsearch server: the same counts
#
# A million-parameter model is trained from scratch until it knows part of its training set by heart: dialogues that
# stood in it 16 times almost surely, 4 times often, once seldom, held-out ones never.
set -euo pipefail
source "$(dirname "$0")/common.sh"

stage python encode_dialogue.py --test-size 0.25 --output-dir demo/tokenized_data --overwrite
stage python run_clm.py --config_name configs/gpt-neo-small --tokenizer_name configs/gpt-neo-small \
  --train_file demo/tokenized_data/tokenized_dialogue_train \
  --validation_file demo/tokenized_data/tokenized_dialogue_test \
  --output_dir demo/finetuned_models/dialogue --overwrite_output_dir --do_train \
  --num_train_epochs 8 --per_device_train_batch_size 8 --learning_rate 4e-3 --weight_decay 0 \
  --warmup_steps 20 --block_size 256 --seed 5 --save_strategy no --train_sampling_strategy random
stage python inference_prefix.py --model-path demo/finetuned_models/dialogue --tokenized-dir demo/tokenized_data \
  --output-dir demo --overwrite
stage python load_to_elastic.py -dir demo/tokenized_data -fn dialogue_prefix.json \
  --index-xsuffix memorization_demo_suffix --indexes demo/indexes --recreate
stage python plagiarism_detect.py --filedir demo/memorization_finetuned_dialogue/dialogue/dialogue.jsonl \
  --type gpt-neo-small --dataset dialogue --index-xsuffix memorization_demo_suffix --indexes demo/indexes \
  --output-dir demo/results --paraphrase-model none --overwrite
