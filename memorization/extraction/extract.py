"""Stage 3's work: continue each probe's prefix with a model, score its suffix, and write a row of each."""

import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from memorization.encoding.canary_secrets import CanarySet, read_canaries
from memorization.encoding.decoded_texts import decode
from memorization.encoding.kinds import TextForm, split_rule
from memorization.encoding.probe_file import FileProbes
from memorization.encoding.tokens import TEXT
from memorization.extraction.backend import Backend, ModelIdentity, OpenModel
from memorization.extraction.endpoint_models import EndpointModels
from memorization.extraction.engine import Engine, Prompt, TokenScores
from memorization.extraction.file_engine import DeclaredModel
from memorization.extraction.form_losses import losses_by_form
from memorization.extraction.generations import FORMAT, Generation, Reach, write_listing
from memorization.extraction.inputs import Inputs, read_inputs
from memorization.extraction.kinds import GENERATIONS, GreedyCheck
from memorization.extraction.local_models import LocalModels
from memorization.extraction.matches import exact_match, match_texts, matched_tokens, near
from memorization.extraction.scores import scores
from memorization.extraction.secret_ranks import write_exposures
from memorization.extraction.settings import ExtractionSettings
from memorization.extraction.vllm_models import VllmModels
from memorization.models.adapters import ModelSource
from memorization.models.limits import context_length
from memorization.models.passes import virtual_ids
from memorization.models.ranks import ranks
from memorization.models.trained import held_out_perplexities
from memorization.shell.cli import UserError
from memorization.store import locations, manifests
from memorization.store.files import fingerprint, replacing
from memorization.store.manifests import Link
from memorization.store.rows import Rows

ENGINES = "transformers, vllm, the address of a server (http://...) or a file of generations"  # in a message


class BaseModel(NamedTuple):
    """The model before fine-tuning. generations: finished ones of it."""

    source: ModelSource
    identity: ModelIdentity
    generations: Path | None = None


def open_backend(settings: ExtractionSettings) -> Backend:
    """The Backend that `settings.engine` names. Raises UserError for models that it cannot have, and for more ranks."""
    backend = _backend_of(settings)
    if backend.one_process and ranks(needed=False).num_processes > 1:
        raise UserError(f"--engine {settings.engine}: takes one process; give the command without a launcher")
    return backend


def _backend_of(settings: ExtractionSettings) -> Backend:
    if settings.engine == "transformers":
        return LocalModels(settings)
    if settings.device_map:
        raise UserError(f"--device-map: is for --engine transformers; {settings.engine} has its own way, leave it out")
    if settings.engine == "vllm":
        return VllmModels(settings)
    if settings.engine.startswith(("http://", "https://")):
        return EndpointModels(settings)
    if Path(settings.engine).is_file():
        return DeclaredModel(settings)
    raise UserError(f"--engine {settings.engine}: no such engine or file; name {ENGINES}")


def extract(settings: ExtractionSettings) -> list[Path]:
    """Write the generations of a model, or of each of several adapters on it, and of its base model; return the paths
    of the models' own (in the main process). Raises UserError for models and probes that do not belong together.
    """
    backend = open_backend(settings)
    runs = read_inputs(settings, backend.sources, backend.configs, backend.context)
    state, probes, base = runs[0].state, runs[0].probes, None
    canaries = read_canaries(settings.tokenized_dir, settings.subset_name, probes.manifest)
    if settings.base_model:
        source = ModelSource(settings.base_model)
        if state.is_main_process:
            print(f"looking at {source.name}", flush=True)
        base = BaseModel(source, backend.identify_base(source, runs[0]))
    for inputs, source in zip(runs, backend.sources, strict=True):
        write_generations(inputs, backend, source, inputs.settings.path, base, canaries)
        base = base and base._replace(generations=locations.base_path(inputs.settings.path))
    return [inputs.settings.path for inputs in runs] if state.is_main_process else []


