"""Stage 3's rows of the canaries, one each, beside the generations."""

from pathlib import Path
from typing import Annotated

import msgspec

from memorization.extraction.kinds import EXPOSURES
from memorization.extraction.scores import Log
from memorization.shell.cli import UserError
from memorization.store.locations import exposures_path
from memorization.store.manifests import Count, Manifest, Positive
from memorization.store.rows import Keyed, StoredRows

FORMAT = 3  # of these rows; raise it when a field or its meaning changes
Bits = Annotated[float, msgspec.Meta(ge=0)]


class Exposure(Keyed, kw_only=True, forbid_unknown_fields=True):
    """Of a canary (encoding.canary_secrets.Canary). log_likelihood: of its secret's tokens. exposure: in bits
    (extraction.secret_ranks). error: its standard error where the rank is estimated, None if it is exact. extracted:
    whether greedy decoding of the prefix gives the secret.
    """

    pair: Count
    copies: Positive
    planted: bool
    log_likelihood: Log
    exposure: Bits
    error: Bits | None
    extracted: bool

    def __post_init__(self) -> None:
        if float(self.log_likelihood) > 0:
            raise ValueError("a probability over 1")


def read_exposures(path: str | Path, manifest: Manifest) -> StoredRows | None:
    """The StoredRows of the canaries beside generations, None where there are none. manifest: of the generations.

    Raises UserError as StoredRows does, and for those of another run.
    """
    if (identity := manifest.facts["canaries"]) is None:
        return None
    beside = exposures_path(Path(path))
    rows = StoredRows(beside, EXPOSURES, Exposure)
    if rows.manifest.identity != identity:
        raise UserError(f"{beside}: is of another run than {path} beside it; run inference_prefix.py again")
    return rows
