"""Train a small byte-level BPE tokenizer, on the made-up dialogues or on a data file.

    python configs/make_tokenizer.py --output configs/gpt-neo-small

made the one in configs/gpt-neo-small. For data of your own:

    python configs/make_tokenizer.py --data dialogues.json --vocab-size 4096 --output my-tokenizer
"""

import sys
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parent.parent))

from memorization.encoding.made_up import make_dialogues
from memorization.encoding.task_rows import add_data_arguments, data_settings, read_task_rows
from memorization.encoding.tasks import DIALOGUE
from memorization.shell.cli import Parser, run
from memorization.shell.flags import whole

END = "<|endoftext|>"


def main(args, data):
    if data.paths:
        rows = read_task_rows(data)
    else:
        rows = make_dialogues(seed=1, single=5000, fourfold=0, sixteenfold=0)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        map(data.task.text, rows),
        vocab_size=args.vocab_size,
        min_frequency=2,
        special_tokens=[END],
        show_progress=False,
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token=END, bos_token=END, unk_token=END)
    tokenizer.save_pretrained(args.output)
    print(f"{args.output}: a tokenizer of {len(tokenizer)} tokens")


if __name__ == "__main__":
    parser = Parser(__doc__)
    add_data_arguments(parser, DIALOGUE)
    parser.add_argument(
        "--vocab-size", type=whole(257), default=2048, help="tokens: every byte, the end-of-text token and more"
    )
    parser.add_argument("--output", required=True, help="directory to write tokenizer.json to")
    args = parser.parse_args()
    run(main, args, data_settings(parser, args, DIALOGUE))
