"""Stage 2: fine-tune a causal language model on stage 1's tokenized data, with or without DeepSpeed.

    python run_clm.py --model-name-or-path ./gpt-neo-125m --output-dir finetuned_models/dialogue \\
        --train-file tokenized_data/tokenized_dialogue_train --validation-file tokenized_data/tokenized_dialogue_test

Trains from scratch with --config-name (and --tokenizer-name) in place of --model-name-or-path. On several GPUs start
it with `deepspeed --num_gpus=4 run_clm.py --deepspeed ds_config.json ...` or with torchrun; on a machine without GPUs
these ranks run on the CPU. A run that was stopped goes on from its last checkpoint when it is started again.
Takes every flag of transformers.TrainingArguments too; unless told otherwise there are a checkpoint and an evaluation
an epoch. Writes the model, its tokenizer, checkpoints, train_results.json, eval_results.json and memorization.jsonl
(the losses of each epoch) to the output directory.
"""

import os
import shutil
import time
from argparse import RawDescriptionHelpFormatter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from transformers import HfArgumentParser, TrainingArguments

from memorization import cli
from memorization.cli import UserError
from memorization.files import fingerprint, fingerprints, manifest_path, read_json, write_json, write_manifest
from memorization.models import load_for_training
from memorization.training.blocks import Blocks, collate, load_rows
from memorization.training.trainer import ClmTrainer, EpochLosses, checkpoints, prepare_deepspeed, told_when_full

RANK = int(os.environ.get("RANK", 0))


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
    overwrite_output_dir: bool = flag("start over: remove the output directory's checkpoints first", False)
    overwrite_cache: bool = flag("published flag: has no effect, nothing is cached", False)


class Parser(HfArgumentParser):
    def error(self, message):
        raise UserError(f"{message} (--help shows a command that works)")


def say(text):
    if RANK == 0:
        print(text, flush=True)


