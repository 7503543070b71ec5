"""The exposure of canaries: how a model ranks a secret among all that could stand in its place (Carlini et al. 2019).

Exposure = log2 |R| - log2 rank, in bits: R holds the 10^digits secrets that could follow this canary's prefix, and the
rank is the secret's by the log likelihood of its tokens under the model, 1 the best; a tie counts half. For a secret
that the model has not memorized every rank is equally likely, so its exposure is 1.44 bits on average (log2 e, in a
large space) and x bits or more with probability 2^-x, whatever the model makes of digits.

The rank is exact where at most SEARCHED contexts decide it. The secrets are a tree of digits, and no continuation is
more likely than what it continues, so only beginnings at least as likely as the secret are followed. That suffices for
every space of up to 10^5, and in larger ones for every secret that the model knows well: there are at most 1 / p
beginnings of one length as likely as a secret of probability p.

Otherwise it is estimated by importance sampling with the balance heuristic (Veach and Guibas 1995). Half of DRAWS
secrets are drawn evenly, the others digit by digit from the model, and each is weighted by the inverse of the mean of
its two probabilities. Even draws alone cannot tell ranks below |R| / DRAWS, where half-memorized secrets lie; the
model's own draws miss what it takes for unlikely; a skew-normal distribution fitted to scores (Carlini et al. 2019) is
right about a rank only if their tail has its shape. The standard error is given.
"""

import copy
from collections.abc import Iterator, Sequence
from math import log2
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from tqdm import tqdm
from transformers import PreTrainedModel

from memorization.encoding.canary_secrets import Canary, CanarySet
from memorization.extraction.decoding import not_numbers
from memorization.extraction.exposures import FORMAT, Exposure
from memorization.extraction.kinds import EXPOSURES
from memorization.extraction.memory import Room, in_parts, ran_out
from memorization.extraction.settings import ExtractionSettings
from memorization.extraction.teacher_forcing import last_logits, token_scores
from memorization.models.limits import context_length
from memorization.shell.cli import UserError
from memorization.store.locations import exposures_path
from memorization.store.rows import Rows

SEARCHED = 12_000  # contexts, at the most, to find a rank exactly: all of 10^5 secrets have 11,111
DRAWS = 4096  # secrets, to estimate it
AT_ONCE = 256  # contexts in a pass, unless memory runs out; the results do not depend on it
BATCH = 16  # canaries scored together
TIE = 1e-4  # nats: as likely, but for rounding
ARGUMENTS = ("model_path", "tokenized_dir", "subset_name", "dtype", "unchecked")  # that decide the rows
LEAST = -1e30  # log p of what has none
State = tuple[torch.Tensor, Any]  # token ids of contexts, and their cache of keys and values, None without one


class SecretTree:
    """The secrets behind a prefix, as a model predicts them digit by digit.

    digit_ids: of each digit, tokens that are alike but for the last.
    """

    def __init__(self, model: PreTrainedModel, prefix: list[int], digit_ids: Sequence[list[int]]) -> None:
        self.model, self.lead = model, digit_ids[0][:-1]
        self.digits = torch.tensor([ids[-1] for ids in digit_ids], device=model.device)
        self.ids = torch.tensor([[*prefix, *self.lead]], device=model.device)

    def root(self) -> tuple[np.ndarray, State]:
        """The context before the first digit: (log p of each digit there, float64 [1, 10], state)."""
        return self._read(self.ids, None)

    def children(self, state: State, rows: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, State]:
        """What `root` returns, for contexts of a state (rows, int64), each continued by a digit: [contexts, 10]."""
        ids, cache = state
        of_rows = torch.as_tensor(rows, device=ids.device)
        lead = torch.tensor([self.lead], dtype=torch.int64, device=ids.device).expand(len(rows), -1)
        chosen = self.digits[torch.as_tensor(digits, device=ids.device)][:, None]
        cache = None if cache is None else _selected(cache, of_rows)
        return self._read(torch.cat([ids[of_rows], chosen, lead], 1), cache)

    @torch.inference_mode()
    def _read(self, ids: torch.Tensor, cache: Any) -> tuple[np.ndarray, State]:
        new = len(self.lead) + 1
        past = {} if cache is None else {"past_key_values": cache}
        output = self.model(
            input_ids=ids[:, -new:] if past else ids, use_cache=True, **last_logits(self.model, new), **past
        )
        log_probs = output.logits[:, -new:].float().log_softmax(-1)
        of_digits = log_probs[:, -1, self.digits].cpu().double()
        for place, token in enumerate(self.lead):
            of_digits += log_probs[:, place, token, None].cpu()
        if of_digits.isnan().any():
            raise not_numbers(self.model)
        # without a cache of keys and values, as state space models are, the whole text is read each time
        return of_digits.clamp(min=LEAST).numpy(), (ids, getattr(output, "past_key_values", None))