def write_generations(
    inputs: Inputs,
    backend: Backend,
    source: ModelSource,
    path: Path,
    base: BaseModel | None = None,
    canaries: CanarySet | None = None,
    is_base: bool = False,
) -> Link | None:
    """Write the generations of a model, and those of its base model beside them; return their link (main process).

    canaries: those of the encoding. is_base: whether the model is the base model.
    """
    settings, state, probes = inputs.settings, inputs.state, inputs.probes
    name = source.name
    with ExitStack() as stack:
        with backend.opened(source, inputs) as opened:
            engine, identity = opened.engine, opened.identity
            if base and _is_same(base.identity, identity):
                raise UserError(
                    f"{base.identity.name}: has the weights of the model itself; name by --base-model what it was "
                    "before fine-tuning"
                )
            made_of = _made_of(inputs, identity, engine, is_base)
            parts = inputs.keys, engine.batch_size, state.process_index, state.num_processes

            def rows_of(result: Path, of: dict[str, Any]) -> Rows:
                beside = [result.with_suffix(".txt")]
                return Rows(result, GENERATIONS, Generation, of, *parts, settings.overwrite, beside)

            of_base: dict[str, Any] = {}
            rows_of(path, made_of).close()  # whether results may be written is checked before the work
            if base:
                trained_on = base.identity.training and base.identity.training["encoding"]
                of_base = made_of | {"model": base.identity.contents, "trained_on": trained_on, "unchecked": False}
                rows_of(locations.base_path(path), of_base).close()
            contents_read = {name: identity.contents, str(probes.path): probes.manifest.contents}
            exposures, not_computed = None, engine.not_computed  # exposures: all that makes them
            if canaries and opened.model is not None:
                shared = {part: made_of[part] for part in ("model", "encoding", "trained_on", "dtype", "unchecked")}
                given = _behind(virtual_ids(opened.model), canaries)
                exposures = write_exposures(opened.model, given, settings, state, shared, contents_read)
            elif canaries:
                not_computed = not_computed | {"canaries": "the engine does not run the model in this process"}
                if state.is_main_process:
                    print(f"exposures of canaries: not computed, as {not_computed['canaries']}")
            rows = stack.enter_context(rows_of(path, made_of))
            state.wait_for_everyone()  # all ranks have seen what is done before any adds to it
            if state.is_main_process:
                print(rows.progress)
            _generate(inputs, engine, rows)
            of_texts = state.is_main_process and not is_base  # no report reads that of a base model
            text_form = _text_form(inputs, opened) if of_texts else None
            is_checked = opened.model is None and not settings.temperature
            state.wait_for_everyone()
        del opened, engine
        link = base and _write_base(inputs, backend, path, base, of_base)
        if not state.is_main_process:
            return None
        greedy_check = check_greedy(rows) if is_checked else None
        listing = path.with_suffix(".txt")
        write_listing(listing, rows, settings.num_samples)  # a kill here leaves rows without a manifest, or another's
        training = identity.training
        rows.finish(
            asdict(replace(settings, adapter=None) if is_base else settings),
            contents_read,
            listing=fingerprint(listing),
            tokenizer=probes.tokenizer,
            training=training,
            adapter=identity.parts,
            declared=identity.declared,
            held_out=training and held_out_perplexities(source.directory),
            too_short=probes.too_short,
            text_form=text_form,
            too_long=inputs.too_long,
            prompts=inputs.prompts,
            documents=inputs.documents,
            split=split_rule(probes.manifest),
            membership=None if is_base else "declared by the files" if training is None else "known from training",
            base=link,
            canaries=exposures and manifests.identity(exposures),
            not_computed=not_computed,
            greedy_check=greedy_check,
        )
        _print_matches(name, rows)
        if greedy_check:
            print(
                f"{greedy_check['differ']} of {greedy_check['compared']} generations part from their suffix at another "
                "token than the scores say: near ties, if they are few"
            )
    print(f"wrote {path} and {listing}")
    return manifests.link(path, name, GENERATIONS)


