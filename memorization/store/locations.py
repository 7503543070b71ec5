"""Where results lie (design.md, Files between the stages)."""

from pathlib import Path, PurePath


def encoding_paths(directory: str | Path, name: str) -> dict[str, Path]:
    """The paths of the training set, held-out set, probes and probes as text of an encoding, by kind."""
    directory = Path(directory)
    return {
        "training set": directory / f"tokenized_{name}_train",
        "held-out set": directory / f"tokenized_{name}_test",
        "probes": directory / f"tokenized_{name}_prefix",
        "probes as text": directory / f"{name}_prefix.json",
    }


def canaries_path(directory: str | Path, name: str) -> Path:
    """The path of the canaries of an encoding that has some."""
    return Path(directory) / f"{name}_canaries.json"


def span_index_path(indexes: str | Path, encoding: str) -> Path:
    """The directory of all samples of an encoding, their texts and words, among the indexes."""
    return Path(indexes) / f"spans-{encoding}"


def generations_path(directory: str | Path, dir_name: str, subset_name: str, output_name: str) -> Path:
    """Of stage 3: memorization_<dir_name>/<subset_name>/<output_name>.jsonl."""
    return Path(directory) / f"memorization_{dir_name}" / subset_name / f"{output_name}.jsonl"


def base_path(path: Path) -> Path:
    """The base model's result beside one of stage 3 or 5: <name>.base.jsonl beside <name>.jsonl."""
    return path.with_name(f"{path.stem}.base.jsonl")


def exposures_path(path: Path) -> Path:
    """The exposures of canaries beside generations: <name>.canaries.jsonl beside <name>.jsonl."""
    return path.with_name(f"{path.stem}.canaries.jsonl")


def detections_path(directory: str | Path, type: str, dataset: str) -> Path:
    """Of stage 5: <type>/<dataset>/detections.jsonl under a directory, which no spelling of the two leaves."""
    parts = [part for name in (type, dataset) for part in PurePath(name).parts if part not in ("/", "..")]
    return Path(directory, *parts) / "detections.jsonl"
