"""Where results lie (design.md, Files between the stages)."""

from pathlib import Path, PurePath


def encoding_paths(directory, name):
    """Of an encoding, the paths of its training set, held-out set, probes and probes as text: dict kind -> Path."""
    directory = Path(directory)
    return {
        "training set": directory / f"tokenized_{name}_train",
        "held-out set": directory / f"tokenized_{name}_test",
        "probes": directory / f"tokenized_{name}_prefix",
        "probes as text": directory / f"{name}_prefix.json",
    }


def canaries_path(directory, name):
    """Of an encoding that has canaries, their path."""
    return Path(directory) / f"{name}_canaries.json"


def generations_path(directory, dir_name, subset_name, output_name):
    """Of stage 3: memorization_<dir_name>/<subset_name>/<output_name>.jsonl."""
    return Path(directory) / f"memorization_{dir_name}" / subset_name / f"{output_name}.jsonl"


def base_path(path):
    """Of a result of stage 3 or 5, the same of the base model: <name>.base.jsonl beside <name>.jsonl."""
    return path.with_name(f"{path.stem}.base.jsonl")


def exposures_path(path):
    """Of generations, what stage 3 tells of the canaries: <name>.canaries.jsonl beside <name>.jsonl."""
    return path.with_name(f"{path.stem}.canaries.jsonl")


def detections_path(directory, type, dataset):
    """Of stage 5: <type>/<dataset>/detections.jsonl under a directory, which no spelling of the two leaves."""
    parts = [part for name in (type, dataset) for part in PurePath(name).parts if part not in ("/", "..")]
    return Path(directory, *parts) / "detections.jsonl"
