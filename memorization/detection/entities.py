"""Named entities, by a spaCy pipeline: whose names are copied, and whether a paraphrase keeps the names.

Entities("en_core_web_sm").of(["Ann flew to Rome."])      {"Ann flew to Rome.": (Entity("PERSON", 0, 3), ...)}
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from memorization.models.hub import SYSTEM_ERRORS
from memorization.shell.cli import UserError, is_out_of_memory

PERSON = ("PERSON", "PER")  # what pipelines call a person
READERS = ("ner", "tok2vec", "transformer", "curated_transformer")  # what an entity recognizer of spaCy needs
BATCH = 64


class Entity(NamedTuple):
    """Characters [start, end) of a text name something of this label."""

    label: str
    start: int
    end: int


class Entities:
    """The entity recognizer of the spaCy pipeline in a directory, or of that installed name. directory: where it lies.

    Raises UserError if spaCy is missing, if there is no such pipeline, if it has no entity recognizer, or if a weight
    is no finite number: it would take whole texts for names.
    """

    def __init__(self, name: str) -> None:
        try:
            import spacy
        except ImportError:
            raise UserError("--ner-model needs spaCy, which is not installed: pip install 'spacy>=3.8'") from None
        try:
            self._pipeline = spacy.load(name)
        except Exception as error:  # of whatever its configuration and files make spaCy raise
            if is_out_of_memory(error) or getattr(error, "errno", None) in SYSTEM_ERRORS:
                raise
            message = " ".join(str(error).split())[:200] or type(error).__name__
            remedy = "install it, or name a directory that holds one"
            raise UserError(f"{name}: is no spaCy pipeline that can be loaded ({message}); {remedy}") from None
        factories = {pipe: self._pipeline.get_pipe_meta(pipe) for pipe in self._pipeline.pipe_names}
        recognizers = [pipe for pipe, meta in factories.items() if "doc.ents" in meta.assigns]
        if not recognizers:
            raise UserError(f"{name}: has no entity recognizer; name a pipeline with one")
        if all(factories[pipe].factory == "ner" for pipe in recognizers):  # rules may ask for anything
            self._pipeline.select_pipes(enable=[pipe for pipe, meta in factories.items() if meta.factory in READERS])
        if any(not np.isfinite(weights).all() for _, pipe in self._pipeline.pipeline for weights in _weights(pipe)):
            raise UserError(f"{name}: holds weights that are NaN or infinite; name another pipeline")
        self.directory = self._pipeline.path

    def of(self, texts: Iterable[str]) -> dict[str, tuple[Entity, ...]]:
        """The entities of each text, in order. Each distinct text is read once. The texts of a call are read in
        batches, whose shapes may change the last digits: for the same bytes, pass the same texts together.
        """
        texts = sorted(set(texts), key=lambda text: (len(text), text))
        with self._pipeline.memory_zone():  # else it keeps every word that it ever saw
            documents = self._pipeline.pipe(texts, batch_size=BATCH)
            return {
                text: tuple(Entity(entity.label_, entity.start_char, entity.end_char) for entity in document.ents)
                for text, document in zip(texts, documents, strict=True)
            }


def _weights(pipe: Any) -> Iterator[np.ndarray]:
    """The arrays of weights of a component; none of one that has rules, or whose weights another library holds."""
    for layer in pipe.model.walk() if hasattr(getattr(pipe, "model", None), "walk") else ():
        yield from (layer.get_param(name) for name in layer.param_names if layer.has_param(name))


def entities_agree(pair: tuple[str, str], entities: dict[str, tuple[Entity, ...]]) -> bool:
    """Whether both sentences of a pair name the same things, or neither names any.

    It tells a paraphrase from a sentence of the same form about somebody else (Lee et al. 2023 read entities beside the
    classifier). The same thing has the same words, in any case, and the same label.
    """
    one, other = (
        {(entity.label, " ".join(text[entity.start : entity.end].lower().split())) for entity in entities[text]}
        for text in pair
    )
    return one == other


def persons(entities: Iterable[Entity]) -> list[tuple[int, int]]:
    """The [start, end) of the persons among the entities of a text."""
    return [(entity.start, entity.end) for entity in entities if entity.label in PERSON]
