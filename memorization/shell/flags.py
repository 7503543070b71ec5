"""Types of flags for argparse: numbers within a range, texts, names. An error is one line with the remedy."""

from argparse import ArgumentTypeError
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path, PurePath

LARGEST = 2**31 - 1
SEEDS = 2**32 - 1  # the largest that numpy takes
PROCESSES = 1024


@dataclass(frozen=True)
class Range:
    """A number from `least` to `most`, finite. over, under: `least`, `most` itself is not allowed; also: this is."""

    least: float
    most: float = inf
    number: type[int] | type[float] = float
    over: bool = False
    under: bool = False
    also: float | None = None

    def __call__(self, text: str) -> int | float:
        try:
            value = self.number(text)
        except ValueError:
            value = nan
        if value not in self:
            raise ArgumentTypeError(f"must be {self}, not {text!r}")
        return value

    def __contains__(self, value: float) -> bool:
        above = self.least < value if self.over else self.least <= value
        below = value < self.most if self.under or self.most == inf else value <= self.most
        return value == self.also or above and below

    def __str__(self) -> str:
        least = f"{'over' if self.over else 'from'} {self.least:g}"
        most = f" {'and under' if self.under else 'to'} {self.most:.10g}" if self.most < inf else ""
        also = "" if self.also is None else f", or {self.also:g}"
        return f"a {'whole ' if self.number is int else ''}number {least}{most}{also}"


def whole(least: int, most: int = LARGEST) -> Range:
    """A whole number from `least` to `most`."""
    return Range(least, most, int)


def any_text(text: str) -> str:
    """A text that may be empty, where that says that there is none."""
    if "\0" in text:
        raise ArgumentTypeError("must not hold a NUL")
    return text


def text(text: str) -> str:
    """A text; the type of a flag that names no other."""
    if not text:
        raise ArgumentTypeError("must not be empty; give a value or leave the flag out")
    return any_text(text)


def path(name: str) -> Path:
    """A path; Path("") would be the working directory."""
    return Path(text(name))


def file_name(name: str) -> str:
    """The name of one file or directory."""
    if "/" in nested_name(name):
        raise ArgumentTypeError(f"{name!r} is a name, not a path; leave out / and give the directory by another flag")
    return name


def nested_name(name: str) -> str:
    """The name of directories below one of ours; no spelling leaves that (locations.detections_path)."""
    if not text(name).isprintable():
        raise ArgumentTypeError(f"{name!r} must have none but printable characters")
    if not set(PurePath(name).parts) - {"/", ".."}:
        raise ArgumentTypeError(f"{name!r} names no directory; give it a name")
    return name
