"""What tells results of stage 5 apart: the settings in which they differ, and what they are called."""

import re
from pathlib import Path

from memorization.results.layout import visible
from memorization.shell.cli import UserError

LONGEST = 48  # characters of a name that fits into a table
SOURCES = ("detection", "generations", "training", "index")  # the stages whose settings a manifest of stage 5 tells


def differing(manifests):
    """dict: the name of each setting that not all runs have in common -> its value in every run, None where unknown.

    Settings are those of stage 5, of the generations, of the training and of the index; contents (hashes) are none.
    """
    settings = [_settings(manifest) for manifest in manifests]
    keys = {}  # (name, its value in every run) -> (source, name): the index repeats what the generations say
    for source, name in sorted({key for one in settings for key in one}, key=lambda key: (SOURCES.index(key[0]), key)):
        values = tuple(one.get((source, name)) for one in settings)
        if len(set(values)) > 1 and not any(map(_is_hash, values)):
            keys.setdefault((name, values), (source, name))
    bare = [name for name, _ in keys]
    return {
        name if bare.count(name) == 1 else f"{source} {name}": values for (name, values), (source, _) in keys.items()
    }


def names(manifests, directories):
    """A name for each run: the settings that not all have in common, and its directory where these do not tell it."""
    settings = differing(manifests)
    named = [
        ", ".join(f"{label} {_shown(values[run])}" for label, values in settings.items())
        for run in range(len(manifests))
    ]
    if len(set(named)) == len(named) and all(named):
        return named
    if len({Path(directory).resolve() for directory in directories}) < len(directories):
        raise UserError("a result is named twice; name each once")
    return [f"{directory}: {name}" if name else directory for directory, name in zip(directories, named, strict=True)]


def labels(manifests, names):
    """What fits into a table for each run: its name, or what sets its model and data apart by name, or its number."""
    told = [[visible(str(one.arguments.get(argument))) for argument in ("type", "dataset")] for one in manifests]
    different = [column for column in zip(*told, strict=True) if len(set(column)) > 1]
    called = [", ".join(dict.fromkeys(parts)) for parts in zip(*different, strict=True)]
    for found in (names, called):
        if len(set(found)) == len(manifests) and max(map(len, found)) <= LONGEST:
            return found
    return [f"run {number}" for number in range(1, len(names) + 1)]


def encodings(manifests):
    """The identity of the data that each run is of, None where it is not known."""
    found = [_settings(manifest) for manifest in manifests]
    return [one.get(("generations", "encoding")) or one.get(("training", "encoding")) for one in found]


def setting(manifests):
    """(name, its value in every run) of the one setting in which runs differ, or (None, ()).

    A setting that only says that another is on (None in some runs, else one value), or has the values of another,
    follows from it. Where no setting differs but the data do, their names are it, or else the models'. Runs that differ
    in a setting and in the data, or in the model they began from too, cannot tell which of the two did it.
    """
    if len(manifests) < 2:
        return None, ()
    found = {values: name for name, values in reversed(differing(manifests).items())}
    leading = {values: name for values, name in found.items() if len({*values} - {None}) > 1}
    if not leading and len({tuple(value is None for value in values) for values in found}) == 1:
        leading = dict([list(found.items())[-1]])
    trained = [manifest.facts["training"] or {} for manifest in manifests]
    data = len(set(encodings(manifests))) > 1
    began = len({(one.get("base_model"), one.get("configuration")) for one in trained}) > 1
    models = len({(manifest.facts["generations"] or {}).get("model") for manifest in manifests}) > 1
    if found and not data and not began and len(leading) == 1:
        [(values, name)] = leading.items()
        return name, values
    if not found and data != began and (data or models):
        name, argument = ("data", "dataset") if data else ("model", "type")
        values = tuple(manifest.arguments.get(argument) for manifest in manifests)
        return (name, values) if len(set(values)) == len(values) else (None, ())
    return None, ()


def _settings(manifest):
    sources = {name: manifest.facts.get(name) for name in SOURCES} | {"detection": manifest.made_of}
    found = {}
    for source, made_of in sources.items():
        for name, value in made_of.items() if isinstance(made_of, dict) else ():
            nested = value if isinstance(value, dict) else {"": value}
            found |= {(source, f"{name} {inner}".strip()): _frozen(one) for inner, one in nested.items()}
    return found


def _frozen(value):
    return str(value) if isinstance(value, list | dict) else value


def _is_hash(value):
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{16,}( [0-9a-f]{16,})*", value) is not None


def _shown(value):
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else visible(str(value))
