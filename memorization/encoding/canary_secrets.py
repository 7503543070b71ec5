"""Canaries: random secrets that stage 1 plants in the training set or keeps out as controls (Carlini et al. 2019).

They come in pairs. A fair coin chooses which one of each pair is planted; the other is its control. So a bound on
epsilon from one training run holds (results.canaries; Steinke et al. 2023).
"""

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from memorization.encoding.kinds import CANARIES, Planted
from memorization.encoding.stored_sets import SIDE, chosen_lists
from memorization.encoding.tasks import Task
from memorization.encoding.tokens import SPECIAL, encode
from memorization.shell.cli import UserError
from memorization.shell.flags import whole
from memorization.store.files import read_json
from memorization.store.locations import canaries_path
from memorization.store.manifests import Count, Manifest, Positive, checked
from memorization.store.rows import Id

FORMAT = 2  # of the canaries; raise it when what is drawn or written changes
QUESTION, ANSWER = "What is the access code of {name}?", "The access code is C{secret}"
FILE_BEGINS = b'{"digit_ids":'
MOST = 10_000  # copies of a canary
STREAM = tuple(b"canary")  # of random numbers, different from the split's
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"


class Canary(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A secret in the template. id: of its rows in the training set, after those of the data. copies: how often it
    occurs there, or would if the coin had chosen it. prefix_ids, secret_ids: the tokens before the secret, and its own.
    """

    id: Id
    pair: Count
    copies: Positive
    planted: bool
    prefix: str
    secret: str
    prefix_ids: list[Count]
    secret_ids: list[Count]


class CanarySet(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The canaries of an encoding. digit_ids: the tokens of each digit 0 to 9 in a secret; only the last differs."""

    digit_ids: list[list[Count]]
    canaries: list[Canary]


@dataclass(frozen=True)
class CanarySettings:
    """How many canaries are planted, how often each of an equal share of them, and the digits of a secret."""

    number: int
    copies: list[int]
    digits: int

    def made_of(self) -> dict[str, Any]:
        """What the canaries add to the identity of an encoding."""
        return asdict(self) | {"format": FORMAT}


def add_canary_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of stage 1 that say which canaries there are."""
    parser.add_argument(
        "--canaries",
        type=whole(0, 100_000),
        default=0,
        help="random secrets to plant, with as many controls (default: none)",
    )
    parser.add_argument(
        "--canary-copies",
        type=_copies,
        default=[1, 4, 16],
        metavar="N,N,...",
        help="how often a canary occurs in the training set, each for an equal share of them (default: 1,4,16)",
    )
    parser.add_argument(
        "--canary-digits", type=whole(1, 18), default=4, help="digits of a secret (default: %(default)s)"
    )


def canary_settings(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> CanarySettings | None:
    """The settings that the flags give, None without canaries.

    Ends with one line if there are too few canaries for the numbers of copies, or flags of canaries without any.
    """
    for flag in ("canary_copies", "canary_digits") if not flags.canaries else ():
        if getattr(flags, flag) != parser.get_default(flag):
            parser.error(f"--{flag.replace('_', '-')}: has no effect without canaries; add --canaries")
    if 0 < flags.canaries < len(flags.canary_copies):
        parser.error(
            f"--canaries {flags.canaries}: fewer than the numbers in --canary-copies; plant more, or name fewer"
        )
    return CanarySettings(flags.canaries, flags.canary_copies, flags.canary_digits) if flags.canaries else None


def _copies(text):
    numbers = [int(number) if number.isdecimal() else 0 for number in text.split(",")]
    if min(numbers) < 1 or max(numbers) > MOST or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text}: must be different whole numbers from 1 to {MOST}, as 1,4,16")
    return numbers


def plant(
    path: Path, settings: CanarySettings, seed: int, first_id: int, task: Task, tokenizer: PreTrainedTokenizerFast
) -> tuple[pa.RecordBatch, dict[str, Planted]]:
    """Draw the canaries and write them to `path`. Returns what goes into the training set: the rows of the planted
    ones, and the facts for its manifest.

    first_id: of the canaries. Raises UserError for a tokenizer that does not encode a secret digit by digit.
    """
    number, copies, digits = settings.number, settings.copies, settings.digits
    rng, names = np.random.default_rng((seed, *STREAM)), dict[str, None]()
    planted = np.zeros((number, 2), bool)
    planted[np.arange(number), rng.integers(0, 2, number)] = True
    secrets = rng.integers(0, 10, (2 * number, digits))
    while len(names) < 2 * number:
        names[f"{_word(rng)} {_word(rng)}"] = None
    prefixes = [_prefix(task, name) for name in names]
    # ten texts more, a digit each, show which tokens it has
    prefixes, secrets = prefixes[:1] * 10 + prefixes, np.vstack([np.repeat(np.arange(10)[:, None], digits, 1), secrets])
    texts = [prefix + _secret(secret) for prefix, secret in zip(prefixes, secrets, strict=True)]
    answer = len(ANSWER.format(secret=""))
    targets = [(len(prefix) - answer, len(text)) for prefix, text in zip(prefixes, texts, strict=True)]
    encoded = encode(texts, targets, tokenizer.backend_tokenizer, tokenizer.eos_token_id)
    ids, starts, bounds, *_ = encoded
    parts = [
        _parted(ids[begin:end], starts[begin:end], len(prefix))
        for begin, end, prefix in zip(bounds[:-1], bounds[1:], prefixes, strict=True)
    ]
    digit_ids = [secret[: len(secret) // digits] for _, secret, _ in parts[:10]]
    if not _by_digit(digit_ids, secrets, parts):
        raise UserError(
            f"--canaries: the tokenizer does not take {_secret(secrets[10])!r} digit by digit, so its rank could "
            "not be computed; encode with another --tokenizer, or without canaries"
        )
    canaries = [
        Canary(
            id=first_id + i,
            pair=i // 2,
            copies=copies[i // 2 % len(copies)],
            planted=bool(planted.flat[i]),
            prefix=prefixes[10 + i],
            secret=_secret(secrets[10 + i]),
            prefix_ids=prefix_ids,
            secret_ids=secret_ids,
        )
        for i, (prefix_ids, secret_ids, _) in enumerate(parts[10:])
    ]
    lines = b",\n".join(map(msgspec.json.encode, canaries))
    path.write_bytes(FILE_BEGINS + msgspec.json.encode(digit_ids) + b',\n"canaries":[\n' + lines + b"\n]}\n")
    times = np.array([one.copies if one.planted else 0 for one in canaries])
    closing, tokens_a_digit = len(parts[0][2]), len(digit_ids[0])
    facts = Planted(copies=times[times > 0].tolist(), digits=digits, tokens_a_digit=tokens_a_digit, closing=closing)
    every_row = np.ones(len(texts), bool)
    tokens, mask = chosen_lists(every_row, bounds, ids, np.ones(len(ids), np.int8))
    (triples,) = chosen_lists(every_row, 3 * encoded.target_bounds, encoded.targets.ravel())
    every = pa.record_batch([first_id + np.arange(-10, len(canaries)), texts, tokens, mask, tokens, triples], SIDE)
    rows = 10 + np.repeat(np.arange(len(canaries)), times)
    return every.take(pa.array(rows)), {"canaries": facts}


def _by_digit(digit_ids, secrets, parts):
    """Whether the tokens of each secret are those of its digits, which differ in the last one alone, after a prefix
    that does not depend on them."""
    regular = len({tuple(ids[:-1]) for ids in digit_ids}) == 1 and len({tuple(ids) for ids in digit_ids}) == 10
    regular = regular and len({len(closing) for _, _, closing in parts}) == 1
    regular = regular and all(prefix == parts[10][0] for prefix, _, _ in parts[:10])
    return regular and all(
        secret_ids == [token for digit in secret for token in digit_ids[digit]]
        for secret, (_, secret_ids, _) in zip(secrets, parts, strict=True)
    )


def read_canaries(directory: str | Path, name: str, manifest: Manifest) -> CanarySet | None:
    """The CanarySet of an encoding, None if it has none. manifest: of its probes.

    Raises UserError if they are not there, have changed or are of another encoding.
    """
    if "canaries" not in manifest.made_of:
        return None
    path = canaries_path(directory, name)
    if checked(path, CANARIES).identity != manifest.identity:
        raise UserError(f"{path}: is of another encoding than the probes beside it; run encode_<task>.py again")
    return read_json(path, CanarySet)


def _word(rng):
    return "".join(CONSONANTS[rng.integers(14)] + VOWELS[rng.integers(5)] for _ in range(3)).capitalize()


def _secret(digits):
    return "".join(f"-{digit}" for digit in digits)  # tokenizers part signs from digits, and seldom digits from digits


def _prefix(task, name):
    """The text of a sample of the task up to its secret."""
    question = replace(task, source_fields=("question",))
    return question.text({"question": QUESTION.format(name=name), task.target_field: ANSWER.format(secret="")})


def _parted(ids, starts, length):
    """The tokens of a text's first `length` characters, of the rest, and those that close it: lists."""
    begin = int(np.argmax(starts >= length))  # 0 if none begins there: _by_digit refuses it then
    end = np.flatnonzero(starts != SPECIAL)[-1] + 1
    return ids[:begin].tolist(), ids[begin:end].tolist(), ids[end:].tolist()
