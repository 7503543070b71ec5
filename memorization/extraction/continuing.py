"""Continuing and scoring the probes of a run, batch by batch.

A batch is a range of positions among the run's keys, (id, sample) of each row. What both ways give of one is its keys,
the probe of each key, the tokens that follow it (list of lists of token ids), and, where the sample is its probe's
first, the TokenScores of the suffix, else None.
"""

from collections import deque
from itertools import cycle

from accelerate.utils import gather_object

from memorization.cli import UserError
from memorization.extraction.decoding import continued
from memorization.extraction.generation import continue_prefixes, sampling
from memorization.extraction.memory import Room, ran_out
from memorization.extraction.scoring import token_scores


def decoded(model, eos, probes, keys, batches, args):
    """Of each batch in order what is above: greedy, in 32 bits. The tokens do not depend on the batches."""
    begun = deque()

    def pairs():
        for batch in batches:
            begun.append(_of(batch, probes, keys, 1))
            yield _texts(begun[-1][1], args)

    for passed, ids in continued(model, pairs(), args.max_new_tokens, eos, args.batch_size, _scheme(args)):
        yield *begun.popleft(), ids, passed


def generated(model, eos, probes, keys, batches, args):
    """Of each batch in order what is above: samples, or in half precision, where tokens depend on the batch's shape.

    Raises UserError where there is no memory for a batch.
    """

    def work(of_batch, probes_of):
        prefixes = [probe["prefix_ids"] for probe in probes_of]
        ids = continue_prefixes(model, prefixes, args.max_new_tokens, eos, _draw(of_batch, args))
        first = [probe for (_, sample), probe in zip(of_batch, probes_of, strict=True) if not sample]
        passed = iter(token_scores(model, *_texts(first, args), *_scheme(args)) if first else ())
        return ids, [None if sample else next(passed) for _, sample in of_batch]

    for batch in batches:
        of_batch = _of(batch, probes, keys, args.num_samples)
        failed, found = ran_out(work, *of_batch)
        if failed:
            raise UserError(
                f"out of memory with {len(batch)} texts at a time, for which there was enough before; give the same "
                "command again once there is, and it goes on, or start anew with a lower --batch-size"
            )
        yield *of_batch, *found


def largest_batch(model, eos, probes, args):
    """--batch-size, or its half, quarter...: what all ranks have memory for. Tried on the longest that there can be.

    For `generated`, whose batches have to be the same for the whole run, its continuation after a kill included.
    """
    room, prefix, new = Room(args.batch_size), probes.longest_prefix, args.max_new_tokens
    one = probes[:1][0]
    text = [token for _, token in zip(range(prefix + new), cycle(one["prefix_ids"] + one["suffix_ids"]), strict=False)]

    def work(number):
        token_scores(model, [text[:prefix]] * number, [text[prefix:]] * number, *_scheme(args))
        prefixes = [text[: max(prefix, len(text) - 2)]] * number
        continue_prefixes(model, prefixes, min(new, 2), eos, _draw([(0, 0)] * number, args))

    while ran_out(work, tried := min(room.size, len(probes) * args.num_samples))[0]:
        room.halve(tried)
    return min(gather_object([room.size]))


def _draw(keys, args):
    return sampling(keys, args.seed, args.temperature, args.top_k, args.top_p) if args.temperature else ()


def _of(batch, probes, keys, num_samples):
    first = batch.start // num_samples
    nearby = probes[first : (batch.stop - 1) // num_samples + 1]
    return keys[batch.start : batch.stop], [nearby[i // num_samples - first] for i in batch]


def _texts(probes, args):
    return [[probe["prefix_ids"] for probe in probes], [probe["suffix_ids"][: args.max_new_tokens] for probe in probes]]


def _scheme(args):
    return args.temperature or 1.0, args.top_k, args.top_p
