"""Stage 3's rows, one a generation, and the published listing of their texts beside them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from memorization.encoding.probes import read_probes
from memorization.extraction.kinds import GENERATIONS
from memorization.extraction.matches import Near
from memorization.extraction.scores import Scores
from memorization.shell.cli import UserError
from memorization.store.files import fingerprint, read_text, replacing
from memorization.store.manifests import Count, Manifest, Positive
from memorization.store.rows import Id, Key, Keyed, StoredRows

FORMAT = 8  # of these rows; raise it when a field or its meaning changes
NOT_LISTED = dict.fromkeys(  # fields that a listing without rows does not have -> why
    ("generation_ids", "matched_tokens", "exact_match", "near", "scores"), "a listing holds texts alone"
)
RULE = "=" * 23  # behind a generation's number in the listing


class Reach(msgspec.Struct, forbid_unknown_fields=True):
    """How far into its suffix a generation can come: the tokens that it may have, and their characters."""

    tokens: Positive
    characters: Count


class Generation(Keyed, kw_only=True, forbid_unknown_fields=True):
    """A model's continuation of a probe's prefix (design.md, Terms).

    id: of the sample, its first row in the data. turn: which turn of it is asked for, 0 of a text. sample: 0 to
    num_samples - 1, which of the probe's generations.
    """

    member: bool
    duplicates: Positive  # of the sample on its side of the split
    cluster: Id  # of the sample: the id of the first sample of its near-duplicates
    prefix: str
    suffix: str
    reach: Reach | None  # None where the tokens are not known
    text: str = msgspec.field(name="generation")  # what the model said, the prompt stripped
    generation_ids: list[Count]
    matched_tokens: Count | None  # of the suffix's, from the start; None where the tokens are not known
    exact_match: bool | None
    near: Near | None
    scores: Scores | None  # of the probe: they stand in its first generation

    def __post_init__(self) -> None:
        if (self.matched_tokens or 0) > len(self.generation_ids):
            raise ValueError(f"{self.matched_tokens} matched tokens of {len(self.generation_ids)}")
        if self.reach and self.reach.characters > len(self.suffix):
            raise ValueError(f"{self.reach.characters} characters of a suffix of {len(self.suffix)}")


def write_listing(path: Path, rows: Iterable[Generation], num_samples: int = 1) -> None:
    """Write the published listing: each generation's id (id.sample where there are several), 23 equal signs, its text.

    rows: Generation objects, one at a time. Behind the id of a later turn than the first stands its number: id/turn.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for row in rows:
            turn = f"/{row.turn}" if row.turn else ""
            sample = f".{row.sample}" if num_samples > 1 else ""
            file.write(f"{row.id}{turn}{sample}{RULE}\n{row.text}\n")


def read_listing(path: Path) -> dict[Key, str]:
    """The text of each generation. Raises UserError if there is no header line, or a generation stands twice."""
    headers = list(
        re.finditer(rf"^([0-9]+)(?:/([0-9]+))?(?:\.([0-9]+))?{RULE}\n", text := read_text(path), re.MULTILINE)
    )
    if not headers or headers[0].start() != 0:
        raise UserError(f"{path}: does not begin with a line such as 0{RULE}; name a listing written by stage 3")
    texts = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        numbers = header.groups("0")
        if max(map(len, numbers)) > 18:
            raise UserError(f"{path}: {header[0][:30]}... is no number of a sample; mend that line")
        key = int(numbers[0]), int(numbers[1]), int(numbers[2])
        if key in texts:
            raise UserError(f"{path}: {header[0].partition('=')[0]} is listed twice; remove one")
        # the line end before the next header is the listing's, not the text's
        texts[key] = text[header.end() : following.start() if following else None].removesuffix("\n")
    return texts


def read_generations(
    path: str | Path, probes: str | Path | None = None, unchecked: bool = False
) -> tuple[Sequence[Generation], Manifest | None]:
    """Stage 3's rows, a sequence of Generation, and their manifest.

    path: the .jsonl, or the listing beside it. A listing without one, as other code writes it, is taken only if
    `unchecked`, with the rest of its rows from `probes` (a <name>_prefix.json), without metrics and manifest. Raises
    UserError for rows that are not as their manifest says, a listing of another run than the rows beside it, and
    probes of other samples than the listing.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a directory; name the .jsonl in it that inference_prefix.py wrote")
    beside = path.with_suffix(".jsonl")
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path, or run inference_prefix.py, which writes it")
    if path != beside and not beside.exists():
        return _read_foreign(path, probes, unchecked), None
    rows = StoredRows(beside, GENERATIONS, Generation)
    if path != beside and (contents := fingerprint(path)) != rows.manifest.facts["listing"]:
        raise UserError(
            f"{path}: is not the listing of {beside} beside it (contents {contents[:12]}, by the manifest "
            f"{rows.manifest.facts['listing'][:12]}); name {beside.name}, or run inference_prefix.py again"
        )
    return rows, rows.manifest


def _read_foreign(path: Path, probes: str | Path | None, unchecked: bool) -> list[Generation]:
    if not (unchecked and probes):
        raise UserError(
            f"{path}: has no .jsonl beside it, so nothing is known of its model and probes; "
            "--unchecked --probes <name>_prefix.json takes it as it is"
        )
    texts = read_listing(path)
    records = {(record["id"], record.get("turn", 0)): record for record in read_probes(probes)}
    if strangers := {id for id, _ in records.keys() ^ {key[:2] for key in texts}}:
        raise UserError(
            f"{path} and {probes} differ in {len(strangers)} ids, {min(strangers)} for one: they are not of one run; "
            "name the right probes by --probes"
        )
    unknown: dict = dict.fromkeys(("matched_tokens", "exact_match", "near", "scores", "reach"))
    return [
        Generation(
            **(records[id, turn] | {"turn": turn}), sample=sample, cluster=id, text=text, generation_ids=[], **unknown
        )
        for (id, turn, sample), text in texts.items()
    ]
