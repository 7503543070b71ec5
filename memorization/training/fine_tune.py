"""The body of stage 2: train a model unless that is done, evaluate it, and describe it."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import BatchSampler
from transformers import TrainingArguments, set_seed
from transformers.trainer_utils import IntervalStrategy

from memorization.models import hub
from memorization.models.adapted import add_adapter
from memorization.models.adapters import ModelSource, model_source, read_adapter
from memorization.models.loading import Architecture, check_precision, held_here, load_for_training
from memorization.models.ranks import on_first_rank
from memorization.models.trained import MODEL, PERPLEXITIES
from memorization.shell.cli import UserError
from memorization.store.files import locked
from memorization.store.fingerprints import model_fingerprint
from memorization.store.manifests import write_manifest
from memorization.training.canary_loss import describe_canaries
from memorization.training.checkpoints import full_disk_reported, is_finished, last_checkpoint, record_run
from memorization.training.distributed import check_saves_whole, print_once
from memorization.training.flag_parser import refused_flags_named
from memorization.training.input_checks import check_base_model, check_output_dir, check_sets
from memorization.training.lora import add_adapters, save_merged
from memorization.training.losses import check_finite
from memorization.training.memorization_curve import CURVE, Curve, read_curve_probes
from memorization.training.packing import PackingCheck, Packs, collate_packs
from memorization.training.run_identity import LED_BY_HELD_OUT, run_made_of
from memorization.training.settings import FineTuneSettings
from memorization.training.task_mixture import apportion, concatenated
from memorization.training.token_blocks import collate, vocabulary_size
from memorization.training.trainer import OUTPUT, TokenTrainer

# (paths by kind of set, model, settings) -> training data by kind of set, and the settings that determine it
Reader = Callable[[dict[str, list[str]], Any, Any], tuple[dict[str, list[Any]], dict[str, Any]]]


def fine_tune(
    architecture: Architecture, read: Reader, settings: FineTuneSettings, arguments: TrainingArguments
) -> None:
    """Train the model unless that is done, evaluate it, and describe it; one process at a time in an output directory.

    read: read_blocks or read_sources_and_targets. settings, arguments: of flag_parser.parse_flags.
    """
    with ExitStack() as stack:
        stack.enter_context(refused_flags_named(arguments))
        for seed in (arguments.data_seed, arguments.seed):
            set_seed(seed or 0)
        for batch_size in (arguments.train_batch_size, arguments.eval_batch_size):
            BatchSampler([], batch_size, drop_last=False)
        on_first_rank(lambda: stack.enter_context(locked(str(arguments.output_dir))))
        _fine_tune(architecture, read, settings, arguments)


def _fine_tune(architecture, read, settings, arguments):
    output_dir, trains = arguments.output_dir, arguments.do_train
    from_scratch = bool(settings.config_name)
    model_of = ModelSource(settings.config_name) if from_scratch else _source(settings)
    source, adapter = model_of.plain, model_of.adapter
    on_first_rank(check_output_dir, output_dir, None if from_scratch else model_of.directory, trains)
    tokenizer_name = settings.tokenizer_name
    tokenizer = hub.load_tokenizer(tokenizer_name or model_of.tokenizer, None if tokenizer_name else "--tokenizer-name")
    paths = {"training set": settings.train_file, "held-out set": settings.validation_file}
    paths = {kind: directories for kind, directories in paths.items() if directories}
    sets = on_first_rank(check_sets, paths, tokenizer, architecture)
    _leave_out_empty(paths, sets, arguments)
    model = load_for_training(architecture, source, tokenizer, arguments.seed, from_scratch)
    base, base_encoding = (None, None) if from_scratch else on_first_rank(check_base_model, source, sets, trains)
    adapter_contents = None
    if adapter:
        adapter_contents, of_adapter = on_first_rank(check_base_model, adapter.directory, sets, trains)
        base_encoding = of_adapter or base_encoding
        model = add_adapter(model, adapter, source, trainable=trains)
    config = model.config.get_text_config()
    check_precision(config, arguments.mixed_precision, source)
    model_type = settings.model_type
    if model_type and model_type.replace("-", "").replace("_", "") != config.model_type.replace("_", ""):
        print_once(f"--model_type {model_type}: {source} is of type {config.model_type}; going on with that")

    samples, data_settings = read(paths, model, settings)
    training = samples.get("training set")
    for manifest, blocks in zip(sets.get("training set", ()), training or (), strict=True):
        if planted := manifest.facts.get("canaries"):
            print_once("\n".join(on_first_rank(describe_canaries, blocks, planted)))
    probes = None
    if trains and settings.memorization_probes:
        source_length = data_settings.get("max_source_length")
        probes = on_first_rank(read_curve_probes, settings, sets["training set"], model, source_length)
    if settings.task_weights and not (draws := apportion(sum(map(len, training)), settings.task_weights)).all():
        never = paths["training set"][draws.argmin()]
        raise UserError(
            f"{never}: is not drawn from once an epoch; give it more weight (--task-weights), or leave it out"
        )

    made_of, finished = None, False
    if trains:
        data_settings |= {"task_weights": settings.task_weights, "lora_rank": settings.lora_rank}
        data_settings["adapter"] = adapter_contents
        made_of = run_made_of(arguments, sets, tokenizer, base, config, data_settings)
        finished = not settings.overwrite_output_dir and on_first_rank(is_finished, output_dir, made_of)
    trains = trains and not finished
    if finished:
        print_once(f"{output_dir}: this run is finished, nothing to train (--overwrite-output-dir starts over)")
        if probes and not Path(output_dir, CURVE).is_file():
            print_once("it has no curve, which is measured while a model trains")
        model = load_for_training(architecture, source if adapter else output_dir, tokenizer, arguments.seed)
        if adapter:
            model = add_adapter(model, read_adapter(output_dir), source)
    elif trains and config.eos_token_id != tokenizer.eos_token_id:
        before, after = config.eos_token_id, tokenizer.eos_token_id
        print_once(f"the model's end-of-text token {before} becomes the tokenizer's, {after}")
        config.eos_token_id = after

    trainer = _trainer(architecture, model, tokenizer, samples, data_settings, trains, settings, arguments)
    if probes and trains:
        trainer.add_callback(Curve(trainer, probes, settings.memorization_steps))
    check_saves_whole(trainer.accelerator.state)
    print_once(f"writing to {output_dir}")
    with closing(trainer.progress):
        if trains:
            _train(trainer, made_of, settings.overwrite_output_dir)
        metrics = trainer.evaluate() if arguments.do_eval else {}
    if metrics:
        names = ("loss", "perplexity", *OUTPUT, "runtime", "samples_per_second", "steps_per_second")
        written = {f"eval_{name}" for name in names}  # the same after a kill
        metrics = {name: value for name, value in metrics.items() if name in written}
        trainer.save_metrics("eval", metrics, combined=False)
        loss, perplexity = metrics["eval_loss"], metrics["eval_perplexity"]
        print_once(f"held-out loss {loss:.4f} nats a token, perplexity {perplexity:.2f}")
    if trains and trainer.is_world_process_zero():
        files = [(path, manifest) for kind in sets for path, manifest in zip(paths[kind], sets[kind], strict=True)]
        write_manifest(
            output_dir,
            MODEL,
            made_of,
            {**vars(settings), **arguments.to_sanitized_dict()},
            inputs={source: base}
            | ({adapter.name: adapter_contents} if adapter else {})
            | {path: manifest.contents for path, manifest in files},
            contents=model_fingerprint(output_dir),
            rows=sum(len(data.rows) for data in training),
            blocks=sum(map(len, training)),
            held_out={name: metrics[f"eval_{name}"] for name in PERPLEXITIES if f"eval_{name}" in metrics},
            base_encoding=base_encoding,
            device=torch.cuda.get_device_name() if arguments.device.type == "cuda" else arguments.device.type,
        )
        print_once(f"model and tokenizer are in {output_dir}")


def _source(settings):
    """The ModelSource to train. Raises UserError for an adapter that cannot be trained."""
    source = model_source(settings.model_name_or_path, settings.adapter)
    if source.adapter and settings.lora_rank:
        raise UserError(f"--lora-rank: leave it out; {source.name} is an adapter, and it is that one that is trained")
    if source.adapter and source.adapter.virtual_tokens:
        raise UserError(f"{source.name}: is prompt tuning, which peft cannot go on training; name another adapter")
    return source


def _leave_out_empty(paths, sets, arguments):
    """Leave out held-out sets without a sample, of data without held-out ones; without any other nothing is evaluated.

    paths, sets, arguments: changed in place. Raises UserError where the training depends on the held-out loss.
    """
    if "held-out set" not in sets:
        return
    both = list(zip(paths["held-out set"], sets["held-out set"], strict=True))
    for path, manifest in both:
        if not manifest.rows:
            print_once(f"{path}: no held-out samples, so there is no control")
    paths["held-out set"], sets["held-out set"] = ([pair[i] for pair in both if pair[1].rows] for i in (0, 1))
    if sets["held-out set"]:
        return
    led = arguments.load_best_model_at_end or arguments.lr_scheduler_type in LED_BY_HELD_OUT
    if led or not arguments.do_train:
        what = "whose loss the training is to go by" if led else "so there is nothing to evaluate"
        raise UserError(f"{both[0][0]}: no held-out samples, {what}; encode with --held-out-data")
    del paths["held-out set"], sets["held-out set"]
    arguments.do_eval, arguments.eval_strategy, arguments.eval_on_start = False, IntervalStrategy.NO, False


def _trainer(architecture, model, tokenizer, samples, data_settings, trains, settings, arguments):
    """The TokenTrainer of a model and its data, which adapts the model and packs the data where settings say so."""
    pad, vocab_size = tokenizer.pad_token_id, vocabulary_size(model)
    if pad is not None and pad >= vocab_size:
        beyond = f"beyond the model's vocabulary of {vocab_size}"
        print_once(f"the tokenizer pads with {pad}, {beyond}: padding with its end of text")
        tokenizer.pad_token = tokenizer.eos_token  # the Trainer saves it in the configuration
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    collator = partial(collate, shift=None if architecture.ahead else model.prepare_decoder_input_ids_from_labels)
    training, callbacks = samples.get("training set"), []
    if data_settings.get("packing"):
        collator = collate_packs
        if arguments.do_train:
            seed = arguments.seed if arguments.data_seed is None else arguments.data_seed
            training = [Packs(blocks, seed) for blocks in training]
            for packs in training:
                print_once(
                    f"packed into {len(packs)} rows of {data_settings['block_size']} tokens, {packs.full:.0%} full"
                )
            callbacks = [PackingCheck(training, pad_token_id)]
    if settings.lora_rank and trains:
        model = add_adapters(model, settings.lora_rank, arguments.seed)
    return TokenTrainer(
        architecture,
        model=model,
        args=arguments,
        train_dataset=concatenated(training),
        eval_dataset=concatenated(samples.get("held-out set")),
        train_weights=settings.task_weights,
        data_collator=partial(collator, pad_token_id=pad_token_id),
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def _train(trainer, made_of, start_over):
    """Train from the last checkpoint, or from the start; save the model, its tokenizer and the training figures."""
    output_dir = trainer.args.output_dir
    last = None if start_over else on_first_rank(last_checkpoint, output_dir)
    if last:
        print_once(f"going on from {last} (--overwrite-output-dir starts over)")
        trainer.args.eval_on_start = False
    on_first_rank(record_run, output_dir, made_of, start_over)
    with full_disk_reported(output_dir):
        result = trainer.train(resume_from_checkpoint=str(last) if last else None)
        weights = dict(trainer.model.named_parameters())
        sums = torch.stack([held_here(tensor).sum().float() for tensor in weights.values()])
        sums = trainer.accelerator.reduce(sums)  # of the ranks' parts
        for name, total in zip(weights, sums.tolist(), strict=True):  # the last step may break what no loss shows
            check_finite(total, f"sum of {name}", result.global_step)
        save_merged(trainer) if made_of.get("lora_rank") else trainer.save_model()
    trainer.save_metrics("train", result.metrics, combined=False)
