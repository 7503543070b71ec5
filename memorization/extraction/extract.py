"""Stage 3's work: continue each probe's prefix with a model, score its suffix, and write a row of each."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from accelerate import PartialState
from tqdm import tqdm
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from memorization.encoding.canary_secrets import CanarySet, read_canaries
from memorization.encoding.kinds import PromptCount, TextForm, split_rule
from memorization.encoding.probe_file import FileProbes
from memorization.encoding.probe_sample import draw_samples
from memorization.encoding.probes import Probes
from memorization.encoding.prompt_counts import check_prompts, describe_prompts
from memorization.encoding.tokenizer_check import tokenizer_agrees
from memorization.encoding.tokens import TEXT
from memorization.extraction.decoding import forget_rounding
from memorization.extraction.engine import Engine, Prompt, TokenScores
from memorization.extraction.generations import FORMAT, Generation, Reach, write_listing
from memorization.extraction.kinds import GENERATIONS
from memorization.extraction.matches import exact_match, matched_tokens, near
from memorization.extraction.scores import scores
from memorization.extraction.secret_ranks import write_exposures
from memorization.extraction.settings import ExtractionSettings
from memorization.extraction.template_losses import losses_in_template
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.models import hub
from memorization.models.adapted import ModelWeights
from memorization.models.adapters import ModelSource, adapter_labels, model_sources
from memorization.models.limits import context_length, source_limit
from memorization.models.loading import CAUSAL, architecture_of, load_config
from memorization.models.passes import virtual_ids
from memorization.models.trained import held_out_perplexities, model_made_of
from memorization.shell.cli import UserError
from memorization.store import fingerprints, locations, manifests
from memorization.store.files import fingerprint, replacing
from memorization.store.manifests import Link, TextDigest
from memorization.store.rows import Rows

SHOWN = 5  # ids in a message


class Inputs(NamedTuple):
    """What the generations of a model and of its base model have in common. source_length: the most tokens that an
    encoder reads. too_long: ids of the probes that were left out. prompts: of all others, drawn or not. drawn: what
    made a sample of them, None for all. documents: the hash of the training suffixes, of all that an index holds.
    """

    settings: ExtractionSettings
    state: PartialState
    tokenizer: PreTrainedTokenizerBase
    probes: Probes
    prompts: PromptCount
    source_length: int
    too_long: list[int]
    drawn: dict[str, int | None] | None
    documents: str | None


class ModelIdentity(NamedTuple):
    """What a model is. contents: its fingerprint. hashes: of its files of weights. training: what made them, None for a
    model from elsewhere. parts: of an adapter, its own fingerprint and that of its base model."""

    name: str
    contents: str
    hashes: frozenset[str]
    training: dict[str, Any] | None
    parts: dict[str, str] | None = None


class BaseModel(NamedTuple):
    """The model before fine-tuning. weights: may be those that an adapter is on. generations: finished ones of it."""

    identity: ModelIdentity
    weights: ModelWeights
    generations: Path | None = None


def extract(settings: ExtractionSettings) -> list[Path]:
    """Write the generations of a model, or of each of several adapters on it, and of its base model; return the paths
    of the models' own (in the main process). Raises UserError for models and probes that do not belong together.

    The base model of adapters is in memory once: its own generations are those of its weights without an adapter.
    """
    sources = model_sources(settings.model_path, settings.adapter)
    plain, base_name = sources[0].plain, settings.base_model
    configs = {name: _config_of(name, sources) for name in (plain, base_name) if name}
    probes = open_probes(settings)
    for name, config in configs.items():
        check_architecture(name, config, probes)
    tokenizers = _tokenizers(settings, sources, probes)
    source_length = min(longest_source(source, configs[plain], probes.kind) for source in sources)
    documents = _documents_digest(probes)
    virtual = max(source.adapter.virtual_tokens if source.adapter else 0 for source in sources)
    longest = min(_longest_prefix(config, settings.max_new_tokens) for config in configs.values())
    too_long = probes.leave_out(longest - virtual)
    for name, config in configs.items():
        read, length = min(probes.longest_source, source_length), probes.longest_prefix + virtual
        greatest = 0 if sources[0].adapter and name == plain else probes.greatest_id  # adapters may have more tokens
        check_context(name, config, greatest, length, settings.max_new_tokens, read)
    if isinstance(probes, FileProbes):
        probes.check_texts(tokenizers[0])
    prompts = probes.prompts(source_length)
    check_prompts(prompts, str(probes.path), probes.kind, settings.shared_prompts)
    drawn = _draw(settings, probes)
    canaries = read_canaries(settings.tokenized_dir, settings.subset_name, probes.manifest)
    state = PartialState(cpu=not torch.accelerator.is_available())
    runs = [
        Inputs(each, state, tokenizer, probes, prompts, source_length, too_long, drawn, documents)
        for each, tokenizer in zip(_settings_of(settings, sources), tokenizers, strict=True)
    ]
    if state.is_main_process:
        _print_notes(runs[0], configs)
    weights, base = ModelWeights(plain, settings.dtype, state.device), None
    if base_name:
        of_adapters = sources[0].adapter and hub.directory(base_name).resolve() == hub.directory(plain).resolve()
        # the two models have one precision
        dtype = (configs[plain].dtype if settings.dtype == "auto" else settings.dtype) or "auto"
        base_weights = weights if of_adapters else ModelWeights(base_name, dtype, state.device)
        if state.is_main_process:
            print(f"looking at {base_name}", flush=True)
        base = BaseModel(check_base(base_weights), base_weights)
        if not of_adapters:
            base_weights.release()  # its turn comes when the other one is done
    for inputs, source in zip(runs, sources, strict=True):
        write_generations(inputs, source, weights, inputs.settings.path, base, canaries=canaries)
        base = base and base._replace(generations=locations.base_path(inputs.settings.path))
    return [inputs.settings.path for inputs in runs] if state.is_main_process else []


def _config_of(name: str, sources: Sequence[ModelSource]) -> PretrainedConfig:
    """The configuration of a model. An error in that of adapters' base model names the adapter."""
    try:
        return load_config(name)
    except UserError as error:
        if name != sources[0].plain or not sources[0].adapter:
            raise
        raise UserError(f"{error} (the base model of the adapter {sources[0].name})") from None


