"""An audit: all stages on a model that exists, from files to the page."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from memorization.auditing.forms import detect_form
from memorization.auditing.settings import NAME, AuditSettings
from memorization.detection.indexing import check_index, index_training_set
from memorization.detection.inputs import index_mismatch
from memorization.detection.personal_data import checked_regions
from memorization.detection.run_detection import DetectionRun
from memorization.detection.span_index import read_whole
from memorization.encoding.chats import ChatRenderer
from memorization.encoding.encode import encode_task
from memorization.encoding.kinds import PROBES
from memorization.encoding.readers import has_held_out_split
from memorization.encoding.settings import EncodingSettings, default_probes
from memorization.encoding.stored_sets import FORMAT
from memorization.encoding.task_rows import sides
from memorization.encoding.tasks import CHAT
from memorization.extraction.extract import extract, open_backend
from memorization.extraction.kinds import GENERATIONS
from memorization.models.adapters import adapter_labels
from memorization.models.hub import load_tokenizer
from memorization.models.loading import CAUSAL, architecture_of
from memorization.models.ranks import is_first_rank, on_first_rank
from memorization.results.columns import MAIN, columns_of, pass_columns
from memorization.results.formats import Table, paragraph, plain
from memorization.results.report import Report, read_report, write_report
from memorization.results.result_files import write_result
from memorization.results.tables import HEADINGS, SIDES, figure_rows, verdict_lines
from memorization.retrieval import open_index
from memorization.shell.cli import UserError
from memorization.store.directories import check_ours
from memorization.store.files import fingerprints
from memorization.store.fingerprints import tokenizer_fingerprint
from memorization.store.locations import encoding_paths, span_index_path
from memorization.store.manifests import checked, read_manifest


def run_audit(settings: AuditSettings) -> Report | None:
    """Encode, continue, index, compare and report; what a killed audit has finished is not done again.

    Of several ranks, all continue and compare; the first does the rest, and it alone returns the report. Raises
    UserError for inputs that do not fit, before any work as far as they can be known.
    """
    settings = on_first_rank(_encode, settings)
    several = len(settings.lengths) > 1
    each = [_of_length(settings, length) for length in settings.lengths] if several else [settings]
    results = [result for one in each for result in _measure(one)]
    if not is_first_rank():
        return None
    report = read_report(replace(settings.report, results=results))
    assert settings.report.output is not None
    write_report(report, settings.report.output, settings.report.redact)
    return report


def _encode(settings: AuditSettings) -> AuditSettings:
    """Encode the data, where that is not done; the settings with its task."""
    settings = prepare_audit(settings)
    if not _is_encoded(settings.encoding):
        encode_task(settings.encoding)
    return settings


def _of_length(settings: AuditSettings, length: int) -> AuditSettings:
    """The settings for prefixes of one of several lengths, whose results have names of their own."""
    name, detection, index = f"{NAME}-k{length}", settings.detection, settings.indexing.index
    extraction = replace(settings.extraction, prefix_length=length, output_name=name)
    index = replace(index, index_xsuffix=f"{index.index_xsuffix}-k{length}")
    return replace(
        settings,
        extraction=extraction,
        indexing=replace(settings.indexing, prefix_length=length, index=index),
        detection=replace(detection, result=detection.result.parent / f"k{length}" / detection.result.name),
    )


def _measure(settings: AuditSettings) -> list[Path]:
    """Continue, index and compare, for each model; the directories of the results."""
    if settings.indexing.index.elastic_url:
        on_first_rank(check_index, settings.indexing)
    generations = on_first_rank(_index, settings, extract(settings.extraction))
    results, names = [], _names(settings)
    for name, path in zip(names, generations, strict=True):
        result = settings.detection.result
        if len(names) > 1:
            result = result.parent / name / result.name
        one = replace(settings.detection, generations=path, result=result)
        with DetectionRun(one, lambda: open_index(settings.indexing.index)) as detections:
            detections.detect()
            if detections.is_main:
                write_result(detections, _arguments(settings, name))
        results.append(result.parent)
    return results


def _index(settings: AuditSettings, generations: list[Path]) -> list[Path]:
    """Index the training set for the generations, where that is not done; return them."""
    if not _is_indexed(settings, generations[0]):
        index_training_set(settings.indexing)
    return generations


def prepare_audit(settings: AuditSettings) -> AuditSettings:
    """The settings with the task that the data has; prints what it is taken for. Raises UserError as run_audit does."""
    for name, config in open_backend(settings.extraction).configs.items():
        if architecture_of(config) is not CAUSAL:
            raise UserError(f"{name}: reads a source and writes a target; run the stages (docs/encoder-decoder.md)")
    tokenizer = load_tokenizer(settings.encoding.tokenizer, "--tokenizer")
    assert settings.report.output is not None
    check_ours(settings.report.output, "report")
    data = settings.encoding.data
    checked_regions(settings.indexing.regions)
    template = bool(tokenizer.chat_template or data.chat_template)
    form = detect_form(data.paths, template, data.encoding)
    print(f"{data.name}: {form}")
    if form.task is CHAT and len(form.columns) == 1 and not template:
        ChatRenderer(tokenizer, settings.encoding.tokenizer)  # says what to do
    if data.held_out == () and not any(map(has_held_out_split, data.paths)):
        print("no --held-out-data: there is no control, so there is no verdict on what is memorized")
    elif data.held_out:
        of_held_out = detect_form(data.held_out, template, data.encoding, "--held-out-data")
        if of_held_out != form:
            raise UserError(
                f"{data.held_out[0]}: is of the form {' and '.join(of_held_out.columns)}, the training data of "
                f"{' and '.join(form.columns)}; give both in one form"
            )
    _check_limits(settings)
    chosen = default_probes(form.task, False, vars(settings))
    if 0 in settings.lengths and chosen["probe"] != "target":
        raise UserError(f"--prefix-length 0: gives nothing of a {chosen['probe']} to go on from; add --probe target")
    flags = settings.encoding.flags | {"form": list(form.columns)} | chosen
    encoding = replace(settings.encoding, data=replace(data, task=form.task, chat=form.turns), flags=flags, **chosen)
    del chosen["min_suffix_length"]
    return replace(
        settings,
        encoding=encoding,
        extraction=replace(settings.extraction, **chosen),
        indexing=replace(settings.indexing, **chosen),
    )


def closing_lines(report: Report) -> list[str]:
    """What a person reads at the end, for each result: its notes, the main rates and the verdict."""
    lines = [line for note in report.notes for line in paragraph(note)]
    for summary in (result.summary for result in report.results):
        figures = [figure for name, figure in summary.counts.figures.items() if name in MAIN]
        probes = ["samples", *(str(summary.counts.samples[side]) for side in SIDES), ""]
        lines += ["", *plain(Table(HEADINGS, [probes, *figure_rows(figures)], "Share of samples, in %:")), ""]
        lines += verdict_lines(summary)
    return lines


def _check_limits(settings: AuditSettings) -> None:
    """Raise UserError for a limit on what will not be measured."""
    detection = settings.detection
    columns = columns_of(
        detection.span_length, detection.loop_repeats, detection.paraphrase_model, "pan", bool(detection.ner_model)
    )
    shares = [column.name for column in [*columns, *pass_columns()] if column.kind == "share"]
    for limit in settings.report.limits:
        if limit.column not in shares:
            raise UserError(f"--fail-above {limit.name}: no share has this name; give one of {', '.join(shares)}")
        if limit.excess and len(sides(settings.encoding.data)) == 1:
            raise UserError(f"--fail-above {limit.name}: is on a difference; name held-out texts by --held-out-data")


def _is_encoded(settings: EncodingSettings) -> bool:
    """Whether the encoding is there whole, of the same data, tokenizer and settings."""
    path = encoding_paths(settings.output_dir, settings.name)["probes"]
    try:
        manifest = checked(path, PROBES)
    except UserError:  # there is none, or not a whole one
        return False
    made_of, data = manifest.made_of, fingerprints(path for side in sides(settings.data) for path in side.paths)
    same = manifest.arguments == settings.flags and data.items() <= manifest.inputs.items()
    same = same and made_of["format"] == FORMAT
    return same and made_of["tokenizer"] == tokenizer_fingerprint(load_tokenizer(settings.tokenizer))


def _is_indexed(settings: AuditSettings, generations: Path) -> bool:
    """Whether the index of the generations is there whole, and the span index beside it."""
    manifest = read_manifest(generations, GENERATIONS)
    index, spans = (
        settings.indexing.index,
        span_index_path(settings.indexing.index.indexes, manifest.made_of["encoding"]),
    )
    try:
        whole = not index_mismatch(manifest, open_index(index).made_of())
    except UserError:
        return False
    metadata = read_whole(spans, manifest.made_of["encoding"])
    regions = " ".join(checked_regions(settings.indexing.regions))
    return whole and metadata is not None and metadata.made_of["regions"] == regions


def _names(settings: AuditSettings) -> list[str]:
    """What the models are called."""
    if len(settings.sources) > 1:
        return adapter_labels(settings.sources)
    name = settings.sources[0].name
    return [Path(name).name or name]


def _arguments(settings: AuditSettings, name: str) -> dict[str, Any]:
    """What the manifest of detections says of the flags. name: of the model."""
    flags, detection = settings.indexing.flags, settings.detection
    named = {"type": name, "dataset": settings.encoding.data.task.name}
    return flags | named | {"paraphrase_model": detection.paraphrase_model or "none", "ner_model": detection.ner_model}
