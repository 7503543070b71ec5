"""Stage 5 on the generations of a model and, where they are there, on those of its base model."""

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from memorization.alignment import PROFILES
from memorization.detection import detect
from memorization.detection.copied_runs import SpanIndex
from memorization.detection.detections import Detection
from memorization.detection.inputs import detections_made_of, index_mismatch
from memorization.detection.kinds import DETECTIONS
from memorization.encoding.prompt_counts import count_prompts
from memorization.extraction.exposures import read_exposures
from memorization.extraction.generations import NOT_LISTED, Generation, read_generations
from memorization.extraction.kinds import GENERATIONS
from memorization.models.ranks import ranks
from memorization.retrieval import Index
from memorization.shell.cli import UserError
from memorization.shell.flags import PROCESSES, whole
from memorization.shell.parallel import cores, in_order
from memorization.store.files import fingerprint, fingerprints
from memorization.store.fingerprints import model_fingerprint
from memorization.store.locations import base_path
from memorization.store.manifests import Manifest, link
from memorization.store.rows import Rows, base_rows

BATCHES_A_PROCESS = 8  # batches that take as long as starting another process


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """What stage 5 is asked for.

    generations: stage 3's .jsonl, or a published listing; probes: <name>_prefix.json, for a listing without the .jsonl
    beside it. result: the detections.jsonl to write. indexes: the directory that holds the span index. direction:
    "pan", "paper" or "both". paraphrase_model, ner_model: paths or names, None without. jobs: processes that compare,
    None for as many as pay. unchecked: whether generations and an index that are not of one run are accepted.
    """

    generations: Path
    result: Path
    indexes: Path
    probes: Path | None = None
    paraphrase_model: str | None = None
    ner_model: str | None = None
    profile: str = "paper"
    direction: str = "pan"
    candidates: int = 10
    span_length: int = 50
    loop_repeats: int = 10
    jobs: int | None = None
    unchecked: bool = False
    overwrite: bool = False

    @classmethod
    def of(cls, flags: argparse.Namespace, **paths: Any) -> Self:
        """The settings that the flags give. paths: the fields generations, result and probes."""
        values = {field.name: getattr(flags, field.name) for field in fields(cls) if hasattr(flags, field.name)}
        without_classifier = {"paraphrase_model": None} if flags.paraphrase_model == "none" else {}
        return cls(**values | without_classifier | paths)

    @property
    def comparison(self) -> detect.ComparisonSettings:
        directions = ("pan", "paper") if self.direction == "both" else (self.direction,)
        return detect.ComparisonSettings(self.profile, directions, self.candidates, self.span_length)


def add_detection_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how generations are compared; those that name inputs and results are the script's."""
    parser.add_argument(
        "--paraphrase-model",
        default="textattack/roberta-base-MRPC",
        help="paraphrase classifier: path, hub name, or none (default: %(default)s)",
    )
    parser.add_argument(
        "--ner-model",
        help="a spaCy pipeline that knows names, path or installed name: they count as personal data, and are compared "
        "in paraphrases (default: without)",
    )
    parser.add_argument("--profile", choices=PROFILES, default="paper", help="parameters (default: %(default)s)")
    parser.add_argument(
        "--direction",
        choices=["pan", "paper", "both"],
        default="pan",
        help="pan: the generation is the suspicious text; paper: the training text is, as published (default: pan)",
    )
    parser.add_argument(
        "--span-length",
        type=whole(1),
        default=50,
        help="a copied run of more characters makes a generation verbatim; wide characters, as Chinese ones, count as "
        "two, punctuation as none (default: %(default)s)",
    )
    parser.add_argument(
        "--candidates",
        type=whole(1, 1000),
        default=10,
        help="training suffixes a generation is aligned with (default: %(default)s)",
    )
    parser.add_argument(
        "--loop-repeats",
        type=whole(2),
        default=10,
        help="a generation in which a run of three words stands so often is a loop (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs", type=whole(1, PROCESSES), help="processes that compare (default: as many as there are cores)"
    )


