"""The settings of stage 3."""

from dataclasses import dataclass
from pathlib import Path

from memorization.extraction.engine import DecodingSettings
from memorization.store import locations


@dataclass(frozen=True)
class ExtractionSettings:
    """Stage 3's flags (inference_prefix.py --help). adapter: None for none; then a model_path is needed."""

    model_path: str | None
    token_path: str | None
    base_model: str | None
    subset_name: str
    output_name: str
    dir_name: str
    tokenized_dir: str
    output_dir: str
    overwrite: bool
    unchecked: bool
    probe: str | None
    prefix_length: int | None
    probes: str | None
    shared_prompts: bool
    members: int | None
    held_out: int | None
    max_new_tokens: int
    batch_size: int
    dtype: str
    temperature: float
    top_k: int
    top_p: float
    token_scores: bool
    num_samples: int
    seed: int
    adapter: list[str] | None = None

    @property
    def decoding(self) -> DecodingSettings:
        return DecodingSettings(self.max_new_tokens, self.temperature, self.top_k, self.top_p, self.seed)

    @property
    def path(self) -> Path:
        """Where the generations lie."""
        return locations.generations_path(self.output_dir, self.dir_name, self.subset_name, self.output_name)
