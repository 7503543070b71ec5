"""The curve: how much of a fixed sample of probes, members and held-out, the model reproduces while it trains.

One teacher-forced pass over prefix and suffix tells what greedy decoding would give (extraction.teacher_forcing), so
nothing is generated or drawn at random.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from memorization.encoding.probe_sample import draw_samples
from memorization.encoding.probes import Probes
from memorization.extraction.scores import scores
from memorization.extraction.teacher_forcing import texts_a_pass, token_scores
from memorization.models.limits import context_length, source_limit
from memorization.models.passes import prompts_and_sources
from memorization.shell.cli import UserError
from memorization.store.manifests import Manifest, difference
from memorization.training.losses import check_finite, write_logged
from memorization.training.settings import FineTuneSettings
from memorization.training.token_blocks import vocabulary_size

CURVE = "memorization.jsonl"
MOST = 100  # tokens of a suffix that are read, stage 3's default
EXACT = 50  # tokens of an exact match
SIDES = {True: "members", False: "held_out"}
FIGURES = [f"{figure}_{side}" for side in SIDES.values() for figure in (f"exact_{EXACT}", "matched_tokens", "loss")]
NAMES = {f"eval_memorization_{figure}": figure for figure in FIGURES}  # in the log -> in the file


class CurveProbes(NamedTuple):
    """Probes that a curve is measured on, longest first. ids: of their samples. members: bool. sources: what an encoder
    reads, None for a causal model. made_of: what determines the choice.
    """

    ids: np.ndarray
    members: np.ndarray
    prefixes: list[list[int]]
    suffixes: list[list[int]]
    sources: list[list[int] | None]
    made_of: dict[str, Any]


def read_curve_probes(
    settings: FineTuneSettings, manifests: list[Manifest], model: PreTrainedModel, source_length: int | None = None
) -> CurveProbes:
    """The CurveProbes of --memorization-probes: members and as many held-out samples (all, where there are fewer).

    manifests: of the training sets. source_length: most tokens of a source in training. The choice depends on the
    probes only, so that the curves of several runs are of the same texts. Raises UserError for probes of another
    encoding, with tokens outside the vocabulary, or longer than the model's context.
    """
    flag = f"--memorization-probes {settings.memorization_probes}"
    path = Path(settings.memorization_probes or "")
    name = re.fullmatch("tokenized_(.+)_prefix", path.name)
    if not name:
        raise UserError(f"{flag}: is not of the name tokenized_<name>_prefix; name the probes of stage 1")
    probes = Probes(path.parent, name[1], settings.prefix_length, settings.probe)
    encodings = [manifest.identity for manifest in manifests]
    if probes.encoding not in encodings:
        raise UserError(
            f"{flag}: are of another encoding ({probes.encoding}) than what is trained on "
            f"({', '.join(encodings)}), so members and held-out texts would be wrong; name those of its own"
        )
    vocab_size = vocabulary_size(model)
    if probes.greatest_id >= vocab_size:
        raise UserError(
            f"{flag}: their token id {probes.greatest_id} is beyond the model's vocabulary of {vocab_size}; name a "
            "model and a --tokenizer-name that belong together"
        )
    samples = settings.memorization_samples
    probes.keep(draw_samples(probes, samples, samples, seed=0, flags=("--memorization-samples",) * 2))
    chosen = probes[:]
    context = context_length(model.config)
    longest = max(len(probe["prefix_ids"]) for probe in chosen)
    if context and longest + MOST > context:
        raise UserError(
            f"{flag}: {longest} tokens of a prefix and {MOST} of a suffix are more than the model's context of "
            f"{context}; leave the curve out"
        )
    chosen.sort(key=lambda probe: -len(probe["prefix_ids"]) - len(probe["suffix_ids"][:MOST]))
    prefixes, sources = prompts_and_sources(model, chosen, source_limit(model.config, probes.kind, source_length))
    made_of = {"probes": probes.manifest.contents, "samples": samples, "format": 2}
    made_of |= {"prefix_length": probes.prefix_length, "probe": probes.kind}
    ids, members = (np.array([probe[name] for probe in chosen]) for name in ("id", "member"))
    suffixes = [probe["suffix_ids"][:MOST] for probe in chosen]
    sources_or_none: list[list[int] | None] = [*sources] if sources else [None] * len(chosen)
    return CurveProbes(ids, members, prefixes, suffixes, sources_or_none, made_of)


class Curve(TrainerCallback, ExportableState):
    """Measures before the first step, at every evaluation (every epoch where there is none) or every `steps` steps, and
    at the end. Logs the figures as the Trainer's metrics and writes memorization.jsonl in the output directory.

    The model that is trained is asked itself, not an Engine: it stays where the Trainer has put it, perhaps in parts on
    all ranks, and an Engine passes over fewer texts at a time on a rank that runs out of memory, for which the others
    would wait.

    Figures are part of checkpoints with the Trainer's log, as the losses are. All ranks take part, each with its share
    of the probes and as many passes as the others.
    """

    def __init__(self, trainer: Trainer, probes: CurveProbes, steps: int | None) -> None:
        self._trainer, self._probes, self._steps = trainer, probes, steps

    def state(self) -> dict[str, Any]:
        """The part of a checkpoint."""
        return {"args": {}, "attributes": self._probes.made_of}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        saved: Any = state.stateful_callbacks
        before = saved.setdefault(type(self).__name__, self.state())["attributes"]
        if differs := difference(before, self._probes.made_of):
            raise UserError(
                f"{args.output_dir}: its curve was begun with other {differs}; give the same --memorization-probes "
                "and settings as before, or start over with --overwrite-output-dir"
            )
        if not state.global_step:
            self._measure(state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self._steps == 0 if self._steps else control.should_evaluate:
            self._measure(state, control)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        due = not self._steps and (control.should_evaluate or args.eval_strategy == "no")
        measured = any(entry["step"] == state.global_step and NAMES.keys() & entry for entry in state.log_history)
        if (due or state.global_step >= state.max_steps) and not measured:
            self._measure(state, control)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            write_logged(Path(str(args.output_dir), CURVE), state.log_history, NAMES)

    def _measure(self, state, control):
        figures = self._figures()
        for name, value in figures.items():
            if name.startswith("loss"):
                check_finite(value, f"suffix {name.replace('_', ' of ', 1)}", state.global_step)
        should_log = control.should_log
        self._trainer.log({f"eval_memorization_{name}": value for name, value in figures.items()})
        control.should_log = should_log  # the training loss is still to be logged
        if state.is_world_process_zero:
            shares = (figures.get(f"exact_{EXACT}_{side}") for side in SIDES.values())
            shares = ("none" if share is None else f"{share:.1%}" for share in shares)
            tqdm.write(
                f"epoch {state.epoch:.3g}, step {state.global_step}: {EXACT} tokens exact, members and held out: "
                f"{', '.join(shares)}"
            )

    def _figures(self):
        """The mean of each of FIGURES that has a sample, by name. A sample is exact if any of its turns is."""
        trainer, probes = self._trainer, self._probes
        model, number, ranks = trainer.model, len(probes.members), trainer.args.world_size
        mine = (np.arange(trainer.args.process_index, number + -number % ranks, ranks) % number).tolist()
        rows, training = [], model.training
        model.eval()
        longest = max(map(len, probes.prefixes)) + MOST
        longest_source = max(len(source or ()) for source in probes.sources)
        size = min(trainer.args.per_device_eval_batch_size, texts_a_pass(model, longest, longest, longest_source))
        for begin in range(0, len(mine), size):  # one pass each, or ranks would wait for each other
            batch = mine[begin : begin + size]
            columns = probes.prefixes, probes.suffixes, probes.sources
            prefixes, suffixes, sources = ([column[i] for i in batch] for column in columns)
            tokens = token_scores(model, prefixes, suffixes, sources=sources)
            for result in map(scores, tokens, [""] * len(batch)):
                rows.append((result.matched_tokens, -float(result.log_likelihood) / result.tokens))
        model.train(training)
        rows = trainer.accelerator.gather(torch.tensor(rows, device=trainer.args.device)).cpu().double().numpy()
        matched, loss = rows.reshape(ranks, -1, 2).swapaxes(0, 1).reshape(-1, 2)[:number].T
        lengths = np.array([*map(len, probes.suffixes)])
        _, first, sample = np.unique(probes.ids, return_index=True, return_inverse=True)
        exact = np.full(len(first), -1)  # of a sample without a suffix so long
        np.maximum.at(exact, sample, np.where(lengths < EXACT, -1, matched >= EXACT))
        turns, tokens = (np.bincount(sample, weight) for weight in (None, lengths))
        matched = np.bincount(sample, matched) / turns
        loss = np.bincount(sample, loss * (lengths / tokens[sample]))
        means = {}
        for member, name in SIDES.items():
            side = probes.members[first] == member
            values = {
                f"exact_{EXACT}": exact[side & (exact >= 0)],
                "matched_tokens": matched[side],
                "loss": loss[side],
            }
            means |= {f"{figure}_{name}": float(column.mean()) for figure, column in values.items() if len(column)}
        return means
