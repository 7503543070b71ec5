"""Stage 3's work: continue each probe's prefix with a model, score its suffix, and write a row of each."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from tqdm import tqdm
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from memorization.encoding.canary_secrets import CanarySet, read_canaries
from memorization.encoding.kinds import PromptCount
from memorization.encoding.probe_file import FileProbes
from memorization.encoding.probes import Probes
from memorization.encoding.prompt_counts import check_prompts, describe_prompts
from memorization.encoding.tokenizer_check import tokenizer_agrees
from memorization.extraction.engine import Engine, Prompt, TokenScores
from memorization.extraction.generations import FORMAT, Generation, Reach, write_listing
from memorization.extraction.kinds import GENERATIONS
from memorization.extraction.matches import exact_match, matched_tokens, near
from memorization.extraction.scores import scores
from memorization.extraction.secret_ranks import write_exposures
from memorization.extraction.settings import ExtractionSettings
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.models import hub
from memorization.models.limits import context_length, source_limit
from memorization.models.loading import CAUSAL, architecture_of, load_config, load_for_generation
from memorization.models.trained import held_out_perplexities, model_made_of
from memorization.shell.cli import UserError
from memorization.store import fingerprints, locations, manifests
from memorization.store.files import fingerprint
from memorization.store.manifests import Link
from memorization.store.rows import Rows

SHOWN = 5  # ids in a message


class Inputs(NamedTuple):
    """What the generations of a model and of its base model have in common. source_length: the most tokens that an
    encoder reads. too_long: ids of the probes that were left out.
    """

    settings: ExtractionSettings
    state: PartialState
    tokenizer: PreTrainedTokenizerBase
    probes: Probes
    prompts: PromptCount
    source_length: int
    too_long: list[int]


class ModelIdentity(NamedTuple):
    """What a model is. contents: its fingerprint. weights: the hashes of its files of weights. training: what made
    them, None for a model from elsewhere."""

    name: str
    contents: str
    weights: frozenset[str]
    training: dict[str, Any] | None


def extract(settings: ExtractionSettings) -> Path | None:
    """Write the generations of a model and of its base model; return the path of the canaries' rows, if there are any
    (in the main process). Raises UserError for models and probes that do not belong together.
    """
    configs = {name: load_config(name) for name in (settings.model_path, settings.base_model) if name}
    probes = open_probes(settings)
    for name, config in configs.items():
        check_architecture(name, config, probes)
    tokenizer = _tokenizer(settings, probes)
    source_length = longest_source(settings.model_path, configs[settings.model_path], probes.kind)
    too_long = probes.leave_out(min(_longest_prefix(config, settings.max_new_tokens) for config in configs.values()))
    for name, config in configs.items():
        read = min(probes.longest_source, source_length)
        check_context(name, config, probes.greatest_id, probes.longest_prefix, settings.max_new_tokens, read)
    if isinstance(probes, FileProbes):
        probes.check_texts(tokenizer)
    prompts = probes.prompts(source_length)
    check_prompts(prompts, str(probes.path), probes.kind, settings.shared_prompts)
    canaries = read_canaries(settings.tokenized_dir, settings.subset_name, probes.manifest)
    state = PartialState(cpu=not torch.accelerator.is_available())
    inputs = Inputs(settings, state, tokenizer, probes, prompts, source_length, too_long)
    if state.is_main_process:
        _print_notes(inputs, configs)
    base = None
    if settings.base_model:
        if state.is_main_process:
            print(f"looking at {settings.base_model}", flush=True)
        # the two models have one precision
        dtype = configs[settings.model_path].dtype if settings.dtype == "auto" else settings.dtype
        base = check_base(settings.base_model, dtype or "auto", state.device)
    write_generations(inputs, settings.model_path, settings.dtype, settings.path, base, canaries=canaries)
    if not state.is_main_process or manifests.read_manifest(settings.path, GENERATIONS).facts["canaries"] is None:
        return None
    return locations.exposures_path(settings.path)


def open_probes(settings: ExtractionSettings) -> Probes:
    """Those of stage 1, or of a file of one's own."""
    if settings.probes is None:
        return Probes(settings.tokenized_dir, settings.subset_name, settings.prefix_length, settings.probe)
    if settings.probe or settings.prefix_length:
        raise UserError("--probes: a file says itself what is given; leave out --probe and --prefix-length")
    return FileProbes(settings.tokenized_dir, settings.subset_name, settings.probes)


