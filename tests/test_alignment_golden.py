"""The detector and the splitter against what a known-good implementation gives on real pairs."""

import gzip
import json
import tarfile
from pathlib import Path

import pytest

from memorization.alignment import PROFILES, align, prepare, reference, split_sentences

SHARED = Path(__file__).parents[2] / "shared"

OWN = Path(__file__).parent / "support" / "golden_pairs.jsonl"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")


def rows(name):
    with gzip.open(SHARED / "golden" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def pan():
    """(suspicious Document, source Document, row) of the pairs of the PAN corpus."""
    wanted, texts = rows("pan13-train"), {}
    names = {row[side] for row in wanted for side in ("susp", "src")}
    with tarfile.open(SHARED / "data" / "pan13-train.tar.xz") as archive:
        for member in archive:
            if Path(member.name).name in names:
                texts[Path(member.name).name] = archive.extractfile(member).read().decode()
    return [
        (prepare(texts[row["susp"]], row["susp_sentences"]), prepare(texts[row["src"]], row["src_sentences"]), row)
        for row in wanted
    ]


@pytest.fixture(scope="module")
def generations():
    return [
        (
            prepare(row["training_text"], row["training_sentences"]),
            prepare(row["generation"], row["generation_sentences"]),
            row,
        )
        for row in rows("generations")
    ]


def golden(outputs, profile):
    passages = {(tuple(suspicious), tuple(source)) for suspicious, source in outputs[profile]["passages"]}
    return outputs[profile]["kind"], passages


@needs_shared
@pytest.mark.parametrize("profile", PROFILES)
def test_real_documents_align_as_in_the_golden_outputs(pan, profile):
    for suspicious, source, row in pan:
        kind, passages = align(suspicious, source, profile)
        assert (kind, set(passages)) == golden(row, profile), (row["susp"], row["src"])
    assert len(pan) == 300


@needs_shared
@pytest.mark.parametrize("profile", PROFILES)
def test_generations_align_as_in_the_golden_outputs_both_ways(generations, profile):
    for training, generation, row in generations:
        for a, b, direction in ((training, generation, "direction_paper"), (generation, training, "direction_pan")):
            kind, passages = align(a, b, profile)
            assert (kind, set(passages)) == golden(row[direction], profile), (row["made"], training.text)
    assert len(generations) == 304


@needs_shared
def test_the_plain_version_gives_the_golden_outputs_too(generations):
    for training, generation, row in generations[::4]:
        kind, passages = reference.align(
            generation.text, training.text, generation.sentences, training.sentences, PROFILES["paper"]
        )
        assert (kind, set(passages)) == golden(row["direction_pan"], "paper")


@needs_shared
def test_sentence_boundaries_agree_with_the_golden_spans(pan, generations):
    for documents in pan, generations:
        distinct = {document.text: document for pair in documents for document in pair[:2]}
        both = ours = theirs = 0
        for text, document in distinct.items():
            mine, golden_ends = ({end for _, end in spans} for spans in (split_sentences(text), document.sentences))
            both, ours, theirs = both + len(mine & golden_ends), ours + len(mine), theirs + len(golden_ends)
        assert 2 * both / (ours + theirs) >= 0.995


@pytest.mark.parametrize("row", [json.loads(line) for line in OWN.open()], ids=lambda row: row["made"])
@pytest.mark.parametrize("profile", PROFILES)
def test_made_up_texts_align_as_in_our_own_golden_outputs(row, profile):
    texts = row["suspicious"], row["source"]
    spans = [[tuple(span) for span in row[f"{side}_sentences"]] for side in ("suspicious", "source")]
    assert [split_sentences(text) for text in texts] == spans
    kind, passages = align(*texts, profile)
    assert (kind, set(passages)) == golden(row, profile)
    kind, passages = reference.align(*texts, *spans, PROFILES[profile])
    assert (kind, set(passages)) == golden(row, profile)
