"""The body of stage 2: train a model unless that is done, evaluate it, and describe it."""

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import torch

from memorization.models import hub
from memorization.models.loading import check_precision, held_here, load_for_training
from memorization.models.trained import MODEL, PERPLEXITIES
from memorization.shell.cli import UserError
from memorization.store import fingerprints, manifests
from memorization.store.files import locked
from memorization.training.blocks import collate
from memorization.training.canaries import described
from memorization.training.checkpoints import begin, is_finished, last_checkpoint, told_when_full
from memorization.training.curve import CURVE, Curve, read_sample
from memorization.training.inputs import check_model, check_output_dir, check_sets
from memorization.training.launch import check_saves_whole, on_first_rank, say
from memorization.training.lora import add_adapters, save_merged
from memorization.training.losses import check_finite
from memorization.training.made_of import made_of
from memorization.training.mixture import joined, shares
from memorization.training.packing import PackingCheck, Packs, collate_packs
from memorization.training.trainer import OUTPUT, TokenTrainer


def fine_tune(kind, read, names, data, args):
    """Train the model unless that is done, evaluate it, and describe it; one process at a time in an output directory.

    kind: of model (loading). read: (dict kind -> paths of sets of stage 1, model, data) -> dict kind -> a list of
    what is trained on, such as Blocks, and a dict of the settings that made it, which are part of the run's making.
    names, data, args: as arguments.parse_flags gives them.
    """
    with ExitStack() as stack:
        on_first_rank(lambda: stack.enter_context(locked(args.output_dir)))
        _fine_tune(kind, read, names, data, args)


