"""How many distinct prompts the probes of a run have.

Probes with the same prompt get the same answer, whatever sample they are of: the answer cannot tell their samples
apart, and what the model memorized of the others is never asked for.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from memorization.encoding.kinds import PromptCount
from memorization.shell.cli import UserError


class PromptCounter:
    """Counts prompts by hashes of 64 bits, 8 bytes a probe. Two prompts share one by chance in one of 10^7 runs of a
    million probes."""

    def __init__(self):
        self._hashes = bytearray()

    def add(self, *parts: Iterable[int]) -> None:
        """The next prompt. parts: token ids, of what an encoder reads and of what is continued, say."""
        digest = blake2b(digest_size=8)
        for part in parts:
            ids = np.asarray(part, np.int32)
            digest.update(len(ids).to_bytes(8, "little"))
            digest.update(ids.tobytes())
        self._hashes += digest.digest()

    def count(self) -> PromptCount:
        _, times = np.unique(np.frombuffer(self._hashes, np.uint64), return_counts=True)
        return PromptCount(probes=int(times.sum()), distinct=len(times), own=int((times == 1).sum()))


def count_prompts(texts: Iterable[str]) -> PromptCount:
    """The PromptCount of prompts, given as texts."""
    prompts = PromptCounter()
    for text in texts:
        prompts.add(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8))
    return prompts.count()


def prompts_are_shared(count: PromptCount) -> bool:
    """Whether fewer than half of the probes have a prompt that no other one has."""
    return 2 * count["own"] < count["probes"]


def describe_prompts(count: PromptCount) -> str:
    number = f"{count['distinct']} distinct prompt{'s' if count['distinct'] > 1 else ''}"
    return f"{number} among {count['probes']} probes, {count['own']} of which have one of their own"


def check_prompts(count: PromptCount, name: str, kind: str, allowed: bool) -> None:
    """Raise UserError if most probes share their prompt, unless that is allowed.

    name: of the data or the probes. kind: of the probes.
    """
    if prompts_are_shared(count) and not allowed:
        other = "" if kind == "target" else "--probe target or "
        raise UserError(
            f"{name}: {describe_prompts(count)}, and what is asked alike is answered alike; take {other}a longer "
            "--prefix-length, or go on with --shared-prompts"
        )
