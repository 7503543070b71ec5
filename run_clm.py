"""Stage 2: fine-tune a causal language model on stage 1's tokenized data, with or without DeepSpeed.

    python run_clm.py --model-name-or-path ./gpt-neo-125m --output-dir finetuned_models/dialogue \\
        --train-file tokenized_data/tokenized_dialogue_train --validation-file tokenized_data/tokenized_dialogue_test

With --config-name and --tokenizer-name in place of --model-name-or-path it trains from scratch. On several GPUs, start
the same with `deepspeed --num_gpus=4 run_clm.py --deepspeed ds_config.json ...` or `torchrun`; without a GPU these
ranks run on the CPU. A run that was stopped goes on from its last checkpoint when it is started again. Every flag of
transformers.TrainingArguments works as well; unless told otherwise there are a checkpoint and an evaluation an epoch.
Writes the model, its tokenizer, checkpoints, train_results.json, eval_results.json and memorization.jsonl (losses, a
row an epoch) to the output directory.
"""

import os
import shutil
import socket
import sys
import time
from argparse import RawDescriptionHelpFormatter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, HfArgumentParser, TrainingArguments, set_seed

from memorization import cli, training
from memorization.cli import UserError
from memorization.files import manifest_path, write_manifest
from memorization.hub import load
from memorization.tokenizers import load_tokenizer

RANK = int(os.environ.get("RANK", 0))


@dataclass
class ModelArguments:
    model_name_or_path: str | None = field(default=None, metadata={"help": "model to fine-tune: path or hub name"})
    config_name: str | None = field(default=None, metadata={"help": "train from scratch with this configuration"})
    tokenizer_name: str | None = field(default=None, metadata={"help": "tokenizer, if it isn't beside the model"})
    model_type: str | None = field(default=None, metadata={"help": "published flag: only compared with the model"})


@dataclass
class DataArguments:
    train_file: str | None = field(default=None, metadata={"help": "stage 1's training set (a directory)"})
    validation_file: str | None = field(default=None, metadata={"help": "stage 1's held-out set (a directory)"})
    block_size: int | None = field(default=None, metadata={"help": "most tokens of a sample; None: model's context"})
    long_samples: Literal["cut", "split"] = field(
        default="cut", metadata={"help": "longer samples: keep the first block, or all blocks"}
    )
    overwrite_output_dir: bool = field(default=False, metadata={"help": "start over: remove its checkpoints first"})
    overwrite_cache: bool = field(default=False, metadata={"help": "published flag: no effect, nothing is cached"})


class Parser(HfArgumentParser):
    def error(self, message):
        raise UserError(f"{message} (--help shows a command that works)")


def say(*words):
    if RANK == 0:
        print(*words, flush=True)


