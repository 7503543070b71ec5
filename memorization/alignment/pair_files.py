"""Aligning given pairs of texts, JSON lines in and out: no index, no model."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from tqdm import tqdm

from memorization.alignment.detector import align, longest_common_run
from memorization.alignment.document import prepare
from memorization.alignment.profiles import PROFILES
from memorization.shell.cli import UserError
from memorization.shell.parallel import batches, in_order
from memorization.store.files import NOT_OF_SHAPE, check_apart, locked, parse_jsonl, replacing

BATCH = 64  # pairs handed to a process at a time


class Pair(msgspec.Struct, forbid_unknown_fields=True):
    """A line of the input. A field of another name is refused: a mistyped `source_sentences` would go unseen."""

    id: str | int
    suspicious: str
    source: str
    suspicious_sentences: list[tuple[int, int]] | None = None
    source_sentences: list[tuple[int, int]] | None = None


def run_pairs(pairs: str, output: str, profile: str, jobs: int = 1) -> None:
    """Align the pairs of a JSON-lines file into another, a line for a line; "-" is standard input or output.

    A line has `id` (a text or a whole number), `suspicious`, `source` and, if the caller has them,
    `suspicious_sentences` and `source_sentences` ([start, end) spans), and no more; the line for it has `id`, `kind`,
    `passages` and `longest_common_run` (null without a common word). A file is written whole or not at all. Raises
    UserError for a line of another shape.
    """
    if profile not in PROFILES:
        raise UserError(f"profile {profile!r}: no such profile; use one of {', '.join(PROFILES)}")
    results = tqdm(align_pairs(_read(pairs), profile, jobs), unit="pair", disable=None)
    lines = (json.dumps(result) + "\n" for result in results)
    if "-" not in (pairs, output):
        check_apart([output], [pairs])
    if output == "-":
        sys.stdout.writelines(lines)
        return
    with locked(output), replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    print(f"results in {output}", file=sys.stderr)


def align_pairs(rows: Iterable[tuple[str, Any]], profile: str, jobs: int = 1) -> Iterator[dict[str, Any]]:
    """Iterate over the result of each row (both as described at run_pairs), in order.

    rows: what a message calls each row, and the row; read as the results are taken. jobs: processes; 1 is this one.
    """
    todo = batches(rows, BATCH)
    work = partial(_align_batch, profile)
    for batch in islice(todo, 1):  # what this one compiles, forked processes have
        yield from work(batch)
    for _, results in in_order(work, todo, jobs):
        yield from results


def _align_batch(profile, batch):
    return [_align_row(where, row, profile) for where, row in batch]


def _align_row(where, row, profile):
    try:
        pair = msgspec.convert(row, Pair)
    except NOT_OF_SHAPE as error:
        raise UserError(f"{where}: {error}; a line has {', '.join(Pair.__struct_fields__)}") from None
    suspicious = _document(where, "suspicious", pair.suspicious, pair.suspicious_sentences)
    source = _document(where, "source", pair.source, pair.source_sentences)
    kind, passages = align(suspicious, source, profile)
    run = longest_common_run(suspicious, source)
    return {"id": pair.id, "kind": kind, "passages": passages, "longest_common_run": run}


def _document(where, side, text, sentences):
    try:
        return _prepared(text, None if sentences is None else tuple(sentences))
    except ValueError as error:
        raise UserError(f"{where}: {side}_sentences: {error}; give [start, end) spans in order") from None


_prepared = lru_cache(32)(prepare)  # a generation or a source often comes in neighbouring lines


def _read(path):
    """(where it stands, object) of each line of a JSON-lines file that is not blank, one at a time."""
    if path != "-" and not Path(path).is_file():
        raise UserError(f"{path}: no such file; check the path, or give - for standard input")
    with nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
        for number, row in parse_jsonl(file, path):
            yield f"{path}: line {number}", row