def _settings_of(settings: ExtractionSettings, sources: Sequence[ModelSource]) -> list[ExtractionSettings]:
    """The settings of each of the sources; the results of several adapters lie beside each other, named by them."""
    if not sources[0].adapter:
        return [settings]
    labels = adapter_labels(sources) if len(sources) > 1 else [None]
    return [
        replace(
            settings,
            model_path=source.plain,
            adapter=[source.name],
            output_name=f"{settings.output_name}-{label}" if label else settings.output_name,
        )
        for source, label in zip(sources, labels, strict=True)
    ]


def open_probes(settings: ExtractionSettings) -> Probes:
    """Those of stage 1, or of a file of one's own."""
    if settings.probes is None:
        return Probes(settings.tokenized_dir, settings.subset_name, settings.prefix_length, settings.probe)
    if settings.probe or settings.prefix_length is not None:
        raise UserError("--probes: a file says itself what is given; leave out --probe and --prefix-length")
    return FileProbes(settings.tokenized_dir, settings.subset_name, settings.probes)


def _documents_digest(probes: Probes) -> str | None:
    """The hash of the documents that an index of the probes holds; None for a file's, which is not of an index."""
    if isinstance(probes, FileProbes):
        return None
    digest = TextDigest()
    for document in probes.documents():
        digest.add(*document)
    return digest.hex()


def _draw(settings: ExtractionSettings, probes: Probes) -> dict[str, int | None] | None:
    """Leave out the probes that are not of the sample that is asked for; return what makes it."""
    if settings.members is settings.held_out is None:
        return None
    probes.keep(draw_samples(probes, settings.members, settings.held_out, settings.seed))
    return {"members": settings.members, "held_out": settings.held_out, "seed": settings.seed}


