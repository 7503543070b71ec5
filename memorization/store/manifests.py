"""What makes a result (design.md, What makes a result).

Beside each result lies `<result>.manifest.json`. Its `made_of` is everything that makes the result what it is, but no
paths; its `identity` is the hash of that, `contents` the hash of the result itself, and `checksum` that of all that the
manifest says. A stage reads nothing that lacks its manifest or is not what the manifest says, and joins nothing that is
of two runs.
"""

import hashlib
import importlib.metadata
import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from memorization import __version__
from memorization.shell.cli import UserError
from memorization.store.files import NOT_OF_SHAPE, fingerprint, read_json, write_json

LIBRARIES = ("torch", "transformers", "datasets", "deepspeed", "peft", "numpy", "nltk", "spacy", "elasticsearch")
KINDS = {  # of result -> the stage that writes it
    "training set": "encode_<task>.py",
    "held-out set": "encode_<task>.py",
    "probes": "encode_<task>.py",
    "probes as text": "encode_<task>.py",
    "canaries": "encode_<task>.py",
    "model": "run_clm.py or run_seq2seq.py",
    "generations": "inference_prefix.py",
    "exposures": "inference_prefix.py",
    "index": "load_to_elastic.py",
    "detections": "plagiarism_detect.py",
    "attention": "attention_analysis.py",
}


def _with(**parts):
    """The type of a manifest whose parts have these fields, of these types, among others."""
    return msgspec.defstruct("Manifest", [(name, TypedDict(name, fields)) for name, fields in parts.items()])


class Link(TypedDict):
    """In a result of a model, that of its base model beside it. model: its name."""

    model: str
    identity: str
    contents: str


Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Real = Annotated[float, msgspec.Meta(ge=-1e40, le=1e40)]  # beyond what 32 bits hold, its sums and squares are finite
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Samples = Annotated[int, msgspec.Meta(ge=0, lt=10**9)]  # more than can be drawn from (numpy's hypergeometric)


class Planted(TypedDict):
    """Of a training set, its last rows: copies of each canary, in order; a secret's digits; tokens behind it."""

    copies: list[Positive]
    digits: Positive
    tokens_a_digit: Positive  # the last is the digit's own
    closing: Count


class Split(TypedDict):
    """How members and held-out texts were told apart. near_duplicates: what texts of one side share; None: no rule."""

    near_duplicates: Share | None


class Mean(TypedDict):
    mean: Real | None
    interval: tuple[Real, Real] | None


class Rate(TypedDict):
    n: Count
    count: Count
    rate: Share
    interval: tuple[Share, Share]


class OfCanaries(TypedDict):
    """Canaries of one side, planted or controls (results.canaries)."""

    n: Count
    exposure: Mean
    estimated: Count
    extracted: Rate


class Epsilon(TypedDict):
    bound: Real
    most: Real
    guesses: Count
    correct: Count


class CanaryGroup(TypedDict):
    pairs: Count
    planted: OfCanaries
    control: OfCanaries
    epsilon: Epsilon


class Canaries(TypedDict):
    """What results.canaries.summarize gives."""

    digits: Annotated[int, msgspec.Meta(ge=1, le=18)]
    chance: Real
    unchecked: bool
    delta: Share
    confidence: Share
    groups: Annotated[dict[str, CanaryGroup], msgspec.Meta(min_length=1)]


class Studied(TypedDict):
    """A task of an attention study: the generations that it is of, and their contents."""

    name: str
    generations: str
    contents: str


class PromptCount(TypedDict):
    """How many probes there are, how many distinct prompts they have, and how many have one that no other has."""

    probes: Positive
    distinct: Positive
    own: Count


