"""The three data sets of an encoding, written side by side, batch by batch."""

from contextlib import ExitStack

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from memorization.encoding.stored_sets import BAR_DELAY, PAIRS, SETS, SIDE, chosen_lists, saved
from memorization.encoding.tokens import cut
from memorization.store.manifests import identity


def write_sets(paths, made_of, batches, parts, probe, prompts, args, planted=None):
    """Write the three sets batch by batch; yields the probes of kind args.probe for the text file.

    parts: the split.SampleSplit. probe: dict kind -> bool array, where the samples that are long enough for a probe of
    it are marked. prompts: a prompt_counts.PromptCounter, to which those of kind args.probe are added. batches: as of
    tokens.encoded_batches. planted: a record batch that ends the training set.
    """
    at, stored = 0, parts.stored
    schemas = SETS | {"probes": PAIRS} if args.encoder_decoder else SETS
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(parts.member), desc="tokenizing", unit=" samples", delay=BAR_DELAY))
        train, test, probes = (
            stack.enter_context(saved(paths[kind], schema, identity({**made_of, "kind": kind})))
            for kind, schema in schemas.items()
        )
        for texts, ids, starts, bounds, target, *said in batches:
            id = np.arange(at, at + len(texts))
            here = slice(at, at := at + len(texts))
            member, kept, copies = parts.member[here], parts.kept[here], parts.copies[here]
            for add, rows in ((train, member & kept), (test, ~member & kept)):
                tokens, ones = chosen_lists(rows, bounds, ids, np.ones(len(ids), np.int8))
                labels = chosen_lists(rows, said[2], said[0])[0] if said else tokens
                add(pa.record_batch([id[rows], texts.filter(pa.array(rows)), tokens, ones, labels, target[rows]], SIDE))
            rows = stored[here]
            columns = [id[rows], pa.array(member[rows]), copies[rows], parts.begin[here][rows]]
            columns += [texts.filter(pa.array(rows)), *chosen_lists(rows, bounds, ids, starts), target[rows]]
            if said:
                *target_tokens, target_bounds, source_ends = said
                columns += [*chosen_lists(rows, target_bounds, *target_tokens), source_ends[rows]]
            probes(pa.record_batch(columns, schemas["probes"]))

            cuts = {}
            for kind, long in probe.items():
                of_target = kind == "target"
                tokens = said[:3] if said and of_target else (ids, starts, bounds)
                begin, end = cut(*tokens[1:], args.prefix_length, target if of_target else 0)
                long[here] = rows & (end - begin >= args.min_suffix_length)
                cuts[kind] = tokens, begin
            (cut_ids, cut_starts, cut_bounds), begin = cuts[args.probe]
            for i in np.flatnonzero(probe[args.probe][here]).tolist():
                read = ids[bounds[i] : bounds[i + 1]] if said and args.probe == "target" else ()
                prompts.add(read, cut_ids[cut_bounds[i] : begin[i]])
                text, place = texts[i].as_py(), cut_starts[begin[i]]
                text = text[: source_ends[i]] if args.probe == "source" else text
                yield {
                    "id": int(id[i]),
                    "member": bool(member[i]),
                    "prefix": text[:place],
                    "suffix": text[place:],
                    "duplicates": int(copies[i]),
                }
            bar.update(len(texts))
        if planted is not None:
            train(planted)
