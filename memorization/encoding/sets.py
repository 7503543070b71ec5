"""The three data sets of an encoding, written side by side, batch by batch."""

from contextlib import ExitStack

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from memorization.encoding.arrow import chosen_lists, saved
from memorization.encoding.tokens import cut
from memorization.runs import identity

FORMAT = 3  # of the results; raise it when a column or its meaning changes
BAR_DELAY = 3  # seconds that a step takes before it shows a bar
TOKENS = pa.list_(pa.int32())
SIDE = pa.schema(
    {
        "id": pa.int64(),
        "text": pa.string(),
        "input_ids": TOKENS,
        "attention_mask": pa.list_(pa.int8()),
        "labels": TOKENS,
        "target": pa.int32(),
    }
)
PROBES = pa.schema(
    {
        "id": pa.int64(),
        "member": pa.bool_(),
        "duplicates": pa.int64(),
        "text": pa.string(),
        "input_ids": TOKENS,
        "starts": TOKENS,
        "target": pa.int32(),
    }
)
SETS = {"training set": SIDE, "held-out set": SIDE, "probes": PROBES}


def write_sets(paths, made_of, batches, first, copies, member, probe, args, planted=None):
    """Write the three sets batch by batch; yields the probes for the text file and marks them in `probe`.

    first, copies, member, probe: of each sample. planted: a record batch that ends the training set.
    """
    at = 0
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(first), desc="tokenizing", unit=" samples", delay=BAR_DELAY))
        train, test, probes = (
            stack.enter_context(saved(paths[kind], schema, identity({**made_of, "kind": kind})))
            for kind, schema in SETS.items()
        )
        for texts, ids, starts, bounds, target in batches:
            id = np.arange(at, at + len(texts))
            here = slice(at, at := at + len(texts))
            for add, rows in ((train, member[here]), (test, ~member[here])):
                tokens, ones = chosen_lists(rows, bounds, ids, np.ones(len(ids), np.int8))
                add(pa.record_batch([id[rows], texts.filter(pa.array(rows)), tokens, ones, tokens, target[rows]], SIDE))
            rows = first[here] == id
            columns = [id[rows], pa.array(member[here][rows]), copies[here][rows], texts.filter(pa.array(rows))]
            probes(pa.record_batch([*columns, *chosen_lists(rows, bounds, ids, starts), target[rows]], PROBES))

            begin, end = cut(starts, bounds, args.prefix_length)
            probe[here] = rows & (end - begin >= args.min_suffix_length)
            for i in np.flatnonzero(probe[here]).tolist():
                text, place = texts[i].as_py(), starts[begin[i]]
                yield {
                    "id": int(id[i]),
                    "member": bool(member[id[i]]),
                    "prefix": text[:place],
                    "suffix": text[place:],
                    "duplicates": int(copies[id[i]]),
                }
            bar.update(len(texts))
        if planted is not None:
            train(planted)
