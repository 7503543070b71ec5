"""Stage 1: encode sentences with their translations, as encode_dialogue.py encodes dialogues.

    python encode_translation.py

encodes the project's own made-up ones; data of your own:

    python encode_translation.py --data val.de val.en --tokenizer EleutherAI/gpt-neo-125m

Writes, under --output-dir, the training set, the held-out set and the probes of both (docs/files.md).
"""

from memorization.encoding.encode import encode_task
from memorization.encoding.settings import parse_settings
from memorization.encoding.tasks import TRANSLATION
from memorization.shell.cli import run

if __name__ == "__main__":
    run(encode_task, parse_settings(__doc__, TRANSLATION))
