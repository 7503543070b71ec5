"""Stage 5's results, made by hand."""

import msgspec

from memorization.detection.detections import Ceiling, CopiedRun, Detection, Labels, OwnSuffix, PersonalItem, SuffixRun
from memorization.detection.kinds import DETECTIONS
from memorization.extraction.generations import Generation
from memorization.results.cases import CaseIndex, Cases
from memorization.results.leaks import leaks
from memorization.results.sample_texts import sample_texts
from memorization.results.summary import Facts
from memorization.store.manifests import write_manifest

FACTS = Facts(
    profile="paper",
    direction="pan",
    candidates=10,
    span_length=50,
    loop_repeats=10,
    regions=("CN", "US"),
    unchecked=False,
    model="small",
    classifier=None,
    ner_model=None,
    samples=(1000, 500),
    clusters=(1000, 500),
    scheme="temperature 1",
    trained_on="e" * 16,
)
TRAINING = {"encoding": "e" * 16, "num_train_epochs": 8, "learning_rate": 2e-05}


def facts(**changes):
    """The Facts of these results, with some changed."""
    return msgspec.structs.replace(FACTS, **changes)


def detection(id, label="none", own=None, run=None, others=(), **fields):
    """A Detection; a member where the id is under 1000.

    own: characters of a run that only its own sample holds. run: those of the longest one with a training text. others:
    (sample, holders, members) of further runs. fields: of the Generation or of the Detection.
    """
    probe = {"turn": 0, "sample": 0, "member": id < 1000, "duplicates": 1, "cluster": id, "reach": None}
    probe |= {"prefix": f"prefix {id}", "suffix": "word " * 100, "text": "word " * 100}
    probe |= dict.fromkeys(("matched_tokens", "exact_match", "near", "scores"))
    probe |= {name: fields.pop(name) for name in Generation.__struct_fields__ if name in fields}
    probe = {"generation_ids": [0] * (probe["matched_tokens"] or 0)} | probe
    generation = Generation(id=id, **probe)
    fields = {"labels": Labels(label, label, label, []), "paper": None, "entities_agree": None} | fields
    fields = {"candidates": [], "repeats": 1, "personal": []} | fields
    ceiling = None if generation.sample else Ceiling(tokens=100, longest=500, own=True, personal=False)
    fields = {"ceiling": ceiling} | fields
    copied = []
    if own and own > FACTS.span_length:
        copied = [_copied(own, 1, int(generation.member), id, len(generation.prefix) + 5, generation.cluster)]
    copied += [_copied(60, holders, members, sample) for sample, holders, members in others]
    longest = None if run is None else _copied(run, 1, 1, 1)
    own_run = None if own is None else SuffixRun(own, (0, own), (5, 5 + own))
    own = OwnSuffix(label, own_run, [])
    return Detection(generation=generation, longest_common_run=longest, copied=copied, own=own, **fields)


def of_generation(row, **fields):
    """The Detection of another Generation, of which these fields differ."""
    return msgspec.structs.replace(row, generation=msgspec.structs.replace(row.generation, **fields))


def item(kind, span, whose):
    """A PersonalItem. whose: one of detections.WHOSE."""
    holders = {"another": 1, "other": 1, "shared": 10}.get(whose, 0)
    return PersonalItem(
        kind=kind,
        generation_span=span,
        prompted=whose == "prompt",
        own=whose == "own",
        holders=holders,
        members=holders if whose != "other" else 0,
        sample=77 if holders else None,
        cluster=77 if holders else None,
    )


def _copied(length, holders, members, sample, start=5, cluster=None):
    return CopiedRun(
        length=length,
        generation_span=(0, length),
        holders=holders,
        members=members,
        sample=sample,
        cluster=sample if cluster is None else cluster,
        sample_span=(start, start + length),
    )


def case_index(rows):
    """The CaseIndex of rows."""
    index = CaseIndex()
    assert len([*index.watch(rows)]) == len(rows)
    return index


def every_case(rows):
    """All rows as Cases."""
    return Cases(rows, sample_texts(rows))


def leaks_of_all(name, rows, span_length=FACTS.span_length):
    """The section of leaks.txt of rows that are all shown."""
    return leaks(name, every_case(rows), case_index(rows).leaking, span_length)


def write_detections(directory, rows, generations=(), training=None, index=(), split=None, **made_of):
    """Write rows and their manifest into a directory, as stage 5 does; return the directory.

    generations, index: what is to be otherwise in their made_of. training: the same, or None for an unknown model.
    split: a SplitRule.
    """
    directory.mkdir(parents=True)
    path = directory / "detections.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    settings = {
        name: getattr(FACTS, name)
        for name in (
            "profile",
            "direction",
            "candidates",
            "span_length",
            "loop_repeats",
            "regions",
            "classifier",
            "ner_model",
        )
    }
    settings |= {"generations": "a" * 16, "index": "b" * 16, "unchecked": False, "format": 10}
    facts = {
        "generations": {"model": "f" * 64, "encoding": "e" * 16, "prefix_length": 50, "temperature": 0.0}
        | {"top_k": 0, "top_p": 1.0}
        | dict(generations),
        "training": None if training is None else TRAINING | training,
        "split": split,
        "samples": FACTS.samples,
        "clusters": FACTS.clusters,
        "base": None,
        "canaries": None,
        "index": {"encoding": "e" * 16, "prefix_length": 50, "documents": "d" * 64} | dict(index),
    }
    arguments = {"type": "small", "paraphrase_model": "none"}
    write_manifest(path, DETECTIONS, settings | made_of, arguments, rows=len(rows), **facts)
    return directory