def _tokenizers(
    settings: ExtractionSettings, sources: Sequence[ModelSource], probes: Probes
) -> list[PreTrainedTokenizerBase]:
    """The tokenizer of each model. Raises UserError if one, or the base model's, makes other tokens of the probes'
    texts."""

    def load(name, remedy, option=None):
        tokenizer = hub.load_tokenizer(name, option)
        if not tokenizer_agrees(tokenizer, probes.sets, probes.manifest.made_of):
            raise UserError(
                f"{name}: another tokenizer than the probes in {probes.path} were encoded with; encode with "
                f"--tokenizer set to it, or {remedy}"
            )
        return tokenizer

    option, remedy = None if settings.token_path else "--token-path", "name the right one by --token-path"
    tokenizers = [load(settings.token_path or source.tokenizer, remedy, option) for source in sources]
    if settings.base_model:
        load(settings.base_model, "name another base model")
    return tokenizers


def _print_notes(inputs: Inputs, configs: dict[str, PretrainedConfig]) -> None:
    """Print what a person should know before the work."""
    settings, _, tokenizer, probes, prompts, _, too_long, drawn, _ = inputs
    for name, config in configs.items():
        ends, own = config.get_text_config().eos_token_id, tokenizer.eos_token_id
        if not {own, *probes.ends} & {*(ends if isinstance(ends, list) else [own if ends is None else ends])}:
            print(
                f"{name}: its configuration ends a text with token {ends}, generations end with the tokenizer's, {own}"
            )
    if too_long:
        ids = ", ".join(map(str, too_long[:SHOWN])) + (", ..." if len(too_long) > SHOWN else "")
        print(
            f"{len(too_long)} of {len(too_long) + prompts['probes']} probes are left out: their prompts and "
            f"{settings.max_new_tokens} new tokens are longer than the model's context (ids {ids})"
        )
    if drawn:
        print(f"{len(probes)} of {prompts['probes']} probes are drawn")
    if prompts["own"] < prompts["probes"]:
        print(describe_prompts(prompts))


def identify(source: ModelSource) -> ModelIdentity:
    """The ModelIdentity of a model that was loaded before. Raises UserError as model_made_of does, and for an adapter
    that stage 2 trained on another base model."""
    directory = hub.directory(source.plain)
    hashes = fingerprints.model_hashes(directory)
    contents, of_weights = fingerprints.model_fingerprint(directory, hashes), _of_weights(hashes)
    if source.adapter is None:
        return ModelIdentity(source.name, contents, of_weights, model_made_of(source.plain, contents))
    hashes = fingerprints.model_hashes(source.adapter.directory)
    own = fingerprints.model_fingerprint(source.adapter.directory, hashes)
    training = model_made_of(source.adapter.directory, own)
    if training and training.get("base_model", contents) != contents:
        raise UserError(f"{source.name}: was trained on another base model than {source.plain}; name that one")
    both = fingerprints.adapted_fingerprint(own, contents)
    parts = {"adapter": own, "base_model": contents}
    return ModelIdentity(source.name, both, of_weights | _of_weights(hashes), training, parts)


def _of_weights(hashes: dict[str, str]) -> frozenset[str]:
    return frozenset(hash for file, hash in hashes.items() if fingerprints.is_weights(file))


def check_base(weights: ModelWeights) -> ModelIdentity:
    """The ModelIdentity of a base model.

    It is loaded, so that an error in it is reported before the work. Raises UserError as load_for_generation and
    identify do.
    """
    with weights.using():
        return identify(ModelSource(weights.name))


def check_architecture(name: str, config: PretrainedConfig, probes: Probes) -> None:
    """Raise UserError if a model is not of the architecture that the probes are for."""
    architecture = architecture_of(config)
    if (architecture is CAUSAL) == probes.pairs:
        other = "without" if probes.pairs else "with"
        raise UserError(
            f"{name}: is {architecture.what}, for which the probes in {probes.path} are not encoded; encode {other} "
            "--encoder-decoder, or name another model"
        )