def _fine_tune(kind, read, names, data, args):
    source, from_scratch = names.model_name_or_path or names.config_name, not names.model_name_or_path
    on_first_rank(check_output_dir, args.output_dir, names.model_name_or_path, args.do_train)
    tokenizer = hub.load_tokenizer(names.tokenizer_name or source, None if names.tokenizer_name else "--tokenizer-name")
    paths = {"training set": data.train_file, "held-out set": data.validation_file}
    paths = {name: directories for name, directories in paths.items() if directories}
    sets = on_first_rank(check_sets, paths, tokenizer, kind)
    model = load_for_training(kind, source, tokenizer, args.seed, from_scratch)
    config = model.config.get_text_config()
    check_precision(config, args.mixed_precision, source)
    base, base_encoding = (None, None) if from_scratch else on_first_rank(check_model, source, sets, args.do_train)
    if names.model_type and names.model_type.replace("-", "").replace("_", "") != config.model_type.replace("_", ""):
        say(f"--model_type {names.model_type}: {source} is of type {config.model_type}; going on with that")
    samples, shape = read(paths, model, data)
    for manifest, found in zip(sets.get("training set", ()), samples.get("training set", ()), strict=True):
        if planted := manifest.facts.get("canaries"):
            say("\n".join(on_first_rank(described, found, planted)))

    curve = None
    if args.do_train and data.memorization_probes:
        curve = on_first_rank(read_sample, data, sets["training set"], model, shape.get("max_source_length"))

    trained = samples.get("training set")
    if data.task_weights and not (draws := shares(sum(map(len, trained)), data.task_weights)).all():
        never = paths["training set"][draws.argmin()]
        raise UserError(
            f"{never}: is not drawn from once an epoch; give it more weight (--task-weights), or leave it out"
        )
    run, finished = None, False
    if args.do_train:
        shape |= {"task_weights": data.task_weights, "lora_rank": names.lora_rank}
        run = made_of(args, sets, tokenizer, base, config, shape)
        finished = on_first_rank(is_finished, args.output_dir, run) if not data.overwrite_output_dir else False
    if finished:
        say(f"{args.output_dir}: this run is finished, nothing to train (--overwrite-output-dir starts over)")
        if curve and not Path(args.output_dir, CURVE).is_file():
            say("it has no curve, which is measured while a model trains")
        model = load_for_training(kind, args.output_dir, tokenizer, args.seed)
    elif args.do_train and config.eos_token_id != tokenizer.eos_token_id:
        say(f"the model's end-of-text token {config.eos_token_id} becomes the tokenizer's, {tokenizer.eos_token_id}")
        config.eos_token_id = tokenizer.eos_token_id
    pad, rows = tokenizer.pad_token_id, model.get_input_embeddings().num_embeddings
    if pad is not None and pad >= rows:
        say(f"the tokenizer pads with {pad}, beyond the model's vocabulary of {rows}: padding with its end of text")
        tokenizer.pad_token = tokenizer.eos_token  # the Trainer saves it in the configuration, which then fits no model
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    joining = partial(collate, shift=None if kind.ahead else model.prepare_decoder_input_ids_from_labels)
    if shape.get("packing"):
        joining = collate_packs
    if shape.get("packing") and args.do_train:
        trained = [Packs(blocks, args.seed if args.data_seed is None else args.data_seed) for blocks in trained]
        for packs in trained:
            say(f"packed into {len(packs)} rows of {shape['block_size']} tokens, {packs.full:.0%} full")
    if names.lora_rank and run and not finished:
        model = add_adapters(model, names.lora_rank, args.seed)
    trainer = TokenTrainer(
        kind,
        model=model,
        args=args,
        train_dataset=joined(trained),
        eval_dataset=joined(samples.get("held-out set")),
        train_weights=data.task_weights,
        data_collator=partial(joining, pad_token_id=pad_token_id),
        processing_class=tokenizer,
    )
    if shape.get("packing") and args.do_train:
        trainer.add_callback(PackingCheck(trained, pad_token_id))
    if curve and not finished:
        trainer.add_callback(Curve(trainer, curve, data.memorization_steps))
    check_saves_whole(trainer.accelerator.state)
    say(f"writing to {args.output_dir}")
    with closing(trainer.progress):
        if run and not finished:
            _train(trainer, run, data.overwrite_output_dir)
        metrics = trainer.evaluate() if args.do_eval else None
    if metrics:
        kept = ("loss", "perplexity", *OUTPUT, "runtime", "samples_per_second", "steps_per_second")
        kept = {f"eval_{name}" for name in kept}
        metrics = {name: value for name, value in metrics.items() if name in kept}  # as much after a kill
        trainer.save_metrics("eval", metrics, combined=False)
        say(f"held-out loss {metrics['eval_loss']:.4f} nats a token, perplexity {metrics['eval_perplexity']:.2f}")
    if run and not finished and trainer.is_world_process_zero():
        manifests.write_manifest(
            args.output_dir,
            MODEL,
            run,
            {**vars(names), **vars(data), **args.to_sanitized_dict()},
            inputs={source: base}
            | {
                path: manifest.contents for name in sets for path, manifest in zip(paths[name], sets[name], strict=True)
            },
            contents=fingerprints.model_fingerprint(args.output_dir),
            rows=sum(len(found.rows) for found in samples["training set"]),
            blocks=sum(map(len, samples["training set"])),
            held_out={name: metrics[f"eval_{name}"] for name in PERPLEXITIES if f"eval_{name}" in (metrics or {})},
            base_encoding=base_encoding,
            device=torch.cuda.get_device_name() if args.device.type == "cuda" else args.device.type,
        )
        say(f"model and tokenizer are in {args.output_dir}")


def _train(trainer, run, start_over):
    """Train from the last checkpoint, or from the start; save the model, its tokenizer and the training figures."""
    output_dir = trainer.args.output_dir
    last = None if start_over else on_first_rank(last_checkpoint, output_dir)
    if last:
        say(f"going on from {last} (--overwrite-output-dir starts over)")
        trainer.args.eval_on_start = False
    on_first_rank(begin, output_dir, run, start_over)
    with told_when_full(output_dir):
        result = trainer.train(resume_from_checkpoint=str(last) if last else None)
        weights = dict(trainer.model.named_parameters())
        sums = torch.stack([held_here(tensor).sum().float() for tensor in weights.values()])
        sums = trainer.accelerator.reduce(sums)  # of the ranks' parts
        for name, total in zip(weights, sums.tolist(), strict=True):  # the last step may have broken what no loss shows
            check_finite(total, f"sum of {name}", result.global_step)
        save_merged(trainer) if run.get("lora_rank") else trainer.save_model()
    trainer.save_metrics("train", result.metrics, combined=False)
