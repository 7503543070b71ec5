"""Continuing and scoring the probes of a run, batch by batch.

A batch is a range of positions among the run's keys, (id, sample) of each row. What both ways give of one is its keys,
the probe of each key, the tokens that follow it (list of lists of token ids), and, where the sample is its probe's
first, the TokenScores of the suffix, else None.
"""

from collections import deque
from itertools import cycle, islice

from accelerate.utils import gather_object

from memorization.extraction.decoding import continued
from memorization.extraction.generation import continue_prefixes, sampling
from memorization.extraction.memory import Room, ran_out
from memorization.extraction.scoring import token_scores
from memorization.models.passes import given
from memorization.shell.cli import UserError


def decoded(model, eos, probes, keys, batches, args):
    """Of each batch in order what is above: greedy, in 32 bits. The tokens do not depend on the batches."""
    begun = deque()

    def pairs():
        for batch in batches:
            begun.append(_of(batch, probes, keys, 1))
            yield _texts(model, begun[-1][1], args)[:2]

    for passed, ids in continued(model, pairs(), args.max_new_tokens, eos, args.batch_size, _scheme(args)):
        yield *begun.popleft(), ids, passed


def generated(model, eos, probes, keys, batches, args):
    """Of each batch in order what is above: samples, or in half precision, where tokens depend on the batch's shape.

    Raises UserError where there is no memory for a batch.
    """

    def work(of_batch, probes_of):
        ids = _continued(model, of_batch, probes_of, args.max_new_tokens, eos, args)
        first = [probe for (_, sample), probe in zip(of_batch, probes_of, strict=True) if not sample]
        passed = iter(_scored(model, first, args) if first else ())
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
    of_one = cycle(one["prefix_ids"] + one["suffix_ids"])
    text = list(islice(of_one, prefix + new))
    source = list(islice(of_one, probes.longest_source))

    def work(number):
        _scored(
            model, [{"prefix_ids": text[:prefix], "suffix_ids": text[prefix:], "source_ids": source}] * number, args
        )
        longest = [{"prefix_ids": text[: max(prefix, len(text) - 2)], "source_ids": source}] * number
        _continued(model, [(0, 0)] * number, longest, min(new, 2), eos, args)

    while ran_out(work, tried := min(room.size, len(probes) * args.num_samples))[0]:
        room.halve(tried)
    return min(gather_object([room.size]))


def _draw(keys, args):
    return sampling(keys, args.seed, args.temperature, args.top_k, args.top_p) if args.temperature else ()


def _of(batch, probes, keys, num_samples):
    first = batch.start // num_samples
    nearby = probes[first : (batch.stop - 1) // num_samples + 1]
    return keys[batch.start : batch.stop], [nearby[i // num_samples - first] for i in batch]


def _continued(model, keys, probes, new_tokens, eos, args):
    """The tokens that follow each probe of a batch; of an encoder-decoder model, prefixes of one length together."""
    prefixes, sources = given(model, probes, args.source_length)
    if sources is None:
        return continue_prefixes(model, prefixes, new_tokens, eos, _draw(keys, args))
    lengths, found = [*map(len, prefixes)], {}
    for length in sorted(set(lengths)):
        rows = [row for row, own in enumerate(lengths) if own == length]
        of_rows = [[values[row] for row in rows] for values in (prefixes, keys, sources)]
        said = continue_prefixes(model, of_rows[0], new_tokens, eos, _draw(of_rows[1], args), of_rows[2])
        found |= dict(zip(rows, said, strict=True))
    return [found[row] for row in range(len(probes))]


def _scored(model, probes, args):
    prefixes, suffixes, sources = _texts(model, probes, args)
    return token_scores(model, prefixes, suffixes, *_scheme(args), sources)


def _texts(model, probes, args):
    prefixes, sources = given(model, probes, args.source_length)
    return prefixes, [probe["suffix_ids"][: args.max_new_tokens] for probe in probes], sources


def _scheme(args):
    return args.temperature or 1.0, args.top_k, args.top_p
