"""Aligning given pairs of texts, JSON lines in and out: no index, no model."""

import json
import sys
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from functools import lru_cache, partial
from itertools import islice
from operator import index
from pathlib import Path

from tqdm import tqdm

from memorization.alignment.detector import align, longest_common_run
from memorization.alignment.document import prepare
from memorization.alignment.profiles import PROFILES
from memorization.cli import UserError
from memorization.files import check_apart, locked, parse_jsonl, replacing
from memorization.signals import end_with_parent

BATCH = 64  # pairs handed to a process at a time


def run_pairs(pairs, output, profile, jobs=1):
    """Align the pairs of a JSON-lines file into another, a line for a line; "-" is standard input or output.

    A line has `id`, `suspicious`, `source` and, if the caller has them, `suspicious_sentences` and
    `source_sentences` ([start, end) spans); the line for it `id`, `kind`, `passages` and `longest_common_run`
    (null without a common word). A file is written whole or not at all. Raises UserError for a line that will not do.
    """
    if profile not in PROFILES:
        raise UserError(f"profile {profile!r}: no such profile; use one of {', '.join(PROFILES)}")
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: must be at least 1")
    results = tqdm(_align_numbered(_read(pairs), profile, jobs), unit="pair", disable=None)
    lines = (json.dumps(result) + "\n" for result in results)
    if "-" not in (pairs, output):
        check_apart([output], [pairs])
    if output == "-":
        sys.stdout.writelines(lines)
        return
    with locked(output), replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    print(f"results in {output}", file=sys.stderr)


def align_pairs(rows, profile, jobs=1):
    """Iterate over the result of each row (both as described at run_pairs), in order.

    rows: any iterable of dicts, read as the results are taken. jobs: processes; 1 stays in this one.
    """
    return _align_numbered(enumerate(rows, 1), profile, jobs)


def _align_numbered(rows, profile, jobs):
    batches = _batches(rows)
    work = partial(_align_batch, profile)
    for batch in batches if jobs == 1 else islice(batches, 1):  # what the first one compiles, forked processes have
        yield from work(batch)
    if jobs == 1:
        return
    with ProcessPoolExecutor(jobs, initializer=end_with_parent) as pool:
        waiting = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(work, batch))
                if len(waiting) > 2 * jobs:
                    yield from waiting.popleft().result()
            for done in waiting:
                yield from done.result()
        except BrokenProcessPool:
            raise UserError("a process that aligns died, likely for want of memory; lower --jobs") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _batches(rows):
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


def _align_batch(profile, batch):
    return [_align_row(number, row, profile) for number, row in batch]


def _align_row(number, row, profile):
    if missing := [name for name in ("id", "suspicious", "source") if name not in row]:
        raise UserError(f"line {number}: no {missing[0]!r}; each line needs id, suspicious and source")
    suspicious, source = (_document(number, row, side) for side in ("suspicious", "source"))
    kind, passages = align(suspicious, source, profile)
    run = longest_common_run(suspicious, source)
    return {"id": row["id"], "kind": kind, "passages": passages, "longest_common_run": run}


def _document(number, row, side):
    text, sentences = row[side], row.get(f"{side}_sentences")
    if not isinstance(text, str):
        raise UserError(f"line {number}: {side!r} is not a string; write the text itself")
    try:
        return _prepared(
            text, None if sentences is None else tuple((index(start), index(end)) for start, end in sentences)
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"line {number}: {side}_sentences: {error}; give [start, end) spans in order") from None


_prepared = lru_cache(32)(prepare)  # a generation or a source often comes in neighbouring lines


def _read(path):
    """(line number, object) of each line of a JSON-lines file that is not blank, one at a time."""
    if path != "-" and not Path(path).is_file():
        raise UserError(f"{path}: no such file; check the path, or give - for standard input")
    with nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
        yield from parse_jsonl(file, path)
