"""Stage 3's work on one model: continue each probe's prefix, score its suffix, and write a row of each."""

from typing import Any, NamedTuple

from tqdm import tqdm

from memorization.encoding.tokenizer_check import tokenizer_agrees
from memorization.extraction.canaries import expose
from memorization.extraction.continuing import decoded, generated, largest_batch
from memorization.extraction.generation import is_exact
from memorization.extraction.generations import FORMAT, Generation, Reach, write_listing
from memorization.extraction.kinds import GENERATIONS
from memorization.extraction.matches import exact_match, matched_tokens, near
from memorization.extraction.scores import scores
from memorization.models import hub
from memorization.models.limits import source_limit
from memorization.models.loading import CAUSAL, architecture_of, load_for_generation
from memorization.models.trained import held_out_perplexities, model_made_of
from memorization.shell.cli import UserError
from memorization.store import fingerprints, locations, manifests
from memorization.store.files import fingerprint
from memorization.store.rows import Rows


class Identity(NamedTuple):
    """What a model is. contents: its fingerprint. weights: the hashes of its files of weights. training: what made
    them, None for a model from elsewhere."""

    name: str
    contents: str
    weights: frozenset[str]
    training: dict[str, Any] | None


def identify(name):
    """The Identity of the model of a name, which has been loaded before. Raises UserError as model_made_of does."""
    directory = hub.directory(name)
    hashes = fingerprints.model_hashes(directory)
    contents = fingerprints.model_fingerprint(directory, hashes)
    weights = frozenset(hash for file, hash in hashes.items() if fingerprints.is_weights(file))
    return Identity(str(name), contents, weights, model_made_of(name, contents))


def check_base(name, dtype, device):
    """The Identity of the base model of a name, whose turn comes when the other one is done.

    It is loaded, as it will be then, so that whatever is wrong with it is told before the work. Raises UserError as
    load_for_generation and identify do.
    """
    load_for_generation(name, dtype, device)
    return identify(name)


def matching_tokenizer(name, probes, remedy, option=None):
    """The tokenizer of a name. Raises UserError for one that makes other tokens of the probes' texts.

    option: the flag by which another one can be named, if it can.
    """
    tokenizer = hub.load_tokenizer(name, option)
    if not tokenizer_agrees(tokenizer, probes.sets, probes.manifest.made_of):
        raise UserError(
            f"{name}: another tokenizer than the probes in {probes.path} were encoded with; encode with --tokenizer "
            f"set to it, or {remedy}"
        )
    return tokenizer


def check_kind(name, config, probes):
    """Raise UserError if the model of a name is not of the kind that the probes are for. config: of the model."""
    model = architecture_of(config)
    if (model is CAUSAL) == probes.pairs:
        other = "without" if probes.pairs else "with"
        raise UserError(
            f"{name}: is {model.what}, for which the probes in {probes.path} are not encoded; encode {other} "
            "--encoder-decoder, or name another model"
        )


def source_length(name, config, kind):
    """The most tokens that the encoder of a model is to read of a probe of a kind: as many as it was trained with.

    config: of the model, which may have a limit too.
    """
    trained = model_made_of(name) if config.is_encoder_decoder and kind == "target" else None
    return source_limit(config, kind, (trained or {}).get("max_source_length"))


