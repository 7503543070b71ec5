"""Probes with prompts of one's own, for attacks that ask otherwise than with the beginning of a sample."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from memorization.encoding.decoded_texts import ENDS, decode, same_text
from memorization.encoding.probes import Probes
from memorization.encoding.stored_sets import BAR_DELAY
from memorization.shell.cli import UserError
from memorization.store.files import fingerprint
from memorization.store.rows import Id

KIND = "file"
TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
SHOWN = 60  # characters of a text in a message


class FileProbe(msgspec.Struct):
    """A line of the file. id: of a sample of the encoding, which says how many copies it has and its cluster."""

    id: Id
    member: bool
    prompt_ids: Annotated[list[TokenId], msgspec.Meta(min_length=1)]
    suffix_ids: Annotated[list[TokenId], msgspec.Meta(min_length=1)]
    prompt: str
    suffix: str


class FileProbes(Probes):
    """Probes of a causal model whose prompts and suffixes are read from a file of JSON lines, one FileProbe a line.

    contents: the hash of the file. kind is KIND, and prefix_length None. Raises UserError as Probes does, for a
    line that is no FileProbe, and for one of a sample that the encoding lacks, has on the other side, or that
    another line names.
    """

    def __init__(self, directory: str | Path, name: str, file: str | Path) -> None:
        self._path = Path(file)
        if not self._path.is_file():
            raise UserError(f"{file}: no such file; check the path")
        self.contents = fingerprint(self._path)
        self._places: dict[int, tuple[int, int]] = {}  # of a sample's line: where it begins, its length
        self._lines = self._path.open("rb")
        super().__init__(directory, name)
        self.kind, self.prefix_length = KIND, None

    def _cut(self, least: int) -> None:
        if self.pairs:
            raise UserError(
                f"{self.path}: is encoded for encoder-decoder models; a file of probes is for causal models"
            )
        members, lengths = self._read_lines()
        columns, self.longest_source = [], 0
        for number, batch in enumerate(self._samples()):
            sample = np.array([i for i, id in enumerate(batch["id"].to_pylist()) if id in members], np.int64)
            of_batch = [batch[name].to_numpy(zero_copy_only=False)[sample] for name in ("id", "member", "duplicates")]
            for id, member in zip(*of_batch[:2], strict=True):
                if members.pop(id) != member:
                    side = "member" if member else "held-out sample"
                    raise UserError(f"{self._path}: sample {id} is a {side} of {self.path}; mend its `member`")
            length = np.array([lengths[id] for id in of_batch[0]], np.int64).reshape(-1, 2)
            cluster = batch["cluster"].to_numpy()[sample]
            columns.append([np.full(len(sample), number), sample, length[:, 0], length.sum(1), *of_batch, cluster])
        if members:
            raise UserError(f"{self._path}: {self.path} has no sample {min(members)}; name samples of the encoding")
        self._number, self._sample, self._begin, self._end, *own = map(np.concatenate, zip(*columns, strict=True))
        self.ids, self.members, self.duplicates, self.clusters = own
        self.turns = np.zeros_like(self.ids)
        self.too_short = 0

    def _read_lines(self) -> tuple[dict[int, bool], dict[int, tuple[int, int]]]:
        """By sample: whether it is called a member, and how many tokens its prompt and its suffix have."""
        members, lengths, begin, self.greatest_id = {}, {}, 0, 0
        for number, line in enumerate(self._lines, 1):
            if line.strip():
                try:
                    probe = msgspec.json.decode(line, type=FileProbe)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise UserError(f"{self._path}: line {number}: {error}; mend or remove it") from None
                if probe.id in members:
                    raise UserError(f"{self._path}: line {number}: sample {probe.id} is there twice; remove one")
                members[probe.id], self._places[probe.id] = probe.member, (begin, len(line))
                lengths[probe.id] = len(probe.prompt_ids), len(probe.suffix_ids)
                self.greatest_id = max(self.greatest_id, *probe.prompt_ids, *probe.suffix_ids)
            begin += len(line)
        if not members:
            raise UserError(f"{self._path}: no probes in it; write one a line (docs/extending.md)")
        return members, lengths

    def check_texts(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise UserError for the first line with a text that its token ids do not say.

        Special tokens make no difference, nor do blanks and parts of characters at the ends of a text.
        """
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        spelled = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)")

        def decoded(ids):
            return spelled.sub("", decode(tokenizer, ids))

        self._lines.seek(0)
        for number, line in tqdm(enumerate(self._lines, 1), desc="comparing texts and tokens", delay=BAR_DELAY):
            probe = msgspec.json.decode(line, type=FileProbe) if line.strip() else None
            for name in ("prompt", "suffix") if probe else ():
                text, ids = spelled.sub("", getattr(probe, name)), getattr(probe, f"{name}_ids")
                of_ids = decoded(ids)
                if None not in tokenizer.convert_ids_to_tokens(ids) and (
                    same_text(of_ids, text)  # or as the tokenizer changes texts, to lower case, say
                    or same_text(of_ids, decoded(tokenizer.encode(getattr(probe, name), add_special_tokens=False)))
                ):
                    continue
                text, of_ids = (ENDS.sub("", each) for each in (text, of_ids))
                place = len(os.path.commonprefix([text, of_ids]))
                shown, of_ids = (repr(each[place : place + SHOWN]) for each in (text, of_ids))
                raise UserError(
                    f"{self._path}: line {number}: from character {place} on its `{name}` is {shown}, and its "
                    f"`{name}_ids` are tokens of {of_ids}; make both of one text, with the model's tokenizer"
                )

    def _probe(self, i: int) -> dict[str, Any]:
        id = int(self.ids[i])
        begin, length = self._places[id]
        self._lines.seek(begin)
        probe = msgspec.json.decode(self._lines.read(length), type=FileProbe)
        return {
            "id": id,
            "turn": 0,
            "member": probe.member,
            "duplicates": int(self.duplicates[i]),
            "cluster": int(self.clusters[i]),
            "prefix": probe.prompt,
            "suffix": probe.suffix,
            "prefix_ids": probe.prompt_ids,
            "suffix_ids": probe.suffix_ids,
        }
