"""What makes a result (design.md, What makes a result).

Beside each result lies `<result>.manifest.json`. Its `made_of` is everything that makes the result what it is, but no
paths; its `identity` is the hash of that, `contents` the hash of the result itself, and `checksum` that of all that the
manifest says. A stage reads nothing that lacks its manifest or is not what the manifest says, and joins nothing that is
of two runs.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec

from memorization import __version__
from memorization.shell.cli import UserError
from memorization.store.files import NOT_OF_SHAPE, fingerprint, read_json, write_json

LIBRARIES = ("torch", "transformers", "datasets", "deepspeed", "peft", "numpy", "nltk", "spacy", "elasticsearch")
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Real = Annotated[float, msgspec.Meta(ge=-1e40, le=1e40)]  # beyond what 32 bits hold, its sums and squares are finite
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Kind(NamedTuple):
    """A kind of result: the stage script that writes it, and the type of what later stages read of its manifest.

    reads: as msgspec converts to it, a Struct with any of the fields made_of, facts and arguments.
    """

    name: str
    stage: str
    reads: Any = Any


class Link(TypedDict):
    """In a result of a model, that of its base model beside it. model: its name."""

    model: str
    identity: str
    contents: str


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


def identity(made_of: Any) -> str:
    """The hash of what makes a result, 16 hexadecimal digits: equal for the same work, however it was called."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """What differs between two made_of dicts, in words: "seed (5, not 6) and model (a1b2..., not c3d4...)"."""

    def short(value: Any) -> str:
        text = "none" if value is None else str(value)
        return text[:12] if len(text) >= 32 and text.isalnum() else text

    unknown = "unknown"  # None is a value
    sides = [(name, one.get(name, unknown), other.get(name, unknown)) for name in {**one, **other}]
    return " and ".join(
        f"{name} ({short(a)}, not {short(b)})" for name, a, b in sides if identity({name: a}) != identity({name: b})
    )


def manifest_path(result: str | Path) -> Path:
    """Where the manifest of a result (a file or directory) lies: <result>.manifest.json beside it."""
    result = Path(result)
    if result.name in ("", ".."):
        result = result.resolve()
    return Path(f"{result}.manifest.json")


def write_manifest(
    result: str | Path,
    kind: Kind,
    made_of: dict[str, Any],
    arguments: Any,
    inputs: Mapping[str, str | None] | None = None,
    contents: str | None = None,
    rows: int = 0,
    **facts: Any,
) -> None:
    """Write the manifest of a complete result.

    arguments: dict or argparse.Namespace of the flags. inputs: files.fingerprints() of what was read. contents: the
    hash of the result (default: its fingerprint).
    """
    arguments = dict(arguments) if isinstance(arguments, dict) else vars(arguments)
    libraries = {}
    for name in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            libraries[name] = importlib.metadata.version(name)
    manifest = {
        "kind": kind.name,
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


def sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest as in its file, with the checksum of everything else in it."""
    manifest = {name: value for name, value in manifest.items() if name != "checksum"}
    return manifest | {"checksum": identity(manifest)}


def read_manifest(result: str | Path, kind: Kind) -> Manifest:
    """The manifest of a result of a Kind; the result itself is not read.

    Raises UserError where there is none (the stage did not finish), or one of another kind or without what it needs.
    """
    path, stage = manifest_path(result), kind.stage
    if not Path(result).exists():
        raise UserError(f"{result}: no such file or directory; check the path, or run {stage}, which writes it")
    if not path.is_file():
        raise UserError(f"{result}: has no manifest, so it is unfinished or not ours; run {stage} (again)")
    content = read_json(path)
    manifest = converted(content, Manifest, path, stage)
    if manifest.identity != identity(manifest.made_of) or manifest.checksum != sealed(content)["checksum"]:
        raise UserError(f"{path}: was edited (it is not as its checksum says); run {stage} again")
    if manifest.kind != kind.name:
        raise UserError(
            f"{result}: is of kind {manifest.kind!r}, not {kind.name!r}; name the {kind.name} that {stage} wrote"
        )
    converted(content, kind.reads, path, stage)
    return manifest


def converted(value: Any, shape: Any, path: Path, stage: str) -> Any:
    """A value read from a path, as the msgspec type `shape`. Raises UserError if the stage writes no such value."""
    try:
        return msgspec.convert(value, shape)
    except NOT_OF_SHAPE as error:
        raise UserError(f"{path}: not a manifest of this version ({error}); run {stage} again") from None


def checked(result: str | Path, kind: Kind, contents: str | None = None) -> Manifest:
    """The manifest of a result of a Kind that has not changed since it was written.

    contents: the hash of the result as it is (default: its fingerprint). Raises UserError as read_manifest does, and
    for a result that has changed.
    """
    manifest = read_manifest(result, kind)
    contents = contents or fingerprint(result)
    if contents != manifest.contents:
        raise UserError(
            f"{result}: has changed since it was written (contents {contents[:12]}, by its manifest "
            f"{manifest.contents[:12]}); run {kind.stage} again"
        )
    return manifest


def link(result: str | Path, model: str, kind: Kind) -> Link:
    """The Link to a finished result of a Kind, of the model of a name."""
    manifest = read_manifest(result, kind)
    return Link(model=model, identity=manifest.identity, contents=manifest.contents)


class TextDigest:
    """SHA-256 over (id, text) pairs in order: which documents an index holds."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, id: str, text: str) -> None:
        for part in (id, text):
            data = part.encode("utf-8", "surrogatepass")
            self._hash.update(len(data).to_bytes(8, "little"))
            self._hash.update(data)

    def hex(self) -> str:
        return self._hash.hexdigest()