def measure(args, state, probes, prompts, tokenizer, name, dtype, path, base=None, own=None, canaries=None):
    """Write the result of the model of a name, and that of its base model beside it; return its link (main process).

    prompts: of Probes.prompts. base: the Identity of its base model. own: where it is the base model, its own.
    canaries: those of the encoding.
    """
    if state.is_main_process:
        print(f"loading {name}", flush=True)
    model = load_for_generation(name, dtype, state.device)
    is_base, (_, contents, weights, training) = own is not None, own or identify(name)
    if base and base.weights == weights:
        raise UserError(
            f"{base.name}: has the weights of the model itself; name by --base-model what it was before fine-tuning"
        )
    strange = not is_base and training is not None and probes.encoding not in training["encoding"].split()
    if strange and not args.unchecked:
        raise UserError(
            f"{name}: was trained on another encoding ({training['encoding']}) than the probes in {probes.path} are of "
            f"({probes.encoding}), so members and held-out texts would be wrong; name the right ones by "
            "--tokenized-dir and --subset-name, or go on with --unchecked"
        )
    free = is_exact(model) and not (args.temperature or probes.longest_source)  # tokens do not depend on the batch
    size = args.batch_size if free else largest_batch(model, tokenizer.eos_token_id, probes, args)
    precision = str(model.dtype).removeprefix("torch.")
    made_of = {
        "model": contents,
        "encoding": probes.encoding,
        "trained_on": training and training["encoding"],
        "probe": probes.kind,
        "prefix_length": probes.prefix_length,
        "max_new_tokens": args.max_new_tokens,
        "temperature": args.temperature,
        "top_k": args.top_k,
        "top_p": args.top_p,
        "num_samples": args.num_samples,
        "seed": args.seed if args.temperature else None,
        "token_scores": args.token_scores,
        "dtype": precision,
        "batch_size": size,
        "format": FORMAT,
        "unchecked": strange,
    }
    if probes.pairs:
        made_of["source_length"] = args.source_length
    keys = [(id, sample) for id in probes.ids.tolist() for sample in range(args.num_samples)]
    ranks = state.process_index, state.num_processes
    results = {path: made_of}
    if base:
        of_base = {"model": base.contents, "trained_on": base.training and base.training["encoding"]}
        results[locations.base_path(path)] = made_of | of_base | {"unchecked": False}
    for result, of in results.items():  # may they be written? That is told before the work
        Rows(
            result, GENERATIONS, Generation, of, keys, size, *ranks, args.overwrite, [result.with_suffix(".txt")]
        ).close()
    inputs = {name: contents, str(probes.path): probes.manifest.contents}
    exposures = None  # all that makes them
    if canaries:
        known = {part: made_of[part] for part in ("model", "encoding", "trained_on", "dtype", "unchecked")}
        exposures = expose(model, canaries, path, known, state, args, inputs)
    listing = path.with_suffix(".txt")
    with Rows(
        path, GENERATIONS, Generation, made_of, keys, size, *ranks, args.overwrite, [path.with_suffix(".txt")]
    ) as rows:
        state.wait_for_everyone()  # all ranks have seen what is done before any adds to it
        if state.is_main_process:
            print(rows.progress)
        hidden = not (rows.mine and state.is_main_process)
        batches = [batch for _, batch in rows.mine]
        done = (decoded if free else generated)(model, tokenizer.eos_token_id, probes, keys, batches, args)
        for each in tqdm(done, total=len(batches), desc="generating", unit="batch", disable=hidden):
            rows.append(generations(tokenizer, *each, args))
        state.wait_for_everyone()
        link = None
        if base:
            del model  # there may be no room for both
            where = locations.base_path(path)
            link = measure(args, state, probes, prompts, tokenizer, base.name, precision, where, own=base)
        if not state.is_main_process:
            return None
        write_listing(listing, rows, args.num_samples)  # a kill here leaves rows without a manifest, or another run's
        rows.finish(
            args,
            inputs,
            listing=fingerprint(listing),
            tokenizer=probes.tokenizer,
            training=training,
            held_out=training and held_out_perplexities(name),
            too_short=probes.too_short,
            prompts=prompts,
            split={"near_duplicates": probes.manifest.made_of.get("near_duplicates")},
            base=link,
            canaries=exposures and manifests.identity(exposures),
        )
        report(name, rows)
    print(f"wrote {path} and {listing}")
    return manifests.link(path, name, GENERATIONS)


def generations(tokenizer, keys, probes, continued, passed, args):
    """The rows of a batch; keys, probes, continued and passed are what `continuing` gives."""
    for (_, sample), probe, ids, tokens in zip(keys, probes, continued, passed, strict=True):
        suffix = probe["suffix_ids"]
        said = decode(tokenizer, suffix[: args.max_new_tokens])
        yield Generation(
            id=probe["id"],
            sample=sample,
            member=probe["member"],
            duplicates=probe["duplicates"],
            cluster=probe["cluster"],
            prefix=probe["prefix"],
            suffix=probe["suffix"],
            reach=Reach(min(len(suffix), args.max_new_tokens), min(len(said), len(probe["suffix"]))),
            text=decode(tokenizer, ids),
            generation_ids=ids,
            matched_tokens=matched_tokens(ids, suffix),
            exact_match=exact_match(ids, suffix, args.max_new_tokens),
            near=near(ids, suffix, args.max_new_tokens),
            scores=tokens and scores(tokens, said, args.token_scores),
        )


def decode(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def report(name, rows):
    print(f"{name}:")
    counts = {True: [0, 0, 0], False: [0, 0, 0]}  # generations, exact matches, matched tokens
    for row in rows:
        for i, value in enumerate((1, row.exact_match, row.matched_tokens)):
            counts[row.member][i] += value
    for name, (number, exact, tokens) in zip(("members", "non-members"), counts.values(), strict=True):
        if number:
            print(f"{name}: {exact} of {number} reproduced exactly, {tokens / number:.1f} tokens matched on average")