def _is_same(base: ModelIdentity, model: ModelIdentity) -> bool:
    """Whether two models have the same weights, as far as they are known."""
    return base.hashes == model.hashes if model.hashes else base.contents == model.contents


def check_greedy(rows: Iterable[Generation]) -> GreedyCheck | None:
    """How many greedy generations agree with their suffix for as many tokens as the scores say that greedy decoding
    does; None where an engine gives no scores or no tokens to compare."""
    compared = differ = 0
    for row in rows:
        expected = row.scores.matched_tokens if row.scores else UNSET
        if expected is not UNSET and row.matched_tokens is not None:
            compared, differ = compared + 1, differ + (expected != row.matched_tokens)
    return GreedyCheck(compared=compared, differ=differ) if compared else None


def _made_of(inputs: Inputs, model: ModelIdentity, engine: Engine, is_base: bool) -> dict[str, Any]:
    """What makes the generations of a model. Raises UserError for one that was trained on another encoding."""
    settings, probes, training = inputs.settings, inputs.probes, model.training
    other_encoding = not is_base and training is not None and probes.encoding not in training["encoding"].split()
    if training is not None and other_encoding and not settings.unchecked:
        raise UserError(
            f"{model.name}: was trained on another encoding ({training['encoding']}) than the probes in {probes.path} "
            f"are of ({probes.encoding}), so members and held-out texts would be wrong; name the right ones by "
            "--tokenized-dir and --subset-name, or go on with --unchecked"
        )
    made_of = {
        "model": model.contents,
        "encoding": probes.encoding,
        "trained_on": training and training["encoding"],
        "probe": probes.kind,
        "prefix_length": probes.prefix_length,
        **{field: getattr(settings, field) for field in ("max_new_tokens", "temperature", "top_k", "top_p")},
        "num_samples": settings.num_samples,
        "seed": settings.seed if settings.temperature else None,
        **engine.identity,
        "format": FORMAT,
        "unchecked": other_encoding,
    }
    if inputs.drawn:
        made_of["drawn"] = inputs.drawn
    if isinstance(probes, FileProbes):
        made_of["probe_file"] = probes.contents
    if probes.pairs:
        made_of["source_length"] = inputs.source_length
    return made_of


def _behind(virtual: list[int], canaries: CanarySet) -> CanarySet:
    """Canaries behind virtual tokens."""
    each = [msgspec.structs.replace(one, prefix_ids=[*virtual, *one.prefix_ids]) for one in canaries.canaries]
    return msgspec.structs.replace(canaries, canaries=each)


def _write_base(inputs: Inputs, backend: Backend, path: Path, base: BaseModel, made_of: dict[str, Any]) -> Link | None:
    """Write the base model's generations beside those in `path`, or take over the same that lie elsewhere; return
    their link (main process)."""
    name, own_path = base.identity.name, locations.base_path(path)
    if base.generations and manifests.read_manifest(base.generations, GENERATIONS).identity == manifests.identity(
        made_of
    ):
        if inputs.state.is_main_process:
            _copy_result(base.generations, own_path)
            return manifests.link(own_path, name, GENERATIONS)
        return None
    return write_generations(inputs, backend, base.source, own_path, is_base=True)


def _copy_result(path: Path, to: Path) -> None:
    """Copy generations with their listing and, at last, their manifest."""
    manifest = manifests.manifest_path(to)
    manifest.unlink(missing_ok=True)
    for one, other in (
        (path.with_suffix(".txt"), to.with_suffix(".txt")),
        (path, to),
        (manifests.manifest_path(path), manifest),
    ):
        with replacing(other) as temporary:
            shutil.copyfile(one, temporary)