def _tokenizer(settings: ExtractionSettings, probes: Probes) -> PreTrainedTokenizerBase:
    """The model's tokenizer. Raises UserError if it, or the base model's, makes other tokens of the probes' texts."""

    def load(name, remedy, option=None):
        tokenizer = hub.load_tokenizer(name, option)
        if not tokenizer_agrees(tokenizer, probes.sets, probes.manifest.made_of):
            raise UserError(
                f"{name}: another tokenizer than the probes in {probes.path} were encoded with; encode with "
                f"--tokenizer set to it, or {remedy}"
            )
        return tokenizer

    option = None if settings.token_path else "--token-path"
    tokenizer = load(settings.token_path or settings.model_path, "name the right one by --token-path", option)
    if settings.base_model:
        load(settings.base_model, "name another base model")
    return tokenizer


def _print_notes(inputs: Inputs, configs: dict[str, PretrainedConfig]) -> None:
    """Print what a person should know before the work."""
    settings, _, tokenizer, probes, prompts, _, too_long = inputs
    for name, config in configs.items():
        ends, own = config.get_text_config().eos_token_id, tokenizer.eos_token_id
        if own not in (ends if isinstance(ends, list) else [own if ends is None else ends]):
            print(
                f"{name}: its configuration ends a text with token {ends}, generations end with the tokenizer's, {own}"
            )
    if too_long:
        ids = ", ".join(map(str, too_long[:SHOWN])) + (", ..." if len(too_long) > SHOWN else "")
        print(
            f"{len(too_long)} of {len(too_long) + len(probes)} probes are left out: their prompts and "
            f"{settings.max_new_tokens} new tokens are longer than the model's context (ids {ids})"
        )
    if prompts["own"] < prompts["probes"]:
        print(describe_prompts(prompts))


def identify(name: str) -> ModelIdentity:
    """The ModelIdentity of a model that was loaded before. Raises UserError as model_made_of does."""
    directory = hub.directory(name)
    hashes = fingerprints.model_hashes(directory)
    contents = fingerprints.model_fingerprint(directory, hashes)
    weights = frozenset(hash for file, hash in hashes.items() if fingerprints.is_weights(file))
    return ModelIdentity(str(name), contents, weights, model_made_of(name, contents))


def check_base(name: str, dtype: torch.dtype | str, device: torch.device) -> ModelIdentity:
    """The ModelIdentity of a base model, whose turn comes when the other one is done.

    It is loaded, as it will be then, so that an error in it is reported before the work. Raises UserError as
    load_for_generation and identify do.
    """
    load_for_generation(name, dtype, device)
    return identify(name)


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


def longest_source(name: str, config: PretrainedConfig, kind: str) -> int:
    """The most tokens that the encoder of a model is to read of a probe of a kind: as many as it was trained with.

    config: of the model, which may have a limit too.
    """
    trained = model_made_of(name) if config.is_encoder_decoder and kind == "target" else None
    return source_limit(config, kind, (trained or {}).get("max_source_length"))


def load_engine(inputs: Inputs, name: str, dtype: str) -> Engine:
    """The engine of the model of a name."""
    settings, probes = inputs.settings, inputs.probes
    model = load_for_generation(name, dtype, inputs.state.device)
    eos = inputs.tokenizer.eos_token_id
    engine = TransformersEngine(model, eos, settings.decoding, settings.batch_size, inputs.source_length)
    engine.fit(probes, len(probes) * settings.num_samples)
    return engine