def _longest_prefix(config: PretrainedConfig, new_tokens: int) -> float:
    """The most tokens of a prefix that a model can continue by so many: those of an encoder-decoder model follow the
    token that starts the decoder."""
    context = context_length(config)
    return np.inf if context is None else context - new_tokens - config.is_encoder_decoder


def check_context(
    name: str, config: PretrainedConfig, greatest_id: int, prefix_length: int, new_tokens: int, source_length: int = 0
) -> None:
    """Raise UserError if a model cannot hold a prefix and its continuation, or lacks one of the tokens.

    greatest_id: of the tokens of the probes; what else a tokenizer has does not matter. source_length: tokens that the
    encoder reads.
    """
    context = context_length(config)
    if prefix_length > _longest_prefix(config, new_tokens):
        raise UserError(
            f"{name}: its context of {context} tokens is shorter than prefix + new tokens "
            f"({prefix_length + config.is_encoder_decoder} + {new_tokens}); lower --max-new-tokens or --prefix-length, "
            "or encode shorter texts for --probe target"
        )
    if context is not None and source_length > context:
        raise UserError(
            f"{name}: its context of {context} tokens is shorter than what its encoder is to read ({source_length}); "
            "lower --prefix-length"
        )
    if greatest_id >= (size := config.get_text_config().vocab_size):
        raise UserError(
            f"{name}: token id {greatest_id} of the probes is beyond its vocabulary of {size}; name the "
            "model that they were encoded for"
        )


def longest_source(source: ModelSource, config: PretrainedConfig, kind: str) -> int:
    """The most tokens that the encoder of a model is to read of a probe of a kind: as many as it was trained with.

    config: of the model, which may have a limit too.
    """
    trained = model_made_of(source.directory) if config.is_encoder_decoder and kind == "target" else None
    return source_limit(config, kind, (trained or {}).get("max_source_length"))


def load_engine(inputs: Inputs, model: PreTrainedModel) -> Engine:
    """The engine of a model."""
    settings, probes = inputs.settings, inputs.probes
    forget_rounding(model)  # another adapter may be in use than before
    ends = sorted({inputs.tokenizer.eos_token_id, *probes.ends})
    engine = TransformersEngine(model, ends, settings.decoding, settings.batch_size, inputs.source_length)
    engine.fit(probes, len(probes) * settings.num_samples)
    return engine


def write_generations(
    inputs: Inputs,
    source: ModelSource,
    weights: ModelWeights,
    path: Path,
    base: BaseModel | None = None,
    own: ModelIdentity | None = None,
    canaries: CanarySet | None = None,
) -> Link | None:
    """Write the generations of a model, and those of its base model beside them; return their link (main process).

    own: where it is the base model, its identity. canaries: those of the encoding.
    """
    settings, state, tokenizer, probes, *_ = inputs
    name = source.name
    with ExitStack() as stack:
        if state.is_main_process:
            print(f"loading {name}", flush=True)
        with weights.using(source.adapter) as model:
            if source.adapter:
                length = probes.longest_prefix + source.adapter.virtual_tokens
                check_context(name, model.config, probes.greatest_id, length, settings.max_new_tokens)
            engine = load_engine(inputs, model)
            is_base, identity = own is not None, own or identify(source)
            if base and base.identity.hashes == identity.hashes:
                raise UserError(
                    f"{base.identity.name}: has the weights of the model itself; name by --base-model what it was "
                    "before fine-tuning"
                )
            made_of = _made_of(inputs, identity, engine, is_base)
            probed = zip(probes.ids.tolist(), probes.turns.tolist(), strict=True)
            keys = [(id, turn, sample) for id, turn in probed for sample in range(settings.num_samples)]
            ranks = state.process_index, state.num_processes

            def rows_of(result: Path, of: dict[str, Any], engine: Engine = engine) -> Rows:
                beside = [result.with_suffix(".txt")]
                return Rows(
                    result, GENERATIONS, Generation, of, keys, engine.batch_size, *ranks, settings.overwrite, beside
                )

            of_base: dict[str, Any] = {}
            rows_of(path, made_of).close()  # whether results may be written is checked before the work
            if base:
                trained_on = base.identity.training and base.identity.training["encoding"]
                of_base = made_of | {"model": base.identity.contents, "trained_on": trained_on, "unchecked": False}
                rows_of(locations.base_path(path), of_base).close()
            contents_read = {name: identity.contents, str(probes.path): probes.manifest.contents}
            exposures, not_computed = None, engine.not_computed  # exposures: all that makes them
            if canaries and isinstance(engine, TransformersEngine):
                shared = {part: made_of[part] for part in ("model", "encoding", "trained_on", "dtype", "unchecked")}
                given = _behind(virtual_ids(model), canaries)
                exposures = write_exposures(model, given, settings, state, shared, contents_read)
            elif canaries:
                not_computed = not_computed | {"canaries": "the engine does not run the model in this process"}
                if state.is_main_process:
                    print(f"exposures of canaries: not computed, as {not_computed['canaries']}")
            rows = stack.enter_context(rows_of(path, made_of))
            state.wait_for_everyone()  # all ranks have seen what is done before any adds to it
            if state.is_main_process:
                print(rows.progress)
            _generate(inputs, engine, rows)
            text_form = _text_form(inputs, model, engine) if state.is_main_process else None
            state.wait_for_everyone()
        del engine, model, rows_of
        link = base and _write_base(inputs, weights, path, base, of_base)
        if not state.is_main_process:
            return None
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
        )
        _print_matches(name, rows)
    print(f"wrote {path} and {listing}")
    return manifests.link(path, name, GENERATIONS)


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
        "token_scores": settings.token_scores,
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


