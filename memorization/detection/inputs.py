"""Whether what stage 5 is given is of one run (design.md, What makes a result)."""

import msgspec

from memorization.detection.detections import FORMAT
from memorization.store.files import fingerprint
from memorization.store.fingerprints import model_fingerprint
from memorization.store.manifests import TextDigest, difference, identity


def misfits(rows, generations, index):
    """What differs between an index and the one that the generations need, in words; "" if it is the right one.

    rows: stage 3's Generations. generations: their Manifest, None for texts of which nothing is known. index: the
    made_of of a retrieval index.
    """
    known = generations.made_of if generations else {}
    digest, seen = TextDigest(), set()
    for row in rows:
        if row.member and row.id not in seen:  # several generations of a probe stand for one document
            seen.add(row.id)
            digest.add(str(row.id), row.suffix)
    needed = {name: known.get(name) for name in ("encoding", "probe", "prefix_length")}
    if not (generations and generations.facts.get("too_long")):  # otherwise the index has members that the rows lack
        needed["documents"] = digest.hex()
    return difference({name: index.get(name) for name in needed}, needed)


def detections_made_of(rows, generations, index, settings, classifier, ner_model, unchecked):
    """Everything that makes stage 5's result: the arguments of misfits, and how it is made.

    settings: dict of profile, direction, candidates and span_length. classifier: directory of the paraphrase
    classifier; ner_model: that of the spaCy pipeline; None without. unchecked: whether what does not fit was let pass,
    here or in stage 3.
    """
    known = [generations.identity, generations.contents] if generations else msgspec.to_builtins(rows)
    return {
        "generations": identity(known),
        "index": identity(index),
        **settings,
        "classifier": classifier and model_fingerprint(classifier),
        "ner_model": ner_model and fingerprint(ner_model),
        "unchecked": unchecked,
        "format": FORMAT,
    }