class DetectionRun:
    """The detections of a model's generations, and of its base model's, from checked inputs to finished results.

    rows: the Rows of the model. base: those of its base model, or None. exposures: rows of the canaries, or None.
    is_main: whether this process, of several ranks, finishes the results.

    A context manager: it holds the locks of what it writes. Raises UserError, before anything is written, for inputs
    that are not of one run and for models that cannot be loaded.
    """

    def __init__(self, settings: DetectionSettings, open_index: Callable[[], Index]) -> None:
        self.settings, self._open_index = settings, open_index
        generations, manifest = read_generations(settings.generations, settings.probes, settings.unchecked)
        index = open_index()
        self._index_made_of = index.made_of()
        if mismatch := index_mismatch(manifest, self._index_made_of):
            mismatch = (
                f"{index.where}: is not the index of the generations in {settings.generations}: another {mismatch}"
            )
            if not settings.unchecked:
                raise UserError(f"{mismatch}; load theirs with load_to_elastic.py, or go on with --unchecked")
        self._ranks = ranks(needed=settings.paraphrase_model is not None)
        self.is_main = self._ranks.is_main_process
        self._classifier, self._recognizer = self._load_classifier(), self._load_recognizer()
        stored = settings.generations.with_suffix(".jsonl")
        of_base = manifest and base_rows(stored, GENERATIONS, manifest, Generation)
        self._sources: list[tuple[Any, Manifest | None]] = [(generations, manifest)]
        self._sources += [(of_base, of_base.manifest)] if of_base else []
        self.exposures = read_exposures(stored, manifest) if manifest else None
        self._encoding = str(self._index_made_of["encoding"])
        self._spans = SpanIndex(settings.indexes, self._encoding)
        with ExitStack() as stack:
            self._results = [stack.enter_context(rows) for rows in self._open_results(bool(mismatch))]
            self._stack = stack.pop_all()
        self.rows, self.base = self._results[0], self._results[1] if of_base else None
        if self.is_main:
            if mismatch:
                print(f"WARNING: {mismatch}", file=sys.stderr)
            print(*(rows.progress for rows in self._results), f"searching {index.where}", sep="; ", flush=True)

    def _load_classifier(self) -> Any:
        if self.settings.paraphrase_model is None:
            return None
        from memorization.detection.paraphrase import ParaphraseClassifier  # imports torch

        if self.is_main:
            print(f"loading {self.settings.paraphrase_model}", flush=True)
        return ParaphraseClassifier(self.settings.paraphrase_model, self._ranks.device)

    def _load_recognizer(self) -> Any:
        if self.settings.ner_model is None:
            return None
        from memorization.detection.entities import Entities  # imports spaCy

        return Entities(self.settings.ner_model)

    def _open_results(self, mismatch: bool) -> list[Rows]:
        settings, (_, manifest) = self.settings, self._sources[0]
        made_with = {
            "profile": settings.profile,
            "direction": settings.direction,
            "candidates": settings.candidates,
            "span_length": settings.span_length,
            "loop_repeats": settings.loop_repeats,
            "regions": list(self._spans.regions),
            "classifier": self._classifier and model_fingerprint(self._classifier.directory),
            "ner_model": self._recognizer and fingerprint(self._recognizer.directory),
            "unchecked": mismatch or not manifest or manifest.made_of.get("unchecked", True),
        }
        rank = self._ranks.process_index, self._ranks.num_processes
        results: list[Rows] = []
        for path, (generations, of) in zip((settings.result, base_path(settings.result)), self._sources, strict=False):
            made_of = detections_made_of(generations, of, self._index_made_of, made_with)
            keys = [row.key for row in generations]
            companions = [] if results else [path.with_name(name) for name in ("result.json", "result.txt")]
            options = *rank, settings.overwrite, companions
            results.append(Rows(path, DETECTIONS, Detection, made_of, keys, detect.BATCH, *options))
        return results

    def __enter__(self) -> "DetectionRun":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def detect(self) -> None:
        """Add the detections that are missing, shared among the ranks; wait until all ranks have added theirs."""
        self._ranks.wait_for_everyone()  # all ranks have seen which rows are there before any adds to them
        spans = partial(SpanIndex, self.settings.indexes, self._encoding, self._spans.metadata)
        opening = self._open_index, spans, self.settings.comparison, self._index_made_of
        judge = partial(
            detect.judge_batch,
            spans=self._spans,
            span_length=self.settings.span_length,
            classify=self._classifier and self._classifier.probabilities,
            recognize=self._recognizer and self._recognizer.of,
        )
        for rows, (generations, _) in zip(self._results, self._sources, strict=True):
            batches = (generations[batch.start : batch.stop] for _, batch in rows.mine)
            jobs = self.settings.jobs or min(cores(), 1 + len(rows.mine) // BATCHES_A_PROCESS)
            total = sum(len(batch) for _, batch in rows.mine)
            with tqdm(total=total, desc="detecting", disable=not (total and self.is_main)) as bar:
                for batch, comparisons in in_order(detect.compare_here, batches, jobs, detect.open_here, opening):
                    rows.append(judge(batch, comparisons))
                    bar.update(len(batch))
        self._ranks.wait_for_everyone()

    @cached_property
    def _inputs(self) -> dict[str, str | None]:
        return fingerprints([self.settings.generations])

    def finish_base(self, arguments: Any, canaries: dict[str, Any] | None) -> dict[str, Any]:
        """Finish the base model's result, if there is one; return the facts of the manifest of the model's result.

        arguments: the flags of the stage. canaries: the summary of `exposures`, None without.
        """
        generations, manifest = self._sources[0]
        prompts = manifest and manifest.facts.get("prompts")
        shared = {
            "index": self._index_made_of,
            "samples": self._spans.samples,
            "clusters": self._spans.clusters,
            "prompts": prompts or count_prompts(row.prefix for row in generations if not row.sample),
            "canaries": canaries,
        }
        base = None
        if self.base is not None and manifest is not None:
            facts = _facts_of_generations(self._sources[1][1])
            self.base.finish(arguments, self._inputs, **shared, **facts, base=None)
            base = link(self.base.path, manifest.facts["base"]["model"], DETECTIONS)
        return {**shared, **_facts_of_generations(manifest), "base": base}

    def finish(self, arguments: Any, facts: dict[str, Any]) -> None:
        """Finish the model's result. facts: those that finish_base returned."""
        self.rows.finish(arguments, self._inputs, **facts)


def _facts_of_generations(manifest: Manifest | None) -> dict[str, Any]:
    """What a manifest of detections repeats of that of the generations, None where nothing is known of them."""
    if manifest is None:
        return {
            **dict.fromkeys(("generations", "training", "held_out", "split", "membership", "too_short", "text_form")),
            "declared": None,
            "not_computed": NOT_LISTED,
        }
    return {
        "generations": manifest.made_of,
        "training": manifest.facts["training"],
        "held_out": manifest.facts.get("held_out"),
        "split": manifest.facts.get("split"),
        "membership": manifest.facts.get("membership"),
        "declared": manifest.facts.get("declared"),
        "too_short": manifest.facts.get("too_short"),
        "text_form": manifest.facts.get("text_form"),
        "not_computed": manifest.facts.get("not_computed", {}),
    }
