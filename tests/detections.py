"""Stage 5's results, made by hand."""

import msgspec

from memorization.detection.detections import Detection, Labels, Own, Run
from memorization.runs import write_manifest

FACTS = {"profile": "paper", "direction": "pan", "span_length": 50, "model": "small", "classifier": None}
TRAINING = {"encoding": "e" * 16, "num_train_epochs": 8, "learning_rate": 2e-05}


def detection(id, label="none", own=None, run=None, **fields):
    """A Detection; a member where the id is under 1000. own, run: characters of the longest runs."""
    labels = Labels(label, label, label, [])
    fields = {"sample": 0, "member": id < 1000, "duplicates": 1, "prefix": f"prefix {id}", "paper": None} | fields
    fields = {"suffix": "word " * 100, "generation": "word " * 100, "labels": labels} | fields
    fields = {"matched_tokens": None, "exact_match": None, "candidates": []} | fields
    return Detection(id=id, longest_common_run=_run(run), own=Own(label, _run(own), []), **fields)


def _run(characters):
    return None if characters is None else Run(1, characters, (0, characters), (5, 5 + characters))


def write_detections(directory, rows, generations=(), training=None, index=(), **made_of):
    """Write rows and their manifest into a directory, as stage 5 does; return the directory.

    generations, index: what is to be otherwise in their made_of. training: the same, or None for an unknown model.
    """
    directory.mkdir(parents=True)
    path = directory / "detections.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    settings = {name: FACTS[name] for name in ("profile", "direction", "span_length", "classifier")}
    settings |= {"generations": "a" * 16, "index": "b" * 16, "unchecked": False, "format": 2}
    facts = {
        "generations": {"model": "f" * 64, "encoding": "e" * 16, "prefix_length": 50, "temperature": 0.0}
        | dict(generations),
        "training": None if training is None else TRAINING | training,
        "index": {"encoding": "e" * 16, "prefix_length": 50, "documents": "d" * 64} | dict(index),
    }
    arguments = {"type": "small", "paraphrase_model": "none"}
    write_manifest(path, "detections", settings | made_of, arguments, rows=len(rows), **facts)
    return directory
