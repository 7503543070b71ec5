"""Edits that nobody means well with: of JSON values by hypothesis, of files that are put back afterwards."""

from contextlib import contextmanager

from hypothesis import strategies as st

from memorization.store.manifests import identity, sealed

MISSING, MORE = object(), object()  # the field is left out; one more stands beside it
VALUES = [
    None,
    True,
    "",
    "x",
    "\ud800",
    "\x00\x1b[2J",
    -1,
    0,
    1,
    3,
    1e308,
    -1e308,
    0.5,
    2**31,
    2**63,
    -(2**63),
    10**400,
]
VALUES += [float("nan"), float("inf"), [], [1], {}, {"x": {"y": [None]}}, MISSING, MORE]


def like(value):
    """Other values of the same type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [0, 1, 2, 0.25, 60, 999, 2**31, 2**62, 1e-300, 1e39, -1e39, 1e308, -1, -value, value + 1]
    if isinstance(value, str):
        return [
            "",
            "_x",
            "held out",
            "members",
            "pan",
            "both",
            "../../x",
            "a" * 64,
            "\ud800",
            "\x1b[2J\n",
            "x" * 10_000,
        ]
    if isinstance(value, list):
        return [[], value[::-1], value * 2, value[:1]]
    return [{}, value and dict([*value.items()][:1])]


def places(value, path=()):
    """The paths of all that is nested in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*path, name)
        yield from places(each, (*path, name))


def at(value, path):
    for name in path:
        value = value[name]
    return value


def changed(value, path, new):
    """A JSON value with something new at a path."""
    if not path:
        return new
    copy = value.copy()
    name, *rest = path
    if new is MORE and not rest and isinstance(copy, dict):
        return copy | {f"{name}_": 1}
    if new in (MISSING, MORE) and not rest:
        del copy[name]
        return copy
    copy[name] = changed(copy[name], rest, new)
    return copy


def edits(value):
    """A strategy: the value with one to three changes, which are told."""

    @st.composite
    def edited(draw):
        now, changes = value, []
        for _ in range(draw(st.integers(1, 3))):
            path = draw(st.sampled_from(list(places(now)) or [()]))
            changes.append((path, draw(st.sampled_from(VALUES) | st.sampled_from(like(at(now, path))))))
            now = changed(now, *changes[-1])
        return now, changes

    return edited()


@contextmanager
def kept(*paths):
    """What is written over in the block is as before behind it."""
    before = {path: path.read_bytes() for path in paths}
    try:
        yield
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def resealed(manifest):
    """A manifest as one edits it who knows how its hashes come about."""
    if isinstance(manifest, dict) and isinstance(manifest.get("made_of"), dict):
        manifest = manifest | {"identity": identity(manifest["made_of"])}
    return sealed(manifest) if isinstance(manifest, dict) else manifest