def parse(argv=None):
    """The flags as ModelArguments, DataArguments and TrainingArguments, which set up the devices and ranks."""
    groups = (ModelArguments, DataArguments, TrainingArguments)
    layout = {"usage": "run_clm.py [flags, see below]", "formatter_class": RawDescriptionHelpFormatter}
    parser = Parser(groups, description=__doc__, **layout)
    by_epoch = dict.fromkeys(("save_strategy", "logging_strategy"), "epoch")
    parser.set_defaults(**by_epoch, eval_strategy=None, ddp_find_unused_parameters=False)
    options = vars(parser.parse_args(argv))
    train, evaluate = options["train_file"], options["validation_file"]
    if (options["do_train"] or not evaluate) and not train:
        parser.error("--train-file is missing: name stage 1's training set")
    if (options["do_eval"] or options["eval_strategy"] not in (None, "no")) and not evaluate:
        parser.error("--validation-file is missing: name stage 1's held-out set")
    if not options["output_dir"]:
        parser.error("--output-dir is missing: name the directory to write the model to")
    if Path(options["output_dir"]).is_file():
        parser.error(f"--output-dir {options['output_dir']}: is a file; name a directory")
    if bool(options["model_name_or_path"]) == bool(options["config_name"]):
        parser.error("name either a --model-name-or-path to fine-tune or a --config-name to train from scratch")
    if options["block_size"] is not None and options["block_size"] < 2:
        parser.error(f"--block-size {options['block_size']}: a block needs at least 2 tokens")
    options["do_train"], options["do_eval"] = bool(train), bool(evaluate)
    options["eval_strategy"] = options["eval_strategy"] or ("epoch" if train and evaluate else "no")
    if not torch.accelerator.is_available():
        options["use_cpu"] = True
        say(f"no GPU found: training on the CPU, processes: {os.environ.get('WORLD_SIZE', 1)}")
    if options["deepspeed"]:
        read_json(options["deepspeed"])  # names the line of a mistake in it
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
    source = names.model_name_or_path or names.config_name
    model, tokenizer = load_for_training(
        source, names.tokenizer_name, args.seed, from_scratch=not names.model_name_or_path
    )
    config = model.config.get_text_config()
    if names.model_type and names.model_type.replace("-", "").replace("_", "") != config.model_type.replace("_", ""):
        say(f"--model_type {names.model_type}: {source} is of type {config.model_type}; going on with that")
    limits = [size for size in (data.block_size, getattr(config, "max_position_embeddings", None)) if size]
    block_size = min(limits, default=2**31)
    if data.block_size and data.block_size > block_size:
        say(f"--block_size {data.block_size} is beyond the model's context: taking {block_size}")

    def blocks(directory):
        rows = load_rows(directory, tokenizer, model.get_input_embeddings().num_embeddings)
        blocks = Blocks(rows, block_size, data.long_samples)
        if not len(blocks):
            raise UserError(f"{directory}: no sample has two tokens; give encode_dialogue.py longer ones")
        say(f"{directory}: {len(rows)} samples, {blocks.longer} over {block_size} tokens, make {len(blocks)} blocks")
        return blocks

    train_set = blocks(data.train_file) if args.do_train else None
    eval_set = blocks(data.validation_file) if args.do_eval else None
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    trainer = ClmTrainer(
        model=model,
        args=args,
        train_dataset=train_set,
        eval_dataset=eval_set,
        data_collator=partial(collate, pad_token_id=pad_token_id),
        processing_class=tokenizer,
        callbacks=[EpochLosses()],
    )
    say(f"writing to {args.output_dir}")
    if args.do_train:
        run = {"model": source, "block_size": block_size, "long_samples": data.long_samples, "seed": args.seed}
        train(trainer, {**run, "train_file": fingerprint(data.train_file)}, data.overwrite_output_dir)
    if args.do_eval:
        metrics = trainer.evaluate()
        trainer.save_metrics("eval", metrics, combined=False)
        say(f"held-out loss {metrics['eval_loss']:.4f} nats a token, perplexity {metrics['eval_perplexity']:.2f}")
    if args.do_train and trainer.is_world_process_zero():
        write_manifest(
            args.output_dir,
            {**vars(names), **vars(data), **args.to_sanitized_dict()},
            fingerprints(path for path in (data.train_file, data.validation_file, names.model_name_or_path) if path),
            rows={"train": len(train_set.rows), "validation": len(eval_set.rows) if eval_set else 0},
            blocks={"train": len(train_set), "validation": len(eval_set) if eval_set else 0},
            processes=args.world_size,
            seed=args.seed,
        )
        say(f"model and tokenizer are in {args.output_dir}")


def train(trainer, run, start_over):
    """Train from the last checkpoint, or from the start; save the model, its tokenizer and the training figures.

    run: what makes it this run and no other. Raises UserError where the checkpoints come from another one.
    """
    output_dir = Path(trainer.args.output_dir)
    found, record = checkpoints(output_dir), output_dir / "run.json"
    if found and not start_over:
        before = read_json(record) if record.is_file() else run
        if differs := [name for name in run if before.get(name) != run[name]]:
            raise UserError(
                f"{found[-1]}: comes from a run with another {' and '.join(differs)}; "
                "--overwrite-output-dir starts over, or name another --output-dir"
            )
        say(f"going on from {found[-1]} (--overwrite-output-dir starts over)")
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        manifest_path(output_dir).unlink(missing_ok=True)  # it comes back when this run is finished
        if start_over and found:
            say(f"starting over: removing {len(found)} checkpoints from {output_dir}")
        for checkpoint in output_dir.glob("checkpoint-*") if start_over else ():
            shutil.rmtree(checkpoint)
        write_json(record, run)
    trainer.accelerator.wait_for_everyone()
    with told_when_full(output_dir):
        result = trainer.train(resume_from_checkpoint=str(found[-1]) if found and not start_over else None)
        trainer.save_model()
    if result.metrics["train_loss"]:  # else nothing was left to train
        trainer.save_metrics("train", result.metrics, combined=False)


def run_rank():
    """main(), with a mistake that all ranks meet told once: the launcher ends the others when the first has told it."""
    try:
        main()
    except UserError:
        if RANK:
            time.sleep(20)
        raise


if __name__ == "__main__":
    cli.run(run_rank)