SET = {"tokenizer": str, "encoder_decoder": NotRequired[bool], "source_prefix": NotRequired[str]}
SET |= {"separator": NotRequired[str]}
DECODING = {"prefix_length": Positive, "temperature": Annotated[float, msgspec.Meta(ge=0, le=1000)]}
DECODING |= {"top_k": Count, "top_p": Share, "probe": NotRequired[str], "num_samples": NotRequired[Positive]}
DECODING |= {"source_length": NotRequired[Positive | None], "max_new_tokens": NotRequired[Positive]}
GENERATED = dict.fromkeys(("model", "encoding", "trained_on"), NotRequired[str | None])
TRAINED = dict.fromkeys(("encoding", "training_set", "base_model", "configuration"), NotRequired[str | None])
OF_ALL = {
    "training": TypedDict("training", TRAINED) | None,
    "base": Link | None,
    "held_out": NotRequired[dict[str, float] | None],
    "prompts": NotRequired[PromptCount],
    "not_computed": NotRequired[dict[str, str]],  # field of a generation, or of its scores -> why the engine gives none
}
NEEDED = {  # kind -> what the stages read of its manifest beside what all have
    "training set": _with(made_of=SET, facts={"canaries": NotRequired[Planted]}),
    "held-out set": _with(made_of=SET),
    "probes": _with(made_of=SET | {"min_suffix_length": Positive}, facts={"probe": str, "prefix_length": Positive}),
    "probes as text": _with(),
    "canaries": _with(),
    "model": _with(made_of={"encoding": str}, facts={"held_out": NotRequired[dict[str, float] | None]}),
    "generations": _with(
        made_of=DECODING | {"model": str, "encoding": str, "trained_on": str | None, "unchecked": bool},
        facts=OF_ALL | {"listing": str, "canaries": str | None, "split": NotRequired[Split]},
        arguments=dict.fromkeys(("model_path", "tokenized_dir", "subset_name"), NotRequired[str]),
    ),
    "exposures": _with(
        made_of={"digits": Annotated[int, msgspec.Meta(ge=1, le=18)], "trained_on": str | None, "unchecked": bool}
    ),
    "index": _with(),
    "detections": _with(
        made_of={
            "generations": str,
            "index": str,
            "profile": str,
            "direction": Literal["pan", "paper", "both"],
            "candidates": Positive,
            "span_length": Positive,
            "loop_repeats": Positive,
            "classifier": str | None,
            "ner_model": str | None,
            "regions": list[Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]],
            "unchecked": bool,
        },
        facts=OF_ALL
        | {
            "generations": TypedDict("generations", DECODING | GENERATED) | None,
            "index": dict[str, str | int],
            "samples": tuple[Samples, Samples],
            "clusters": tuple[Samples, Samples],
            "canaries": Canaries | None,
            "split": NotRequired[Split | None],
        },
        arguments={
            "type": str,
            "paraphrase_model": str,
            "dataset": NotRequired[str],
            "ner_model": NotRequired[str | None],
        },
    ),
    "attention": _with(made_of={"tasks": list[Studied]}, facts={"heat_maps": dict[str, str]}),
}


class Manifest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The description of a result. facts: what the next stage or a reader wants to know beside what made it."""

    kind: str
    identity: str
    made_of: dict[str, Any]
    contents: str
    rows: Count
    facts: dict[str, Any]
    arguments: dict[str, Any]
    inputs: dict[str, str | None]
    version: str
    libraries: dict[str, str]
    checksum: str


def identity(made_of):
    """The hash of a dict of what makes a result, 16 hexadecimal digits: equal for the same work, however called."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def difference(one, other):
    """What differs between two made_of dicts, in words: "seed (5, not 6) and model (a1b2..., not c3d4...)"."""

    def short(value):
        text = "none" if value is None else str(value)
        return text[:12] if len(text) >= 32 and text.isalnum() else text

    unknown = "unknown"  # None is a value
    sides = [(name, one.get(name, unknown), other.get(name, unknown)) for name in {**one, **other}]
    return " and ".join(
        f"{name} ({short(a)}, not {short(b)})" for name, a, b in sides if identity({name: a}) != identity({name: b})
    )


