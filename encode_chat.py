"""Stage 1: encode chats through a tokenizer's chat template, as encode_dialogue.py encodes dialogues.

    python encode_chat.py --train-data train.jsonl --held-out-data heldout.jsonl --tokenizer ./qwen-tuned

Reads `messages`, ShareGPT's `conversations`, `prompt` and `completion`, and with --chat Alpaca's columns. Each turn of
the assistant is asked for behind all that stands before it. Writes, under --output-dir, the training set, the held-out
set and the probes of both (docs/files.md).
"""

from memorization.encoding.encode import encode_task
from memorization.encoding.settings import parse_settings
from memorization.encoding.tasks import CHAT
from memorization.shell.cli import run

if __name__ == "__main__":
    run(encode_task, parse_settings(__doc__, CHAT))