def _text_form(inputs: Inputs, opened: OpenModel) -> TextForm:
    """What may be wrong with the form of the texts, for this model."""
    probes, config, losses = inputs.probes, opened.config, None
    facts = probes.manifest.facts
    if "scores" not in opened.engine.not_computed:
        context = opened.context or (context_length(config) if config else None)
        losses = losses_by_form(opened.engine, inputs.tokenizer, probes, context)
    return TextForm(
        form=probes.manifest.made_of.get("form", TEXT),
        named=facts["special_names"],
        samples=facts["samples"],
        template_unused=facts["template_unused"],
        vocabulary=config.get_text_config().vocab_size if config else len(inputs.tokenizer),
        losses=losses,
    )


def _generate(inputs: Inputs, engine: Engine, rows: Rows) -> None:
    """Score and continue this rank's probes, batch by batch, and append their rows."""
    settings, state, tokenizer, probes, *_ = inputs
    samples = settings.num_samples
    hidden = not (rows.mine and state.is_main_process)
    for _, batch in tqdm(rows.mine, desc="generating", unit="batch", disable=hidden):
        first = batch.start // samples
        nearby = probes[first : (batch.stop - 1) // samples + 1]
        of_batch = [(nearby[i // samples - first], i % samples) for i in batch]
        new = [probe for probe, sample in of_batch if not sample]  # each probe is scored once, in its first sample
        scored = iter(engine.score(new) if new else ())
        prompts = [Prompt(probe, sample, None if sample else next(scored)) for probe, sample in of_batch]
        continuations = engine.generate(prompts)
        rows.append(
            generation_row(tokenizer, *prompt, tokens, settings)
            for prompt, tokens in zip(prompts, continuations, strict=True)
        )


def generation_row(
    tokenizer: PreTrainedTokenizerBase,
    probe: dict[str, Any],
    sample: int,
    token_scores: TokenScores | None,
    continuation: list[int] | str,
    settings: ExtractionSettings,
) -> Generation:
    """The row of a generation. continuation: its token ids, or its text where an engine gives no tokens."""
    suffix, most = probe["suffix_ids"], settings.max_new_tokens
    reached = decode(tokenizer, suffix[:most])
    if isinstance(continuation, str):
        matched, text, tokens = None, continuation, []
        exact, close = match_texts(text, reached, probe["suffix"], partial(tokenizer.encode, add_special_tokens=False))
    else:
        text, tokens, reachable = decode(tokenizer, continuation), continuation, continuation[:most]
        matched, exact = matched_tokens(reachable, suffix), exact_match(reachable, suffix, most)
        close = near(reachable, suffix, most)
    return Generation(
        **{name: probe[name] for name in ("id", "turn", "member", "duplicates", "cluster", "prefix", "suffix")},
        sample=sample,
        reach=Reach(min(len(suffix), most), min(len(reached), len(probe["suffix"]))),
        text=text,
        generation_ids=tokens,
        matched_tokens=matched,
        exact_match=exact,
        near=close,
        scores=token_scores and scores(token_scores, reached, _token_lengths(probe, most)),
    )


def _token_lengths(probe: dict[str, Any], most: int) -> np.ndarray | None:
    """The characters of each of the first tokens of a probe's suffix; None where their places are not known."""
    starts = probe.get("suffix_starts")
    return None if starts is None else np.diff(starts, append=len(probe["suffix"]))[:most]


def _print_matches(name: str, rows: Rows) -> None:
    print(f"{name}:")
    counts = {True: [0, 0, 0, 0], False: [0, 0, 0, 0]}  # generations, exact matches, those with tokens, matched tokens
    for row in rows:
        measured, exact, matched = row.exact_match is not None, row.exact_match or 0, row.matched_tokens
        for i, value in enumerate((measured, exact, matched is not None, matched or 0)):
            counts[row.member][i] += value
    for side, (number, exact, of_tokens, tokens) in zip(("members", "non-members"), counts.values(), strict=True):
        if number:
            average = f", {tokens / of_tokens:.1f} tokens matched on average" if of_tokens else ""
            print(f"{side}: {exact} of {number} reproduced exactly{average}")
