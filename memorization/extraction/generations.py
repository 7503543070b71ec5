"""Stage 3's rows: one a generation."""

import msgspec

FORMAT = 2  # of these rows; raise it when a field or its meaning changes


class Generation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A model's continuation of a probe's prefix (design.md, Terms)."""

    id: int  # of the sample: its first row in the data
    sample: int  # 0 to num_samples - 1: which of the probe's generations
    member: bool
    duplicates: int  # copies of the sample on its side of the split
    prefix: str
    suffix: str
    generation: str  # the prompt stripped
    generation_ids: list[int]
    matched_tokens: int | None  # of the suffix's, from the start; None where the tokens are not known
    exact_match: bool | None
