"""Stage 2: fine-tune a causal language model on stage 1's tokenized data.

    python run_clm.py --model-name-or-path ./gpt-neo-125m \\
        --train-file tokenized_data/tokenized_dialogue_train \\
        --validation-file tokenized_data/tokenized_dialogue_test \\
        --output-dir finetuned_models/dialogue

Trains from scratch with --config-name (and --tokenizer-name) in place of
--model-name-or-path. On several GPUs start it with `deepspeed --num_gpus=4
run_clm.py --deepspeed ds_config.json ...` or with torchrun; on a machine
without GPUs these ranks run on the CPU. A run that was stopped goes on from its
last checkpoint when it is started again; what is another run's is never gone on
with or trained over, unless --overwrite-output-dir says so. Takes every flag of
transformers.TrainingArguments too; unless told otherwise there are a checkpoint
and an evaluation an epoch. Writes the model, its tokenizer, checkpoints,
train_results.json, eval_results.json, losses.jsonl (a row an epoch) and
run.json (what makes the weights) to the output directory.
"""

if __name__ == "__main__":
    import memorization.script

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from transformers import TrainingArguments

from memorization import cli, flags, hub, runs
from memorization.cli import UserError
from memorization.files import locked, read_json
from memorization.models import load_for_training
from memorization.training.blocks import read_blocks
from memorization.training.canaries import described
from memorization.training.checkpoints import begin, is_finished, last_checkpoint, told_when_full
from memorization.training.help import Parser
from memorization.training.inputs import check_model, check_output_dir, check_sets
from memorization.training.launch import on_first_rank, prepare_deepspeed, say, told_once
from memorization.training.losses import check_finite
from memorization.training.made_of import made_of
from memorization.training.packing import PackingCheck, Packs, collate_packs
from memorization.training.trainer import ClmTrainer


def flag(text, default=None):
    return field(default=default, metadata={"help": text})


@dataclass
class ModelArguments:
    model_name_or_path: str | None = flag("model to fine-tune: a path or hub name")
    config_name: str | None = flag("train from scratch with this configuration: a path or hub name")
    tokenizer_name: str | None = flag("tokenizer, where it isn't beside the model or configuration")
    model_type: str | None = flag("published flag: a model of another type is pointed out")


@dataclass
class DataArguments:
    train_file: str | None = flag("stage 1's training set, a directory")
    validation_file: str | None = flag("stage 1's held-out set, a directory")
    block_size: int | None = flag("most tokens of a sample (default: the model's context)")
    long_samples: Literal["cut", "split"] = flag(
        "keep the first block of a longer sample, or all (default: cut)", "cut"
    )
    packing: bool = flag("train on several samples a row, none of which sees another; evaluation is not packed", False)
    overwrite_output_dir: bool = flag("start over: remove the output directory's checkpoints first", False)
    overwrite_cache: bool = flag("published flag: has no effect, nothing is cached", False)


def parse(argv=None):
    """The flags as ModelArguments, DataArguments and TrainingArguments, which set up the devices and ranks."""
    groups = (ModelArguments, DataArguments, TrainingArguments)
    parser = Parser(groups, __doc__)
    by_epoch = dict.fromkeys(("save_strategy", "logging_strategy"), "epoch")
    ours = {"ddp_find_unused_parameters": False, "logging_nan_inf_filter": False}  # such a loss ends the run
    parser.set_defaults(**by_epoch, **ours, eval_strategy=None, train_sampling_strategy=None)
    options = vars(parser.parse_args(argv))
    if wrong := flags.mistake(options):
        parser.error(wrong)
    train, evaluate = options["train_file"], options["validation_file"]
    if (options["do_train"] or not evaluate) and not train:
        parser.error("--train-file is missing: name stage 1's training set")
    if (options["do_eval"] or options["eval_strategy"] not in (None, "no")) and not evaluate:
        parser.error("--validation-file is missing: name stage 1's held-out set")
    if not options["output_dir"]:
        parser.error("--output-dir is missing: name the directory to write the model to")
    options["output_dir"] = str(Path(options["output_dir"]).expanduser().resolve())  # its manifest lies beside it
    if Path(options["output_dir"]).is_file():
        parser.error(f"--output-dir {options['output_dir']}: is a file; name a directory")
    if options["resume_from_checkpoint"]:
        parser.error("--resume-from-checkpoint: leave it out; a stopped run goes on from its own last checkpoint")
    if bool(options["model_name_or_path"]) == bool(options["config_name"]):
        parser.error("name either a --model-name-or-path to fine-tune or a --config-name to train from scratch")
    if options["packing"] and options["train_sampling_strategy"]:
        parser.error(
            "--packing: has no effect on the order of packs, which is random; leave --train-sampling-strategy out"
        )
    options["train_sampling_strategy"] = options["train_sampling_strategy"] or (
        "random" if options["packing"] else "group_by_length"
    )
    options["do_train"], options["do_eval"] = bool(train), bool(evaluate)
    options["eval_strategy"] = options["eval_strategy"] or ("epoch" if train and evaluate else "no")
    if not torch.accelerator.is_available():
        options["use_cpu"] = True
        say(f"no GPU found: working on the CPU, processes: {os.environ.get('WORLD_SIZE', 1)}")
    if options["deepspeed"]:
        read_json(options["deepspeed"], dict)  # names the line of a mistake in it
        prepare_deepspeed(options["use_cpu"])
    try:
        names, data, args = parser.parse_dict(options)
    except ValueError as error:
        parser.error(str(error))
    if args.deepspeed and args.hf_deepspeed_config.mismatches:
        parser.error(f"{args.deepspeed}: {', '.join(args.hf_deepspeed_config.mismatches)}; write auto there")
    return names, data, args


