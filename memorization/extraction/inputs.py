"""What stage 3 reads before it asks a model: probes, tokenizers and limits, and whether they belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from accelerate import PartialState
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from memorization.encoding.kinds import PromptCount
from memorization.encoding.probe_file import FileProbes
from memorization.encoding.probe_sample import draw_samples
from memorization.encoding.probes import Probes
from memorization.encoding.prompt_counts import check_prompts, describe_prompts
from memorization.encoding.tokenizer_check import tokenizer_agrees
from memorization.extraction.settings import ExtractionSettings
from memorization.models import hub
from memorization.models.adapters import ModelSource, adapter_labels
from memorization.models.limits import WHOLE, context_length, source_limit
from memorization.models.loading import CAUSAL, architecture_of
from memorization.models.ranks import ranks
from memorization.models.trained import model_made_of
from memorization.shell.cli import UserError
from memorization.store.manifests import TextDigest
from memorization.store.rows import Key

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

    @property
    def keys(self) -> list[Key]:
        """Those of the rows, in order."""
        probed = zip(self.probes.ids.tolist(), self.probes.turns.tolist(), strict=True)
        return [(id, turn, sample) for id, turn in probed for sample in range(self.settings.num_samples)]

    @property
    def ends(self) -> list[int]:
        """The tokens that end a text."""
        return sorted({self.tokenizer.eos_token_id, *self.probes.ends})


def read_inputs(
    settings: ExtractionSettings,
    sources: Sequence[ModelSource],
    configs: Mapping[str, PretrainedConfig],
    context: int | None = None,
) -> list[Inputs]:
    """The Inputs of each of the models; prints what a person should know before the work. Raises UserError for models
    and probes that do not belong together.

    configs: of the models, by name, as far as they are known. context: the most tokens of a text where none says it.
    """
    probes = open_probes(settings)
    for name, config in configs.items():
        check_architecture(name, config, probes)
    tokenizers = _tokenizers(settings, sources, probes, bool(configs))
    plain = configs.get(sources[0].plain)
    source_length = min(longest_source(source, plain, probes.kind) for source in sources) if plain else WHOLE
    documents = _documents_digest(probes)
    virtual = max(source.adapter.virtual_tokens if source.adapter else 0 for source in sources)
    most = np.inf if context is None else context - settings.max_new_tokens
    longest = min((_longest_prefix(config, settings.max_new_tokens) for config in configs.values()), default=most)
    too_long = probes.leave_out(longest - virtual)
    if not configs and probes.longest_prefix > most:
        raise UserError(
            f"prefixes of {probes.longest_prefix} and {settings.max_new_tokens} new tokens are longer than the context "
            f"of {context} tokens; lower --max-new-tokens or --prefix-length"
        )
    for name, config in configs.items():
        read, length = min(probes.longest_source, source_length), probes.longest_prefix + virtual
        greatest = 0 if sources[0].adapter and config is plain else probes.greatest_id  # adapters may have more tokens
        check_context(name, config, greatest, length, settings.max_new_tokens, read)
    if isinstance(probes, FileProbes):
        probes.check_texts(tokenizers[0])
    prompts = probes.prompts(source_length)
    check_prompts(prompts, str(probes.path), probes.kind, settings.shared_prompts)
    drawn = _draw(settings, probes)
    state = ranks(needed=True)
    runs = [
        Inputs(each, state, tokenizer, probes, prompts, source_length, too_long, drawn, documents)
        for each, tokenizer in zip(_settings_of(settings, sources), tokenizers, strict=True)
    ]
    if state.is_main_process:
        _print_notes(runs[0], configs)
    return runs


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
    settings: ExtractionSettings, sources: Sequence[ModelSource], probes: Probes, are_here: bool
) -> list[PreTrainedTokenizerBase]:
    """The tokenizer of each model. Raises UserError if one, or the base model's, makes other tokens of the probes'
    texts. are_here: whether the models are, and with them the base model's tokenizer."""

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
    if settings.base_model and are_here:
        load(settings.base_model, "name another base model")
    return tokenizers


def _print_notes(inputs: Inputs, configs: Mapping[str, PretrainedConfig]) -> None:
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
