"""Stage 1: encode texts with their labels, as encode_dialogue.py encodes dialogues.

    python encode_classification.py

encodes the project's own made-up ones; data of your own:

    python encode_classification.py --data sst2.csv --label-names negative,positive --tokenizer EleutherAI/gpt-neo-125m

Writes, under --output-dir, the training set, the held-out set and the probes of both (docs/files.md).
"""

from memorization.encoding.encode import encode_task
from memorization.encoding.settings import parse_settings
from memorization.encoding.tasks import CLASSIFICATION
from memorization.shell.cli import run

if __name__ == "__main__":
    run(encode_task, parse_settings(__doc__, CLASSIFICATION))