def main(argv=None):
    names, data, args = parse(argv)
    with ExitStack() as stack:
        on_first_rank(lambda: stack.enter_context(locked(args.output_dir)))
        fine_tune(names, data, args)


def fine_tune(names, data, args):
    """Train the model unless that is done, evaluate it, and describe it."""
    source, from_scratch = names.model_name_or_path or names.config_name, not names.model_name_or_path
    on_first_rank(check_output_dir, args.output_dir, names.model_name_or_path, args.do_train)
    tokenizer = hub.load_tokenizer(names.tokenizer_name or source)
    paths = {"training set": data.train_file, "held-out set": data.validation_file}
    sets = on_first_rank(check_sets, paths, tokenizer)
    model = load_for_training(source, tokenizer, args.seed, from_scratch)
    config = model.config.get_text_config()
    base, base_encoding = (None, None) if from_scratch else on_first_rank(check_model, source, sets, args.do_train)
    if names.model_type and names.model_type.replace("-", "").replace("_", "") != config.model_type.replace("_", ""):
        say(f"--model_type {names.model_type}: {source} is of type {config.model_type}; going on with that")
    limits = [size for size in (data.block_size, getattr(config, "max_position_embeddings", None)) if size]
    block_size = min(limits, default=2**31)
    if data.block_size and data.block_size > block_size:
        say(f"--block_size {data.block_size} is beyond the model's context: taking {block_size}")
    if data.packing and block_size == 2**31:
        raise UserError("--packing: the model's configuration names no context; say by --block-size how long packs are")
    blocks, vocab_size = {}, model.get_input_embeddings().num_embeddings
    for kind in sets:
        blocks[kind] = found = read_blocks(paths[kind], vocab_size, block_size, data.long_samples)
        cut = f"{found.longer} over {block_size} tokens"
        say(f"{paths[kind]}: {len(found.rows)} samples, {cut}, make {len(found)} blocks")
        if args.do_train and (planted := sets[kind].facts.get("canaries")):
            say("\n".join(on_first_rank(described, found, planted)))

    run, finished = None, False
    if args.do_train:
        run = made_of(args, sets, tokenizer, base, config, block_size, data.long_samples, data.packing)
        finished = on_first_rank(is_finished, args.output_dir, run) if not data.overwrite_output_dir else False
    if finished:
        say(f"{args.output_dir}: this run is finished, nothing to train (--overwrite-output-dir starts over)")
        model = load_for_training(args.output_dir, tokenizer, args.seed)
    elif args.do_train and config.eos_token_id != tokenizer.eos_token_id:
        say(f"the model's end-of-text token {config.eos_token_id} becomes the tokenizer's, {tokenizer.eos_token_id}")
        config.eos_token_id = tokenizer.eos_token_id
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    trained = blocks.get("training set")
    if args.do_train and data.packing:
        trained = Packs(trained, args.seed if args.data_seed is None else args.data_seed)
        tokens = trained.blocks.lengths.sum() / (len(trained) * block_size)
        say(f"packed into {len(trained)} rows of {block_size} tokens, {tokens:.0%} full")
    trainer = ClmTrainer(
        model=model,
        args=args,
        train_dataset=trained,
        eval_dataset=blocks.get("held-out set"),
        data_collator=partial(collate_packs, pad_token_id=pad_token_id),
        processing_class=tokenizer,
    )
    if data.packing:
        trainer.add_callback(PackingCheck(trained, pad_token_id))
    say(f"writing to {args.output_dir}")
    with closing(trainer.progress):
        if run and not finished:
            train(trainer, run, data.overwrite_output_dir)
        metrics = trainer.evaluate() if args.do_eval else None
    if metrics:
        kept = ("eval_loss", "eval_perplexity", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
        metrics = {name: value for name, value in metrics.items() if name in kept}  # as much after a kill
        trainer.save_metrics("eval", metrics, combined=False)
        say(f"held-out loss {metrics['eval_loss']:.4f} nats a token, perplexity {metrics['eval_perplexity']:.2f}")
    if run and not finished and trainer.is_world_process_zero():
        runs.write_manifest(
            args.output_dir,
            "model",
            run,
            {**vars(names), **vars(data), **args.to_sanitized_dict()},
            inputs={paths[kind]: manifest.contents for kind, manifest in sets.items()} | {source: base},
            contents=runs.model_fingerprint(args.output_dir),
            rows=len(blocks["training set"].rows),
            blocks=len(blocks["training set"]),
            base_encoding=base_encoding,
            device=torch.cuda.get_device_name() if args.device.type == "cuda" else args.device.type,
        )
        say(f"model and tokenizer are in {args.output_dir}")


def train(trainer, run, start_over):
    """Train from the last checkpoint, or from the start; save the model, its tokenizer and the training figures."""
    output_dir = trainer.args.output_dir
    last = None if start_over else on_first_rank(last_checkpoint, output_dir)
    if last:
        say(f"going on from {last} (--overwrite-output-dir starts over)")
        trainer.args.eval_on_start = False
    on_first_rank(begin, output_dir, run, start_over)
    with told_when_full(output_dir):
        result = trainer.train(resume_from_checkpoint=str(last) if last else None)
        for name, weights in trainer.model.named_parameters():  # the last step may have broken what no loss shows
            check_finite(weights.sum().item(), f"sum of {name}", result.global_step)
        trainer.save_model()
    trainer.save_metrics("train", result.metrics, combined=False)


if __name__ == "__main__":
    cli.run(told_once, main)
