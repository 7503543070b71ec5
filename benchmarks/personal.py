"""What is known of personal data, and what is taken for it by mistake.

    python benchmarks/personal.py dialogues.json squad.json --show telephone ip

First the made-up texts of tests/support/personal_examples.py: of each kind how many items are found as they are, and
of what only looks like one how many are taken for what. Then what is found in files of real text (JSON rows with an
`output`, JSON lines with a `dialogue`, SQuAD's JSON, or plain text, a paragraph a line), with the time; --show prints
items of these kinds with what stands around them, so that a person can judge.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from memorization.detection.personal_data import KINDS, find
from memorization.shell.cli import Parser, run
from support.personal_examples import KNOWN, LOOKALIKES


def main(args):
    print("| kind | regions or languages | items | found |\n|---|---:|---:|---:|")
    for kind, texts in KNOWN.items():
        items = [text for of_one in texts.values() for text in of_one]
        print(f"| {kind} | {len(texts)} | {len(items)} | {sum(as_marked(kind, text) for text in items)} |")
    print("\n| only looks like it | texts | taken for an item |\n|---|---:|---|")
    for kind, texts in LOOKALIKES.items():
        taken = Counter(item.kind for text in texts for item in find(text))
        print(f"| {kind} | {len(texts)} | {listed(taken)} |")
    print("\n| file | texts | characters | items | processor time |\n|---|---:|---:|---|---:|")
    shown = []
    for path in args.files:
        texts, kinds, start = read(path), Counter(), time.process_time()
        for text in texts:
            items = find(text)
            kinds.update(item.kind for item in items)
            shown += [(item.kind, text[max(0, item.start - 30) : item.end + 15]) for item in items]
        seconds = time.process_time() - start
        print(f"| {path.name} | {len(texts):,} | {sum(map(len, texts)):,} | {listed(kinds)} | {seconds:.1f} s |")
    for kind, text in shown:
        if kind in args.show:
            print(kind, repr(text))


def as_marked(kind, text):
    """Whether the item between ⟦ and ⟧ is found, of its kind, and nothing else."""
    before, _, rest = text.partition("⟦")
    item, _, after = rest.partition("⟧")
    return [each[:3] for each in find(before + item + after)] == [(kind, len(before), len(before + item))]


def listed(counts):
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "none"


def read(path):
    text = path.read_text("utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line)["dialogue"] for line in text.splitlines()]
    if path.suffix == ".json":
        content = json.loads(text)
        if isinstance(content, list):
            return [f"{row['input']}\n{row['output']}" for row in content]
        return [paragraph["context"] for article in content["data"] for paragraph in article["paragraphs"]]
    return text.splitlines()


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="files of text")
    parser.add_argument("--show", nargs="*", choices=KINDS, default=(), help="kinds to print")
    run(main, parser.parse_args())