def _selected(cache, rows):
    """A cache of keys and values of these rows; the one it is from stays as it is."""
    new = copy.copy(cache)
    new.layers = [copy.copy(layer) for layer in cache.layers]
    new.reorder_cache(rows)
    return new


def exposure(
    tree: SecretTree, secret: list[int], log_likelihood: float, seed: int = 0, at_once: int = AT_ONCE
) -> tuple[float, float | None]:
    """(exposure in bits, its standard error, None where it is exact) of a secret; the method is above.

    secret: digits. log_likelihood: of its tokens. seed: of the draws, if there are any. at_once: contexts in a pass.
    """
    rank, error = exact_rank(tree, secret, log_likelihood, at_once), None
    if rank is None:
        rank, error = estimated_rank(tree, secret, log_likelihood, seed, at_once)
    return len(secret) * log2(10) - log2(rank), error and log2(1 + error / rank)


def exact_rank(tree: SecretTree, secret: list[int], log_likelihood: float, at_once: int = AT_ONCE) -> float | None:
    """The rank of a secret; None if it takes more than SEARCHED contexts."""
    better, equal, searched = 0, 0, 0
    root = np.zeros(1, np.int64)
    # contexts that are not read yet, as children of others: depth, state, rows, digits, log p, whether the secret's own
    todo: list[tuple] = [(0, None, root, root, np.zeros(1), np.ones(1, bool))]
    while todo:
        depth, state, rows, digits, so_far, own = todo.pop()
        searched += len(rows)
        if searched > SEARCHED:
            return None
        log_probs, state = tree.children(state, rows, digits) if depth else tree.root()
        log_probs += so_far[:, None]
        own = own[:, None] & (np.arange(10) == secret[depth])
        if depth == len(secret) - 1:
            better += int((~own & (log_probs > log_likelihood + TIE)).sum())
            equal += int((~own & (abs(log_probs - log_likelihood) <= TIE)).sum())
            continue
        rows, digits = np.nonzero(log_probs >= log_likelihood - TIE)
        for start in range(0, len(rows), at_once):
            row, digit = rows[start : start + at_once], digits[start : start + at_once]
            todo.append((depth + 1, state, row, digit, log_probs[row, digit], own[row, digit]))
    return 1 + better + equal / 2