def write_generations(
    inputs: Inputs,
    name: str,
    dtype: str,
    path: Path,
    base: ModelIdentity | None = None,
    own: ModelIdentity | None = None,
    canaries: CanarySet | None = None,
) -> Link | None:
    """Write the generations of a model, and those of its base model beside them; return their link (main process).

    base: the identity of its base model. own: where it is the base model, its own. canaries: those of the encoding.
    """
    settings, state, tokenizer, probes, *_ = inputs
    if state.is_main_process:
        print(f"loading {name}", flush=True)
    engine = load_engine(inputs, name, dtype)
    is_base, (_, contents, weights, training) = own is not None, own or identify(name)
    if base and base.weights == weights:
        raise UserError(
            f"{base.name}: has the weights of the model itself; name by --base-model what it was before fine-tuning"
        )
    other_encoding = not is_base and training is not None and probes.encoding not in training["encoding"].split()
    if training is not None and other_encoding and not settings.unchecked:
        raise UserError(
            f"{name}: was trained on another encoding ({training['encoding']}) than the probes in {probes.path} are of "
            f"({probes.encoding}), so members and held-out texts would be wrong; name the right ones by "
            "--tokenized-dir and --subset-name, or go on with --unchecked"
        )
    made_of = {
        "model": contents,
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
    if isinstance(probes, FileProbes):
        made_of["probe_file"] = probes.contents
    if probes.pairs:
        made_of["source_length"] = inputs.source_length
    probed = zip(probes.ids.tolist(), probes.turns.tolist(), strict=True)
    keys = [(id, turn, sample) for id, turn in probed for sample in range(settings.num_samples)]
    ranks = state.process_index, state.num_processes
    results = {path: made_of}
    if base:
        of_base = {"model": base.contents, "trained_on": base.training and base.training["encoding"]}
        results[locations.base_path(path)] = made_of | of_base | {"unchecked": False}
    for result, of in results.items():  # whether they may be written is checked before the work
        beside = [result.with_suffix(".txt")]
        Rows(result, GENERATIONS, Generation, of, keys, engine.batch_size, *ranks, settings.overwrite, beside).close()
    contents_read = {name: contents, str(probes.path): probes.manifest.contents}
    exposures = None  # all that makes them
    if canaries and isinstance(engine, TransformersEngine):
        shared = {part: made_of[part] for part in ("model", "encoding", "trained_on", "dtype", "unchecked")}
        exposures = write_exposures(engine.model, canaries, settings, state, shared, contents_read)
    listing = path.with_suffix(".txt")
    with Rows(
        path, GENERATIONS, Generation, made_of, keys, engine.batch_size, *ranks, settings.overwrite, [listing]
    ) as rows:
        state.wait_for_everyone()  # all ranks have seen what is done before any adds to it
        if state.is_main_process:
            print(rows.progress)
        _generate(inputs, engine, rows)
        state.wait_for_everyone()
        link, not_computed = None, engine.not_computed
        if base:
            precision = str(made_of.get("dtype", dtype))
            del engine  # there may be no room for both
            link = write_generations(inputs, base.name, precision, locations.base_path(path), own=base)
        if not state.is_main_process:
            return None
        write_listing(listing, rows, settings.num_samples)  # a kill here leaves rows without a manifest, or another's
        rows.finish(
            asdict(settings),
            contents_read,
            listing=fingerprint(listing),
            tokenizer=probes.tokenizer,
            training=training,
            held_out=training and held_out_perplexities(name),
            too_short=probes.too_short,
            too_long=inputs.too_long,
            prompts=inputs.prompts,
            split={"near_duplicates": probes.manifest.made_of.get("near_duplicates")},
            base=link,
            canaries=exposures and manifests.identity(exposures),
            not_computed=not_computed,
        )
        _print_matches(name, rows)
    print(f"wrote {path} and {listing}")
    return manifests.link(path, name, GENERATIONS)


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
