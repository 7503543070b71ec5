"""What tells results of stage 5 apart: the settings in which they differ, and what reports call them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memorization.results.formats import visible
from memorization.shell.cli import UserError
from memorization.store.manifests import Manifest

LONGEST = 48  # characters of a name that fits into a table
SOURCES = ("detection", "generations", "training", "index")  # the stages whose settings a manifest of stage 5 holds

Key = tuple[str, str]  # source, name of a setting


def differing_settings(manifests: Sequence[Manifest]) -> dict[str, tuple[Any, ...]]:
    """The name of each setting that not all runs have in common -> its value in every run, None where unknown.

    Settings are those of stage 5, of the generations, of the training and of the index; hashes of contents are none.
    """
    settings = [_settings(manifest) for manifest in manifests]
    keys: dict[tuple[str, tuple], Key] = {}  # by the name and its value in every run: the index repeats generations'
    every = {key for of_run in settings for key in of_run}
    for source, name in sorted(every, key=lambda key: (SOURCES.index(key[0]), key)):
        values = tuple(of_run.get((source, name)) for of_run in settings)
        if len(set(values)) > 1 and not any(map(_is_hash, values)):
            keys.setdefault((name, values), (source, name))
    bare = [name for name, _ in keys]
    return {
        name if bare.count(name) == 1 else f"{source} {name}": values for (name, values), (source, _) in keys.items()
    }


def names_of(manifests: Sequence[Manifest], directories: Sequence[str]) -> list[str]:
    """A name for each run: the settings that not all have in common, and its directory where these do not tell it."""
    settings = differing_settings(manifests)
    names = [
        ", ".join(f"{label} {_shown(values[run])}" for label, values in settings.items())
        for run in range(len(manifests))
    ]
    if len(set(names)) == len(names) and all(names):
        return names
    if len({Path(directory).resolve() for directory in directories}) < len(directories):
        raise UserError("a result is named twice; name each once")
    return [f"{directory}: {name}" if name else directory for directory, name in zip(directories, names, strict=True)]


def labels_of(manifests: Sequence[Manifest], names: Sequence[str]) -> list[str]:
    """What fits into a table for each run: its name, or what sets its model and data apart by name, or its number."""
    called = [[visible(str(one.arguments.get(argument))) for argument in ("type", "dataset")] for one in manifests]
    different = [column for column in zip(*called, strict=True) if len(set(column)) > 1]
    short = [", ".join(dict.fromkeys(parts)) for parts in zip(*different, strict=True)]
    for labels in (list(names), short):
        if len(set(labels)) == len(manifests) and max(map(len, labels)) <= LONGEST:
            return labels
    return [f"run {number}" for number in range(1, len(names) + 1)]


def encodings_of(manifests: Sequence[Manifest]) -> list[str | None]:
    """The identity of the data that each run is of, None where it is not known."""
    settings = [_settings(manifest) for manifest in manifests]
    return [of_run.get(("generations", "encoding")) or of_run.get(("training", "encoding")) for of_run in settings]


def one_setting(manifests: Sequence[Manifest]) -> tuple[str | None, tuple[Any, ...]]:
    """(name, its value in every run) of the one setting in which runs differ, or (None, ()).

    A setting that only tells that another is on (None in some runs, else one value), or has the values of another,
    follows from it. If no setting differs but the data do, their names are it, or else the models'. Runs that differ
    in a setting and in the data, or in the model they began from too, cannot tell which of the two made the difference.
    """
    if len(manifests) < 2:
        return None, ()
    settings = {values: name for name, values in reversed(differing_settings(manifests).items())}
    leading = {values: name for values, name in settings.items() if len({*values} - {None}) > 1}
    if not leading and len({tuple(value is None for value in values) for values in settings}) == 1:
        leading = dict([list(settings.items())[-1]])
    trained = [manifest.facts["training"] or {} for manifest in manifests]
    data = len(set(encodings_of(manifests))) > 1
    began = len({(one.get("base_model"), one.get("configuration")) for one in trained}) > 1
    models = len({(manifest.facts["generations"] or {}).get("model") for manifest in manifests}) > 1
    if settings and not data and not began and len(leading) == 1:
        [(values, name)] = leading.items()
        return name, values
    if not settings and data != began and (data or models):
        name, argument = ("data", "dataset") if data else ("model", "type")
        values = tuple(manifest.arguments.get(argument) for manifest in manifests)
        return (name, values) if len(set(values)) == len(values) else (None, ())
    return None, ()


def _settings(manifest: Manifest) -> dict[Key, Any]:
    sources = {name: manifest.facts.get(name) for name in SOURCES} | {"detection": manifest.made_of}
    settings: dict[Key, Any] = {}
    for source, made_of in sources.items():
        for name, value in made_of.items() if isinstance(made_of, dict) else ():
            nested = value if isinstance(value, dict) else {"": value}
            settings |= {(source, f"{name} {inner}".strip()): _hashable(one) for inner, one in nested.items()}
    return settings


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, list | dict) else value


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{16,}( [0-9a-f]{16,})*", value) is not None


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else visible(str(value))