def estimated_rank(
    tree: SecretTree, secret: list[int], log_likelihood: float, seed: int, at_once: int = AT_ONCE
) -> tuple[float, float]:
    """(rank of a secret, its standard error), by importance sampling."""
    weights, space, evenly = [], 10.0 ** len(secret), np.arange(DRAWS)[:, None] % 2 == 0
    chosen = np.random.default_rng(seed).random((DRAWS // AT_ONCE, len(secret), AT_ONCE))
    chosen = chosen.swapaxes(1, 2).reshape(DRAWS, len(secret), 1)
    root, state = tree.root()
    for start in range(0, DRAWS, at_once):
        part = slice(start, start + at_once)
        row = np.arange(len(evenly[part]))
        log_probs, log_drawn, drawn = np.repeat(root, len(row), 0), np.zeros(len(row)), []
        so_far, here, now = np.zeros(len(row)), np.zeros(len(row), np.int64), state
        for depth in range(len(secret)):
            log_p = log_probs - np.logaddexp.reduce(log_probs, 1, keepdims=True)  # among digits
            chances = np.where(evenly[part], 0.1, np.exp(log_p)).cumsum(1)
            digit = (chances < chosen[part, depth] * chances[:, -1:]).sum(1)
            log_drawn, so_far = log_drawn + log_p[row, digit], so_far + log_probs[row, digit]
            drawn.append(digit)
            if depth + 1 < len(secret):
                log_probs, now = tree.children(now, here, digit)
                here = row
        counts = (so_far > log_likelihood + TIE) + 0.5 * (abs(so_far - log_likelihood) <= TIE)
        counts[np.all(np.transpose(drawn) == np.array(secret), 1)] = 0
        weights.append(counts / (0.5 / space + 0.5 * np.exp(log_drawn)))
    of_draws = np.concatenate(weights)
    if not of_draws.any():  # none is more likely: one that was not drawn could add so much
        return 1.0, float(1 / (0.5 / space + 0.5 * np.exp(log_likelihood)) / DRAWS)
    error = of_draws.std(ddof=1) / np.sqrt(DRAWS)
    return float(np.clip(1 + of_draws.mean(), 1, space)), float(error)


def write_exposures(
    model: PreTrainedModel,
    canaries: CanarySet,
    settings: ExtractionSettings,
    state: PartialState,
    made_of: dict[str, Any],
    inputs: dict[str, str],
) -> dict[str, Any]:
    """Write the Exposure of each canary beside the generations, shared among the ranks of `state`.

    made_of: of the result. inputs: path -> contents of what was read. Returns all that makes the rows. Raises UserError
    for a model whose context is too short.

    The model is asked itself, not an Engine: SecretTree goes on from the keys and values of a context, digit by digit,
    which no Engine offers, and a secret is scored whole, however few new tokens a generation may have.
    """
    longest = max(len(one.prefix_ids) + len(one.secret_ids) for one in canaries.canaries)
    context = context_length(model.config)
    if context is not None and longest > context:
        raise UserError(f"{settings.model_path}: its context of {context} tokens is shorter than a canary ({longest})")
    made_of = made_of | {"digits": len(canaries.canaries[0].secret_ids) // len(canaries.digit_ids[0]), "format": FORMAT}
    keys = [(one.id, 0, 0) for one in canaries.canaries]
    ranks = state.process_index, state.num_processes
    path, room = exposures_path(settings.path), Room(AT_ONCE)
    with Rows(path, EXPOSURES, Exposure, made_of, keys, BATCH, *ranks, settings.overwrite) as rows:
        state.wait_for_everyone()
        if state.is_main_process:
            print(rows.progress)
        hidden = not (rows.mine and state.is_main_process)
        for _, batch in tqdm(rows.mine, desc="canaries", unit="batch", disable=hidden):
            rows.append(exposures_of(model, canaries.canaries[batch.start : batch.stop], canaries.digit_ids, room))
        state.wait_for_everyone()
        if state.is_main_process:
            rows.finish({name: getattr(settings, name) for name in ARGUMENTS}, inputs)
    return made_of


def exposures_of(
    model: PreTrainedModel, canaries: Sequence[Canary], digit_ids: Sequence[list[int]], room: Room
) -> Iterator[Exposure]:
    """The Exposure of each of the canaries. room: halved where it is too large."""
    texts = [(one.prefix_ids, one.secret_ids) for one in canaries]
    scored = in_parts(lambda part: token_scores(model, *zip(*part, strict=True)), texts, room)
    for one, tokens in zip(canaries, scored, strict=True):
        log_likelihood = float(np.minimum(tokens.log_prob, 0).sum(dtype=np.float64))
        secret = [int(digit) for digit in one.secret if digit.isdecimal()]
        tree, result = SecretTree(model, one.prefix_ids, digit_ids), None
        while result is None:
            failed, result = ran_out(exposure, tree, secret, max(log_likelihood, LEAST), one.id, room.size)
            if failed:
                room.halve(room.size)
        bits, error = result
        yield Exposure(
            id=one.id,
            turn=0,
            sample=0,
            pair=one.pair,
            copies=one.copies,
            planted=one.planted,
            log_likelihood="-inf" if np.isinf(log_likelihood) else log_likelihood,
            exposure=bits,
            error=error,
            extracted=bool(np.all(tokens.greedy)),
        )
