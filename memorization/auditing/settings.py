"""The settings of an audit, and the flags they come from: those of the stages, as far as they say how to measure."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from memorization.detection.indexing import IndexingSettings, add_region_argument
from memorization.detection.run_detection import DetectionSettings, add_detection_arguments
from memorization.encoding.settings import SEED, TEST_SIZE, EncodingSettings, add_sample_arguments
from memorization.encoding.task_rows import DataSettings, add_special_tokens_argument, add_template_argument
from memorization.encoding.tasks import TEXT
from memorization.encoding.text_files import encoding
from memorization.extraction.extract import open_backend
from memorization.extraction.settings import ExtractionSettings, add_extraction_arguments, add_model_arguments
from memorization.models.adapters import ModelSource
from memorization.results.gate import add_gate_arguments
from memorization.results.report import ReportSettings
from memorization.retrieval import IndexSettings, add_server_arguments
from memorization.shell.cli import Parser, UserError

NAME = "audit"  # of the encoding, the index and the results
OF_ENCODING = (
    "train_data held_out_data max_samples encoding tokenizer near_duplicates chat_template parse_special_tokens".split()
)


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """What is audited, and the settings of each stage.

    sources: the model, or each of several adapters. lengths: of prefixes, each of which is asked; none: the usual one.
    encoding: without its task, which the form of the data decides, as it does `probe`, `prefix_length` and
    `min_suffix_length` where these are None. dry_run: whether to print only what
    would be done.
    """

    sources: Sequence[ModelSource]
    lengths: tuple[int, ...]
    output: Path
    probe: str | None
    prefix_length: int | None
    min_suffix_length: int | None
    encoding: EncodingSettings
    extraction: ExtractionSettings
    indexing: IndexingSettings
    detection: DetectionSettings
    report: ReportSettings
    dry_run: bool


def add_audit_arguments(parser: Parser) -> None:
    """Add all flags of an audit."""
    add_model_arguments(parser, "--model", "--tokenizer")
    parser.add_argument(
        "--train-data", nargs="+", required=True, metavar="PATH", help="what it was trained on: files or data sets"
    )
    parser.add_argument(
        "--held-out-data",
        nargs="+",
        metavar="PATH",
        help="data of the same kind that it was not trained on, the control (default: the split test or validation of "
        "the training data, if there is one)",
    )
    parser.add_argument("--output", default="audit", metavar="DIR", help="where all results go (default: %(default)s)")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only print what would be done: probes, prompts, tokens, memory, and the time by a short measurement",
    )
    add_extraction_arguments(parser, several_lengths=True)
    add_sample_arguments(parser)
    parser.add_argument("--encoding", type=encoding, metavar="NAME", help="of text files, as gbk (default: utf-8)")
    add_template_argument(parser)
    add_special_tokens_argument(parser)
    add_region_argument(parser)
    add_detection_arguments(parser)
    add_gate_arguments(parser)
    group = parser.add_argument_group("index", "on an Elasticsearch server if one is named, else in --output")
    group.add_argument("--index-xsuffix", metavar="NAME", default=NAME, help="its name there (default: %(default)s)")
    group.add_argument("--recreate", action="store_true", help="replace one there that holds other documents")
    add_server_arguments(group)
    parser.set_defaults(paraphrase_model="none")


def audit_settings(flags: argparse.Namespace) -> AuditSettings:
    """The settings that the flags give. Raises UserError for a model or an adapter that is none."""
    if not (flags.model or flags.adapter):
        raise UserError("--model is missing: name the fine-tuned model, or an adapter by --adapter")
    lengths = tuple(flags.prefix_length or ())
    flags.prefix_length = lengths[0] if lengths else None
    output = Path(flags.output)
    values = vars(flags)
    encoded, index, detections = output / "encoding", output / "index", output / "detections"
    of_extraction = {
        "model_path": flags.model,
        "token_path": flags.tokenizer,
        "subset_name": NAME,
        "output_name": NAME,
        "dir_name": NAME,
        "tokenized_dir": str(encoded),
        "output_dir": str(output),
        "probes": None,
    }
    extraction = ExtractionSettings(**_chosen(ExtractionSettings, values) | of_extraction)
    sources = open_backend(extraction).sources
    if len(lengths) > 1 and Path(extraction.engine).is_file():
        raise UserError("--prefix-length: the generations of a file are of one length; name that one alone")
    held_out = tuple(flags.held_out_data or ())
    data = DataSettings(
        TEXT,
        tuple(flags.train_data),
        flags.max_samples,
        encoding=flags.encoding,
        held_out=held_out,
        flag="--train-data",
        parse_special_tokens=flags.parse_special_tokens,
        chat_template=flags.chat_template,
    )
    of_encoding: dict[str, Any] = {
        "data": data,
        "tokenizer": flags.tokenizer or sources[0].tokenizer,
        "name": NAME,
        "output_dir": encoded,
        "test_size": TEST_SIZE,
        "deduplicate": False,
        "seed": SEED,
        "encoder_decoder": False,
        "source_prefix": "",
        "canaries": None,
        "flags": {name: values[name] for name in OF_ENCODING},
    }
    return AuditSettings(
        sources=sources,
        lengths=lengths,
        output=output,
        probe=flags.probe,
        prefix_length=flags.prefix_length,
        min_suffix_length=flags.min_suffix_length,
        encoding=EncodingSettings(**_chosen(EncodingSettings, values) | of_encoding),
        extraction=extraction,
        indexing=IndexingSettings(
            directory=encoded,
            name=NAME,
            index=replace(IndexSettings.of(flags), indexes=index),
            prefix_length=flags.prefix_length,
            probe=flags.probe,
            regions=flags.regions,
            jobs=flags.jobs,
            recreate=flags.recreate,
            flags=values,
        ),
        detection=DetectionSettings.of(
            flags, generations=extraction.path, result=detections / "detections.jsonl", probes=None, indexes=index
        ),
        report=ReportSettings(
            [], (output / "report").resolve(), (), tuple(flags.fail_above), flags.redact, flags.cases
        ),
        dry_run=flags.dry_run,
    )


def _chosen(shape: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that are fields of a settings class."""
    return {field.name: values[field.name] for field in fields(shape) if field.name in values}
