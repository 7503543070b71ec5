"""Stage 3's output: JSON lines, and the published listing (each sample's number, 23 equal signs, then its text)."""

import re
from pathlib import Path

from memorization.cli import UserError
from memorization.encoding.probes import read_probes
from memorization.files import read_jsonl, read_text, write_text

RULE = "=" * 23


def write_listing(path, texts):
    """texts: dict id -> text."""
    write_text(path, "".join(f"{i}{RULE}\n{text}\n" for i, text in texts.items()))


def read_listing(path):
    """dict id -> text. Raises UserError if there is no header line, or an id stands twice."""
    headers = list(re.finditer(rf"^(\d+){RULE}\n", text := read_text(path), re.MULTILINE))
    if not headers or headers[0].start() != 0:
        raise UserError(f"{path}: does not begin with a line such as 0{RULE}; name a listing written by stage 3")
    texts = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        i = int(header[1])
        if i in texts:
            raise UserError(f"{path}: sample {i} is listed twice; remove one")
        # the line end before the next header is the listing's, not the text's
        texts[i] = text[header.end() : following.start() if following else None].removesuffix("\n")
    return texts


def read_generations(path, probes=None, default_probes=None):
    """Stage 3's rows (id, member, duplicates, prefix, ..., generation) and the list of files that they are from.

    path: JSON lines, which hold all of it, or a listing, which has the texts only: then the rest is taken from the
    file `probes`, else from the JSON lines beside the listing, else from the file `default_probes`. Raises UserError
    if the two are not about the same samples.
    """
    path = Path(path)
    beside = path.with_suffix(".jsonl")
    if path == beside:
        generations = {row["id"]: row["generation"] for row in _read_rows(path)}
    else:
        generations = read_listing(path)
    if probes is None and beside.is_file():
        source, records = beside, _read_rows(beside)
    else:
        source = Path(probes or default_probes)
        records = read_probes(source)
    strangers = {record["id"] for record in records} ^ generations.keys()
    if strangers:
        raise UserError(
            f"{path} and {source} differ in {len(strangers)} ids, {min(strangers)} for one: they are not of one run; "
            "run inference_prefix.py again, or name the right probes by --probes"
        )
    return [{**record, "generation": generations[record["id"]]} for record in records], [path, source]


def _read_rows(path):
    rows = read_jsonl(path)
    if not rows:
        raise UserError(f"{path}: no generations in it; run inference_prefix.py again")
    for number, row in enumerate(rows, 1):
        missing = {"id", "member", "duplicates", "prefix", "generation"} - row.keys()
        if missing:
            raise UserError(f"{path}: row {number} has no {', '.join(sorted(missing))}; name a file that stage 3 wrote")
    return rows