def manifest_path(result):
    """Where the manifest of a result (a file or directory) lies: <result>.manifest.json beside it."""
    result = Path(result)
    if result.name in ("", ".."):
        result = result.resolve()
    return Path(f"{result}.manifest.json")


def write_manifest(result, kind, made_of, arguments, inputs=None, contents=None, rows=0, **facts):
    """Describe a result that is complete.

    arguments: dict or argparse.Namespace of the flags. inputs: files.fingerprints() of what was read. contents: the
    hash of the result (default: its fingerprint).
    """
    arguments = dict(arguments) if isinstance(arguments, dict) else vars(arguments)
    libraries = {}
    for name in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            libraries[name] = importlib.metadata.version(name)
    manifest = {
        "kind": kind,
        "identity": identity(made_of),
        "made_of": made_of,
        "contents": contents or fingerprint(result),
        "rows": rows,
        "facts": facts,
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()},
        "inputs": inputs or {},
        "version": __version__,
        "libraries": libraries,
    }
    write_json(manifest_path(result), sealed(msgspec.to_builtins(manifest)))


def sealed(manifest):
    """A manifest, a dict as in its file, with the checksum of all else that it says."""
    manifest = {name: value for name, value in manifest.items() if name != "checksum"}
    return manifest | {"checksum": identity(manifest)}


def read_manifest(result, kind):
    """The manifest of a result of a kind (of KINDS), its contents not looked at.

    Raises UserError where there is none (the stage did not finish), or one of another kind or without what it needs.
    """
    path, stage = manifest_path(result), KINDS[kind]
    if not Path(result).exists():
        raise UserError(f"{result}: no such file or directory; check the path, or run {stage}, which writes it")
    if not path.is_file():
        raise UserError(f"{result}: has no manifest, so it is unfinished or not ours; run {stage} (again)")
    found = read_json(path)
    manifest = converted(found, Manifest, path, stage)
    if manifest.identity != identity(manifest.made_of) or manifest.checksum != sealed(found)["checksum"]:
        raise UserError(f"{path}: was edited (it is not as its checksum says); run {stage} again")
    if manifest.kind != kind:
        raise UserError(f"{result}: is of kind {manifest.kind!r}, not {kind!r}; name the {kind} that {stage} wrote")
    converted(found, NEEDED[kind], path, stage)
    return manifest


def converted(value, shape, path, stage):
    """A value read from a path as a msgspec type. Raises UserError if it is not one that the stage writes."""
    try:
        return msgspec.convert(value, shape)
    except NOT_OF_SHAPE as error:
        raise UserError(f"{path}: not a manifest of this version ({error}); run {stage} again") from None


def checked(result, kind, contents=None):
    """The manifest of a result whose contents are those it was written with.

    contents: the hash of the result as it is (default: its fingerprint). Raises UserError as read_manifest does, and
    for a result that has changed.
    """
    manifest = read_manifest(result, kind)
    found = contents or fingerprint(result)
    if found != manifest.contents:
        raise UserError(
            f"{result}: has changed since it was written (contents {found[:12]}, by its manifest "
            f"{manifest.contents[:12]}); run {KINDS[kind]} again"
        )
    return manifest


def link(result, model, kind):
    """The Link to a finished result of a kind, of the model of a name."""
    manifest = read_manifest(result, kind)
    return Link(model=model, identity=manifest.identity, contents=manifest.contents)


class TextDigest:
    """SHA-256 over (id, text) pairs in order: which documents an index holds."""

    def __init__(self):
        self._hash = hashlib.sha256()

    def add(self, id, text):
        for part in (id, text):
            data = part.encode("utf-8", "surrogatepass")
            self._hash.update(len(data).to_bytes(8, "little"))
            self._hash.update(data)

    def hex(self):
        return self._hash.hexdigest()