def parse(argv):
    """The three argument groups. Sets the process up for the CPU where there is no accelerator."""
    parser = Parser(
        (ModelArguments, DataArguments, TrainingArguments),
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(eval_strategy=None, save_strategy="epoch", logging_strategy="epoch", output_dir=None)
    options = vars(parser.parse_args(argv))
    for name in ("train_file", "validation_file"):
        if not options[name] and options["do_train" if name == "train_file" else "do_eval"]:
            parser.error(f"--{name} is missing")
    options["do_train"], options["do_eval"] = bool(options["train_file"]), bool(options["validation_file"])
    options["eval_strategy"] = options["eval_strategy"] or (
        "epoch" if options["do_train"] and options["do_eval"] else "no"
    )
    if not options["do_train"] and not options["do_eval"]:
        parser.error("nothing to do: name a --train-file")
    if not options["output_dir"]:
        parser.error("--output_dir is missing: where should the model go?")
    if options["block_size"] is not None and options["block_size"] < 2:
        parser.error(f"--block_size {options['block_size']}: a block needs at least 2 tokens")
    if not torch.accelerator.is_available() and not options["use_cpu"]:
        options["use_cpu"] = True
        say(f"no accelerator here: training on the CPU, {os.environ.get('WORLD_SIZE', 1)} process(es)")
    if options["deepspeed"] and "RANK" not in os.environ:  # plain python: a world of one
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        os.environ |= {
            "RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
    try:
        return parser.parse_dict(options)
    except ValueError as error:
        parser.error(str(error))


def load_model(names, seed):
    """The model to train, in 32-bit weights, and its tokenizer."""
    if bool(names.model_name_or_path) == bool(names.config_name):
        raise UserError("name either a --model-name-or-path to fine-tune or a --config-name to train from scratch")
    source = names.model_name_or_path or names.config_name
    tokenizer = load_tokenizer(names.tokenizer_name or source)
    config = load(AutoConfig.from_pretrained, source, "a model configuration")
    told, there = (
        (text or "").lower().replace("-", "").replace("_", "") for text in (names.model_type, config.model_type)
    )
    if told and told != there:
        say(f"--model_type {names.model_type} is not what {source} is: {config.model_type}; going on with that")
    set_seed(seed)
    if names.model_name_or_path:
        return load(
            AutoModelForCausalLM.from_pretrained, source, "a causal language model", dtype=torch.float32
        ), tokenizer
    config.vocab_size = len(tokenizer)
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32), tokenizer


def main(argv=None):
    names, data, args = parse(argv)
    model, tokenizer = load_model(names, args.seed)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    block_size = min(data.block_size or context or sys.maxsize, context or sys.maxsize)
    if data.block_size and block_size < data.block_size:
        say(f"--block_size {data.block_size} is more than the model's context: using {block_size}")

    def blocks(directory):
        rows = training.load_rows(directory, tokenizer, model.get_input_embeddings().num_embeddings)
        blocks = training.Blocks(rows, block_size, data.long_samples)
        say(f"{directory}: {len(rows)} samples, {blocks.longer} longer than {block_size} tokens, {len(blocks)} blocks")
        if not len(blocks):
            raise UserError(f"{directory}: no sample has 2 tokens; give encode_dialogue.py longer ones")
        return blocks

    train_set = blocks(data.train_file) if args.do_train else None
    eval_set = blocks(data.validation_file) if args.do_eval else None
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    trainer = training.ClmTrainer(
        model=model,
        args=args,
        train_dataset=train_set,
        eval_dataset=eval_set,
        data_collator=partial(training.collate, pad_token_id=pad),
        processing_class=tokenizer,
        callbacks=[training.EpochLosses()],
    )
    say(f"writing to {args.output_dir}")
    if args.do_train:
        train(trainer, data.overwrite_output_dir)
    if args.do_eval:
        metrics = trainer.evaluate()
        trainer.save_metrics("eval", metrics, combined=False)
        say(f"held-out loss {metrics['eval_loss']:.4f} nats a token, perplexity {metrics['eval_perplexity']:.2f}")
    if args.do_train and trainer.is_world_process_zero():
        write_manifest(
            args.output_dir,
            {**vars(names), **vars(data), **args.to_sanitized_dict()},
            [path for path in (data.train_file, data.validation_file, names.model_name_or_path) if path],
            rows={"train": len(train_set), "validation": len(eval_set) if eval_set else 0},
            seed=args.seed,
            processes=args.world_size,
        )
        say(f"model and tokenizer are in {args.output_dir}")


def train(trainer, start_over):
    """Train from the last checkpoint, or from the start; save model, tokenizer and training figures."""
    args = trainer.args
    found = training.checkpoints(args.output_dir)
    args.distributed_state.wait_for_everyone()
    if trainer.is_world_process_zero():
        manifest_path(args.output_dir).unlink(missing_ok=True)  # it comes back when this run is finished
        for checkpoint in found if start_over else ():
            shutil.rmtree(checkpoint)
    args.distributed_state.wait_for_everyone()
    if found and start_over:
        say(f"starting over: removed {len(found)} checkpoints from {args.output_dir}")
    elif found:
        say(f"going on from {found[-1]} (--overwrite-output-dir starts over)")
    result = trainer.train(resume_from_checkpoint=str(found[-1]) if found and not start_over else None)
    trainer.save_model()
    if result.metrics["train_loss"]:  # nothing was left to do otherwise
        trainer.save_metrics("train", result.metrics, combined=False)
    say(f"training loss {result.metrics['train_loss']:.4f}")


def run_rank():
    """main(), where a mistake that all ranks see is told by the first one alone."""
    try:
        main()
    except UserError:
        if RANK:
            time.sleep(20)  # the launcher ends this process as soon as the first one has told it
        raise


if __name__ == "__main__":
    cli.run(run_rank)
