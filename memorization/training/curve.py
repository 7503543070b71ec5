"""The curve (stage 2): how much of a fixed sample of probes, members and held-out, comes out while the model trains.

One teacher-forced pass over prefix and suffix tells what greedy decoding would give (extraction.teacher_forcing), so
nothing is generated, and nothing random is drawn.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from memorization.encoding.probes import Probes
from memorization.extraction.scores import scores
from memorization.extraction.teacher_forcing import texts_a_pass, token_scores
from memorization.models.limits import context_length, source_limit
from memorization.models.passes import prompts_and_sources
from memorization.shell.cli import UserError
from memorization.store.manifests import difference
from memorization.training.losses import check_finite, write_logged

CURVE = "memorization.jsonl"
MOST = 100  # tokens of a suffix that are looked at, as many as stage 3 generates unless told otherwise
EXACT = 50  # tokens of an exact match
SIDES = {True: "members", False: "held_out"}
FIGURES = [f"{figure}_{side}" for side in SIDES.values() for figure in (f"exact_{EXACT}", "matched_tokens", "loss")]
NAMES = {f"eval_memorization_{figure}": figure for figure in FIGURES}  # in the log -> in the file


class Sample(NamedTuple):
    """Probes that a curve is measured on, longest first. members: of each, bool. sources: what the encoder of an
    encoder-decoder model reads, None of a causal one. made_of: what chose them.
    """

    members: np.ndarray
    prefixes: list[list[int]]
    suffixes: list[list[int]]
    sources: list[list[int] | None]
    made_of: dict[str, Any]


def read_sample(data, manifests, model, source_length=None):
    """The Sample that stage 2's flags ask for: members and as many held-out probes (all, where there are fewer).

    data: the flags. manifests: of the training sets. source_length: the most tokens of a source that is trained on. The
    choice depends on the probes alone, so that the curves of several runs are of the same texts. Raises UserError for
    probes of another encoding, of tokens that the model does not have, or longer than its context.
    """
    path, said = Path(data.memorization_probes), f"--memorization-probes {data.memorization_probes}"
    name = re.fullmatch("tokenized_(.+)_prefix", path.name)
    if not name:
        raise UserError(f"{said}: is not of the name tokenized_<name>_prefix; name the probes of stage 1")
    probes = Probes(path.parent, name[1], data.prefix_length, data.probe)
    if probes.encoding not in (of := [manifest.identity for manifest in manifests]):
        raise UserError(
            f"{said}: are of another encoding ({probes.encoding}) than what is trained on "
            f"({', '.join(of)}), so members and held-out texts would be wrong; name those of its own"
        )
    if probes.greatest_id >= (rows := model.get_input_embeddings().num_embeddings):
        raise UserError(
            f"{said}: their token id {probes.greatest_id} is beyond the model's vocabulary of {rows}; name a model and "
            "a --tokenizer-name that belong together"
        )
    rng = np.random.default_rng(0)
    sides = [np.flatnonzero(probes.members == member) for member in SIDES]
    drawn = np.sort(np.concatenate([rng.permutation(side)[: data.memorization_samples] for side in sides])).tolist()
    chosen = [probe for i in drawn for probe in probes[i : i + 1]]
    context = context_length(model.config)
    longest = max(len(probe["prefix_ids"]) for probe in chosen)
    if context and longest + MOST > context:
        raise UserError(
            f"{said}: {longest} tokens of a prefix and {MOST} of a suffix are more than the model's context of "
            f"{context}; leave the curve out"
        )
    chosen.sort(key=lambda probe: -len(probe["prefix_ids"]) - len(probe["suffix_ids"][:MOST]))
    prefixes, sources = prompts_and_sources(model, chosen, source_limit(model.config, probes.kind, source_length))
    made_of = {"probes": probes.manifest.contents, "samples": data.memorization_samples}
    made_of |= {"prefix_length": probes.prefix_length, "probe": probes.kind}
    members, suffixes = zip(*((probe["member"], probe["suffix_ids"][:MOST]) for probe in chosen), strict=True)
    return Sample(np.array(members), prefixes, [*suffixes], sources or [None] * len(chosen), made_of)


class Curve(TrainerCallback, ExportableState):
    """Measures before the first step, at every evaluation (every epoch where there is none) or every `steps` steps, and
    at the end; logs that as the Trainer's metrics, and keeps memorization.jsonl in the output directory.

    What it has measured travels in the checkpoints with the Trainer's log, as the losses do. All ranks take part, each
    with its share of the probes and as many passes as the others.
    """

    def __init__(self, trainer, sample, steps):
        self._trainer, self._sample, self._steps = trainer, sample, steps

    def state(self):
        """What travels in a checkpoint."""
        return {"args": {}, "attributes": self._sample.made_of}

    def on_train_begin(self, args, state, control, **_):
        before = state.stateful_callbacks.setdefault(type(self).__name__, self.state())["attributes"]
        if differs := difference(before, self._sample.made_of):
            raise UserError(
                f"{args.output_dir}: its curve was begun with other {differs}; give --memorization-probes "
                "and what goes with it as before, or start over with --overwrite-output-dir"
            )
        if not state.global_step:
            self._measure(state, control)

    def on_step_end(self, args, state, control, **_):
        if state.global_step % self._steps == 0 if self._steps else control.should_evaluate:
            self._measure(state, control)

    def on_epoch_end(self, args, state, control, **_):
        due = not self._steps and (control.should_evaluate or args.eval_strategy == "no")
        done = any(entry["step"] == state.global_step and NAMES.keys() & entry for entry in state.log_history)
        if (due or state.global_step >= state.max_steps) and not done:
            self._measure(state, control)

    def on_log(self, args, state, control, **_):
        if state.is_world_process_zero:
            write_logged(Path(args.output_dir, CURVE), state.log_history, NAMES)

    def _measure(self, state, control):
        found = self._figures()
        for name, value in found.items():
            if name.startswith("loss"):
                check_finite(value, f"suffix {name.replace('_', ' of ', 1)}", state.global_step)
        due = control.should_log
        self._trainer.log({f"eval_memorization_{name}": value for name, value in found.items()})
        control.should_log = due  # the training loss has still to be logged
        if state.is_world_process_zero:
            shares = (found.get(f"exact_{EXACT}_{side}") for side in SIDES.values())
            shares = ("none" if share is None else f"{share:.1%}" for share in shares)
            tqdm.write(
                f"epoch {state.epoch:.3g}, step {state.global_step}: {EXACT} tokens exact, members and held out: "
                f"{', '.join(shares)}"
            )

    def _figures(self):
        """dict of FIGURES -> mean; without those of which there is no probe."""
        trainer, sample = self._trainer, self._sample
        model, number, ranks = trainer.model, len(sample.members), trainer.args.world_size
        mine = (np.arange(trainer.args.process_index, number + -number % ranks, ranks) % number).tolist()
        rows, training = [], model.training
        model.eval()
        longest, source = max(map(len, sample.prefixes)) + MOST, max(len(source or ()) for source in sample.sources)
        step = min(trainer.args.per_device_eval_batch_size, texts_a_pass(model, longest, longest, source))
        for begin in range(0, len(mine), step):  # each a single pass, or ranks would wait for each other
            batch = mine[begin : begin + step]
            columns = sample.prefixes, sample.suffixes, sample.sources
            prefixes, suffixes, sources = ([column[i] for i in batch] for column in columns)
            tokens = token_scores(model, prefixes, suffixes, sources=sources)
            for found in map(scores, tokens, [""] * len(batch)):
                loss = -float(found.log_likelihood) / found.tokens
                rows.append((found.matched_tokens, loss))
        model.train(training)
        rows = trainer.accelerator.gather(torch.tensor(rows, device=trainer.args.device)).cpu().double().numpy()
        matched, loss = rows.reshape(ranks, -1, 2).swapaxes(0, 1).reshape(-1, 2)[:number].T
        long = np.array([*map(len, sample.suffixes)]) >= EXACT
        means = {}
        for member, side in SIDES.items():
            of = sample.members == member
            columns = {f"exact_{EXACT}": matched[of & long] >= EXACT, "matched_tokens": matched[of], "loss": loss[of]}
            means |= {f"{name}_{side}": float(values.mean()) for name, values in columns.items() if len(values)}
        return means
