"""Generations that were made elsewhere, as an engine: `--engine FILE`.

The model and how it was asked are what the flags declare (--model-path, --temperature, --max-new-tokens ...), and every
report says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from tqdm import tqdm
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from memorization.encoding.decoded_texts import decode, same_text
from memorization.encoding.probe_file import TokenId
from memorization.encoding.stored_sets import BAR_DELAY
from memorization.extraction.backend import ModelIdentity, OpenModel
from memorization.extraction.engine import Prompt
from memorization.extraction.inputs import Inputs
from memorization.extraction.settings import ExtractionSettings
from memorization.models.adapters import ModelSource
from memorization.shell.cli import UserError
from memorization.store.files import fingerprint
from memorization.store.manifests import identity
from memorization.store.rows import Id, Key

LONGEST = 20  # lines whose tokens are counted
LEAST = 20  # characters of a prompt that a generation does not begin with by chance


class FileGeneration(msgspec.Struct):
    """A line of the file: what a model said to a probe. id, turn: of the probe. sample: which of its generations, from
    0 on. generation: the text, the prompt left out. generation_ids: its tokens, of all lines or of none."""

    id: Id
    generation: str
    turn: Id = 0
    sample: Id = 0
    generation_ids: list[TokenId] | None = None


class FileEngine:
    """An Engine of a file of JSON lines, one FileGeneration each; its scores are not known.

    contents: the hash of the file. samples: how many generations a probe has. longest: tokens of the longest
    generation. Raises UserError for a line that is no FileGeneration, is there twice or has tokens of another text.
    """

    batch_size = 1000

    def __init__(self, file: str | Path, tokenizer: PreTrainedTokenizerBase, samples: int) -> None:
        self._path, self._tokenizer = Path(file), tokenizer
        self.contents = fingerprint(self._path)
        self._file = self._path.open("rb")
        self._places: dict[Key, tuple[int, int, int]] = {}  # number of the line, where it begins, its length
        self.has_tokens = self._read_lines(samples)
        longest = sorted(self._places.values(), key=lambda place: -place[2])[:LONGEST]
        self.longest = max(len(line.generation_ids or self._tokens(line)) for line in map(self._line, longest))
        self.not_computed = {"scores": "the generations were made elsewhere"}
        if not self.has_tokens:
            self.not_computed["matched_tokens"] = "the generations are texts without token ids"

    @property
    def identity(self) -> dict[str, Any]:
        return {"engine": "file", "engine_version": None, "file": self.contents, "batch_size": None}

    def _read_lines(self, samples: int) -> bool:
        """Find where each generation stands; whether they have tokens."""
        begin, has_tokens = 0, None
        for number, line in enumerate(tqdm(self._file, "reading generations", unit=" lines", delay=BAR_DELAY), 1):
            if line.strip():
                where = f"{self._path}: line {number}"
                try:
                    row = msgspec.json.decode(line, type=FileGeneration)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise UserError(f"{where}: {error}; mend or remove it") from None
                key = row.id, row.turn, row.sample
                if key in self._places:
                    raise UserError(f"{where}: {_named(key)} is there twice; remove one")
                if row.sample >= samples:
                    raise UserError(
                        f"{where}: is sample {row.sample} of a probe, counted from 0, and --num-samples is {samples}; "
                        "say how many generations a probe has"
                    )
                if has_tokens not in (None, row.generation_ids is not None):
                    raise UserError(f"{where}: `generation_ids` are of all lines or of none; mend it")
                has_tokens = row.generation_ids is not None
                if row.generation_ids is not None:
                    self._check_tokens(where, row.generation, row.generation_ids)
                self._places[key] = number, begin, len(line)
            begin += len(line)
        if not self._places:
            raise UserError(f"{self._path}: no generations in it; write one a line (docs/stages.md)")
        return bool(has_tokens)

    def _check_tokens(self, where: str, text: str, ids: list[int]) -> None:
        unknown = None in self._tokenizer.convert_ids_to_tokens(ids)
        if unknown or not same_text(decode(self._tokenizer, ids), text):
            raise UserError(f"{where}: its `generation_ids` are not tokens of its `generation`; take the tokenizer's")

    def check(self, keys: Sequence[Key], drawn: bool) -> None:
        """Raise UserError unless the generations are those of the rows with these keys; if their probes were drawn, the
        file may have others too, which are left out."""
        asked = set(keys)
        strangers = [key for key in self._places if key not in asked]
        if strangers and not drawn:
            raise UserError(
                f"{self._path}: line {self._places[strangers[0]][0]}: the probes have no {_named(strangers[0])}; "
                "take the ids of stage 1's probes"
            )
        if missing := [key for key in keys if key not in self._places]:
            raise UserError(
                f"{self._path}: has no generation for {len(missing)} of {len(keys)} rows, {_named(missing[0])} for "
                "one; give all, or ask for fewer probes by --members and --held-out"
            )

    def score(self, probes: Sequence[dict[str, Any]]) -> list[None]:
        return [None] * len(probes)

    def generate(self, prompts: Sequence[Prompt]) -> list[list[int] | str]:
        """Raises UserError if most generations begin with their prompts."""
        lines = [self._line(self._places[prompt.key]) for prompt in prompts]
        repeated = [
            prompt.key
            for prompt, line in zip(prompts, lines, strict=True)
            if len(given := prompt.probe["prefix"].strip()) >= LEAST and line.generation.lstrip().startswith(given)
        ]
        if 2 * len(repeated) > len(prompts):
            raise UserError(
                f"{self._path}: line {self._places[repeated[0]][0]}: the generation begins with its prompt, as most "
                "do; leave the prompts out"
            )
        return [line.generation if line.generation_ids is None else line.generation_ids for line in lines]

    def _line(self, place: tuple[int, int, int]) -> FileGeneration:
        self._file.seek(place[1])
        return msgspec.json.decode(self._file.read(place[2]), type=FileGeneration)

    def _tokens(self, line: FileGeneration) -> list[int]:
        return self._tokenizer.encode(line.generation, add_special_tokens=False)


def _named(key: Key) -> str:
    """A generation, in words."""
    id, turn, sample = key
    return f"id {id}" + (f", turn {turn}" if turn else "") + (f", sample {sample}" if sample else "")


def _other_model(flag: str, settings: ExtractionSettings) -> UserError:
    return UserError(
        f"{flag}: the generations of --engine {settings.engine} were made elsewhere, by the model that --model-path "
        "declares; leave it out, and give the generations of another model a run of their own"
    )


class DeclaredModel:
    """The Backend of a file of generations: one model, of which nothing but its declared name is known.

    Raises UserError for other models beside it: nobody could ask them.
    """

    configs: Mapping[str, PretrainedConfig] = {}
    context: int | None = None
    one_process = True

    def __init__(self, settings: ExtractionSettings) -> None:
        if settings.model_path is None or settings.adapter or settings.base_model:
            raise _other_model("--base-model" if settings.base_model else "--adapter", settings)
        self.sources: Sequence[ModelSource] = [ModelSource(settings.model_path)]

    def identify_base(self, source: ModelSource, inputs: Inputs) -> ModelIdentity:
        raise _other_model("--base-model", inputs.settings)

    @contextmanager
    def opened(self, source: ModelSource, inputs: Inputs) -> Iterator[OpenModel]:
        settings = inputs.settings
        engine = FileEngine(settings.engine, inputs.tokenizer, settings.num_samples)
        engine.check(inputs.keys, inputs.drawn is not None)
        declared = f"the generations were made elsewhere, by {source.name} as declared"
        if engine.longest < settings.max_new_tokens:
            declared += (
                f", and the longest has {engine.longest} tokens, where {settings.max_new_tokens} are declared "
                "(--max-new-tokens): a longer suffix cannot come out exactly"
            )
            print(declared, flush=True)
        model = ModelIdentity(source.name, identity({"declared": source.name}), frozenset(), None, declared=declared)
        yield OpenModel(engine, model)