def _write_base(
    inputs: Inputs, weights: ModelWeights, path: Path, base: BaseModel, made_of: dict[str, Any]
) -> Link | None:
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
    if base.weights is not weights:  # there may be no room for both
        weights.release()
        base.weights.dtype = made_of.get("dtype", base.weights.dtype)
    link = write_generations(inputs, ModelSource(name), base.weights, own_path, own=base.identity)
    if base.weights is not weights:
        base.weights.release()
    return link


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


def _text_form(inputs: Inputs, model: PreTrainedModel, engine: Engine) -> TextForm:
    """What may be wrong with the form of the texts, for this model."""
    probes, config = inputs.probes, model.config.get_text_config()
    facts = probes.manifest.facts
    return TextForm(
        form=probes.manifest.made_of.get("form", TEXT),
        named=facts["special_names"],
        samples=facts["samples"],
        template_unused=facts["template_unused"],
        vocabulary=config.vocab_size,
        losses=losses_in_template(engine, inputs.tokenizer, probes, context_length(model.config)),
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
    matches: dict[str, Any] = dict.fromkeys(("matched_tokens", "exact_match", "near"))
    if not isinstance(continuation, str):
        matches["matched_tokens"] = matched_tokens(continuation, suffix)
        matches["exact_match"] = exact_match(continuation, suffix, most)
        matches["near"] = near(continuation, suffix, most)
    return Generation(
        **{name: probe[name] for name in ("id", "turn", "member", "duplicates", "cluster", "prefix", "suffix")},
        sample=sample,
        reach=Reach(min(len(suffix), most), min(len(reached), len(probe["suffix"]))),
        text=continuation if isinstance(continuation, str) else decode(tokenizer, continuation),
        generation_ids=[] if isinstance(continuation, str) else continuation,
        scores=token_scores and scores(token_scores, reached, settings.token_scores),
        **matches,
    )


def decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """The text of token ids, special tokens left out."""
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)  # as of one list of ids
    return text


def _print_matches(name: str, rows: Rows) -> None:
    print(f"{name}:")
    counts = {True: [0, 0, 0], False: [0, 0, 0]}  # generations, exact matches, matched tokens
    for row in rows:
        for i, value in enumerate((row.exact_match is not None, row.exact_match or 0, row.matched_tokens or 0)):
            counts[row.member][i] += value
    for side, (number, exact, tokens) in zip(("members", "non-members"), counts.values(), strict=True):
        if number:
            print(f"{side}: {exact} of {number} reproduced exactly, {tokens / number:.1f} tokens matched on average")
