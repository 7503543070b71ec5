"""Stage 1: encode dialogues into tokenized training and test sets and the probes of both.

    python encode_dialogue.py

encodes the project's own made-up dialogues; data of your own:

    python encode_dialogue.py --data HealthCareMagic-100k.json --tokenizer EleutherAI/gpt-neo-125m

Writes, under --output-dir: tokenized_<name>_train/ and tokenized_<name>_test/ (id, text, input_ids, attention_mask,
labels, target), tokenized_<name>_prefix/ (which distinct samples there are, and where stages 3 and 4 may cut them) and
<name>_prefix.json (prefixes and suffixes as text).
"""

from memorization.encoding.encode import encode_task
from memorization.encoding.settings import parse_settings
from memorization.encoding.tasks import DIALOGUE
from memorization.shell.cli import run

if __name__ == "__main__":
    run(encode_task, parse_settings(__doc__, DIALOGUE))
