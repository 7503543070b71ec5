"""Named entities: which paraphrases keep the names, whose names are copied, and pipelines that will not do."""

import json
import random
import shutil
import subprocess
import sys

import msgspec
import numpy as np
import pytest
import spacy
from spacy.training import Example

from memorization.detection.detect import ComparisonSettings, detect
from memorization.detection.detections import WHOSE, Detection
from memorization.detection.entities import Entities, Entity, entities_agree, persons
from memorization.detection.kinds import DETECTIONS
from memorization.results.columns import columns_of
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.shell.cli import UserError
from memorization.store.rows import read_rows
from support.command_line import ROOT, one_line, run_script
from support.generation_rows import generation, load_index, load_spans, write_generations
from support.tiny_models import save_paraphrase_classifier

SMALL = {  # a recognizer that is trained in a second
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "ner",
    "extra_state_tokens": False,
    "hidden_width": 16,
    "maxout_pieces": 2,
    "use_upper": True,
    "tok2vec": {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 24,
        "depth": 1,
        "embed_size": 200,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": True,
    },
}
PEOPLE = ("Ann Lee", "Bob Stone", "Carla Diaz", "Dev Rao")
NOTES = (
    "and was told to come back on the third Monday of the month for another look at the left knee",
    "who asked for a second opinion about the new tablets that had made the evenings so very long",
    "after a long talk about sleep, tea, worry and the noise of the road behind the little house",
)


def rules(path, more=()):
    """A pipeline that knows PEOPLE and a few places by rules, and what `more` pipes do."""
    pipeline = spacy.blank("en")
    for name in more:
        pipeline.add_pipe(name)
    patterns = [{"label": "PERSON", "pattern": name} for name in PEOPLE]
    patterns += [{"label": "GPE", "pattern": name} for name in ("Rome", "Oslo", "Ann Arbor")]
    pipeline.add_pipe("entity_ruler").add_patterns(patterns)
    pipeline.to_disk(path)
    return path


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return rules(tmp_path_factory.mktemp("spacy") / "rules")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A pipeline with a statistical recognizer, and a tagger that it does not need."""
    pipeline, rng = spacy.blank("en"), random.Random(0)
    pipeline.add_pipe("tagger").add_label("X")
    pipeline.add_pipe("ner", config={"model": SMALL}).add_label("PERSON")
    examples = []
    for i in range(40):
        name = PEOPLE[i % len(PEOPLE)]
        text = f"{rng.choice(('Yesterday ', 'Today ', ''))}{name} {rng.choice(NOTES)}"
        marks = {"entities": [(text.index(name), text.index(name) + len(name), "PERSON")]}
        document = pipeline.make_doc(text)
        examples.append(Example.from_dict(document, marks | {"tags": ["X"] * len(document)}))
    spacy.util.fix_random_seed(0)
    optimizer = pipeline.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    for _ in range(12):
        pipeline.update(examples, sgd=optimizer, drop=0.0)
    path = tmp_path_factory.mktemp("spacy") / "trained"
    pipeline.to_disk(path)
    return path


PAIRS = {  # sentences -> whether their entities agree
    ("Ann Lee went to Rome.", "To Rome went Ann Lee."): True,
    ("ANN LEE went to Rome.", "To Rome went Ann Lee."): False,  # by these rules only one of the two is a name
    ("Ann  Lee went.", "It was Ann Lee."): False,
    ("Ann Lee went to Rome.", "To Oslo went Ann Lee."): False,
    ("Ann Lee went to Rome.", "Ann Lee went away."): False,
    ("Ann Lee and Ann Lee met.", "Ann Lee met herself."): True,
    ("Someone went home.", "Home went somebody."): True,
    ("Someone went home.", "Home went Bob Stone."): False,
}


def test_a_pair_agrees_if_both_name_the_same(pipeline):
    entities = Entities(pipeline).of(sentence for pair in PAIRS for sentence in pair)
    assert {pair: entities_agree(pair, entities) for pair in PAIRS} == PAIRS
    pair = ("ANN lee", "Ann\nLee")
    same = {text: (Entity("PERSON", 0, len(text)),) for text in pair}
    assert entities_agree(pair, same)
    assert not entities_agree(pair, same | {"Ann\nLee": (Entity("GPE", 0, 7),)})


def test_texts_in_batches_are_read_as_one_by_one(pipeline, trained):
    texts = [f"{i} {PEOPLE[i % 4]} {NOTES[i % 3][: 5 * i]}" for i in range(150)] + ["", "Ann Lee"] * 2
    for path in (pipeline, trained):
        alone = spacy.load(path)
        expected = {
            text: tuple((one.label_, one.start_char, one.end_char) for one in alone(text).ents) for text in texts
        }
        assert Entities(path).of(texts) == expected
        assert sum(map(len, expected.values())) >= 120


def test_words_that_were_read_are_not_kept(trained):
    entities = Entities(trained)
    entities.of(["Ann Lee"])
    kept = len(entities._pipeline.vocab.strings)
    entities.of(f"Today Ann Lee word{i} went" for i in range(200))
    assert len(entities._pipeline.vocab.strings) == kept


def test_only_what_reads_entities_is_run(trained, pipeline, tmp_path):
    assert Entities(trained)._pipeline.pipe_names == ["ner"]
    assert Entities(rules(tmp_path / "more", ["sentencizer"]))._pipeline.pipe_names == ["sentencizer", "entity_ruler"]


def test_people_alone_are_names(pipeline):
    text = "Bob Stone saw Ann Arbor, and Ann Lee saw Rome."
    spans = persons(Entities(pipeline).of([text])[text])
    assert [text[start:end] for start, end in spans] == ["Bob Stone", "Ann Lee"]


@pytest.fixture
def rows():
    """Members 0 to 2, whose generations copy them; member 3's copies 2 as well, so that both hold the run; a stranger,
    and a held-out one that is copied too.

    Member 1's note has a name within an e-mail address, member 0's generation a name beyond its copied run.
    """
    texts = [
        f"Ann Lee {NOTES[0]} Carla Diaz",
        f"Bob Stone {NOTES[1]} and then wrote to Dev Rao <dev.rao@example.org> about the tablets",
        f"Carla Diaz {NOTES[2]}",
    ]
    generated = [f"{texts[0][:70]} Dev Rao again", texts[1], texts[2], texts[2]]
    suffixes = [*texts, texts[2] + " too"]
    rows = [generation(id, one, suffix) for id, (one, suffix) in enumerate(zip(generated, suffixes, strict=True))]
    rows.append(generation(100, "Ann Lee and Bob Stone never said a word of all this", "Quite another text"))
    held_out = "Dev Rao kept his tickets, a green umbrella and two letters in the drawer under the window"
    return [*rows, generation(101, held_out, held_out)]


def opened(rows, directory):
    index = EmbeddedIndex(directory, "test")
    load_index(index, rows)
    return index, load_spans(directory, rows)


def test_names_are_counted_once_with_whose_they_are(pipeline, rows, tmp_path):
    detections = detect(
        rows, *opened(rows, tmp_path), ComparisonSettings("paper", ("pan",), 10, 50), None, Entities(pipeline).of
    )
    named = [
        [(one.kind, row.generation.text[slice(*one.generation_span)], one.whose) for one in row.personal]
        for row in detections
    ]
    assert named == [
        [("name", "Ann Lee", "own"), ("name", "Dev Rao", "shared")],
        [("name", "Bob Stone", "own"), ("name", "Dev Rao", "own"), ("email", "dev.rao@example.org", "own")],
        [("name", "Carla Diaz", "own")],
        [("name", "Carla Diaz", "own")],
        [("name", "Ann Lee", "another"), ("name", "Bob Stone", "another")],
        [("name", "Dev Rao", "own")],
    ]
    assert all(row.entities_agree is None for row in detections)  # nobody was asked for paraphrases


def test_a_name_within_another_find_is_none(rows, tmp_path):
    def everywhere(texts):  # names each word of each text
        return {
            text: tuple(Entity("PERSON", start, start + 7) for start in range(0, len(text) - 7, 7)) for text in texts
        }

    items = detect(rows, *opened(rows, tmp_path), ComparisonSettings("paper", ("pan",), 10, 50), None, everywhere)[
        1
    ].personal
    spans = [one.generation_span for one in items]
    assert spans == sorted(spans) and all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert [one.kind for one in items].count("email") == 1


def test_a_paraphrase_about_somebody_else_does_not_agree(pipeline, tmp_path):
    sample = "The old doctor saw {} on a rainy Monday morning in the town. The left knee was sore and swollen again."
    generated = "On a rainy Monday morning in the town the old doctor saw {}. Again the left knee was swollen and sore."
    rows = [generation(id, generated.format(name), sample.format("Ann Lee")) for id, name in enumerate(PEOPLE[:2])]
    rows.append(generation(100, "Nothing of this kind", "was ever written down"))

    def classify(pairs, sure=0.9):
        return {pair: sure if "Monday" in pair[0] and "Monday" in pair[1] else 0.1 for pair in pairs}

    (share,) = (column.value for column in columns_of(200, 10, "c", "pan", True) if column.name == "entities_agree")

    def agreed(classify):
        settings = ComparisonSettings("paper", ("pan", "paper"), 10, 200)
        detections = detect(rows, *opened(rows, tmp_path), settings, classify, Entities(pipeline).of)
        assert [share(row) for row in detections] == [row.entities_agree for row in detections]
        for row in detections:  # what is labelled otherwise is no paraphrase, whatever it names
            row.labels.label = "verbatim"
        assert not any(share(row) for row in detections)
        return [(row.labels.label_without_scan, row.entities_agree) for row in detections]

    assert agreed(classify) == [("paraphrase", True), ("paraphrase", False), ("none", False)]
    assert agreed(lambda pairs: classify(pairs, 0.5)) == [("paraphrase_low", False)] * 2 + [("none", False)]


def command(directory, pipeline, *flags):
    paths = ["--filedir", directory / "g.jsonl", "--indexes", directory, "--output-dir", directory / "out"]
    return [*paths, "--type", "m", "--index-xsuffix", "test", "--ner-model", pipeline, *flags]


def test_stage_5_gives_the_same_bytes_for_any_number_of_processes(trained, rows, tmp_path, capsys):
    write_generations(tmp_path / "g.jsonl", rows)
    opened(rows, tmp_path)
    classifier = save_paraphrase_classifier(tmp_path / "classifier", ROOT / "configs" / "gpt-neo-small")
    results = []
    for jobs in (1, 2):
        flags = ["--jobs", jobs, "--overwrite", "--paraphrase-model", classifier, "--type", f"jobs-{jobs}"]
        assert run_script("plagiarism_detect.py", *command(tmp_path, trained, *flags)) == 0
        results.append((tmp_path / "out" / f"jobs-{jobs}" / "dialogue" / "detections.jsonl").read_bytes())
    assert results[0] == results[1]
    printed = capsys.readouterr().out
    assert "entities agree" in printed and f"ner_model {trained}" in " ".join(printed.split()).replace("- ", "-")
    _, manifest = read_rows(tmp_path / "out/jobs-1/dialogue/detections.jsonl", DETECTIONS, Detection)
    assert len(manifest.made_of["ner_model"]) == 64
    summary = json.loads((tmp_path / "out/jobs-1/dialogue/result.json").read_text())
    assert sum(summary["personal"]["name"]["members"].values()) >= 2
    assert msgspec.json.decode(results[0].splitlines()[0])["entities_agree"] is not None


def test_names_are_counted_by_side_and_another_pipeline_makes_another_result(pipeline, trained, rows, tmp_path, capsys):
    write_generations(tmp_path / "g.jsonl", rows)
    opened(rows, tmp_path)
    assert run_script("plagiarism_detect.py", *command(tmp_path, pipeline, "--paraphrase-model", "none")) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("name, ")]
    assert lines == [["name,", "members", *"500100"], ["name,", "held", "out", *"120000"]]
    summary = json.loads((tmp_path / "out/m/dialogue/result.json").read_text())
    assert summary["personal"]["name"]["held out"] == dict.fromkeys(WHOSE, 0) | {"own": 1, "another": 2}
    assert "entities_agree" not in [column["name"] for column in summary["columns"]]
    assert run_script("plagiarism_detect.py", *command(tmp_path, trained, "--paraphrase-model", "none")) == 2
    assert "ner_model" in one_line(capsys)


def _cut(path):
    (path / "ner" / "model").write_bytes(b"half")


def _settings(old, new):
    def change(path):
        config = path / "config.cfg"
        assert old in config.read_text()
        config.write_text(config.read_text().replace(old, new))

    return change


FAULTS = {  # what is done to a pipeline -> what is said of it
    "no-directory": (shutil.rmtree, "is no spaCy pipeline that can be loaded ([E050] Can't find model"),
    "other-files": (lambda path: (path / "meta.json").unlink(), "can be loaded ([E053] Could not read meta.json"),
    "cut-weights": (_cut, "is no spaCy pipeline that can be loaded (unpack(b) received extra data"),
    "unknown-pipe": (_settings('factory = "ner"', 'factory = "her"'), "([E002] Can't find factory for 'her'"),
    "unknown-setting": (_settings("batch_size", "batch_sizes"), "can be loaded (Config validation error"),
    "unread-settings": (_settings("[nlp]", "[nlp"), "is no spaCy pipeline that can be loaded ("),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_pipeline_is_told(trained, tmp_path, fault):
    harm, message = FAULTS[fault]
    path = shutil.copytree(trained, tmp_path / fault)
    harm(path)
    with pytest.raises(UserError) as error:
        Entities(str(path))
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)
    assert str(error.value).endswith("); install it, or name a directory that holds one") and "()" not in str(
        error.value
    )


def test_a_pipeline_whose_weights_are_no_numbers_is_refused(trained, tmp_path):
    pipeline = spacy.load(trained)
    layer = next(one for one in pipeline.get_pipe("ner").model.walk() if one.name == "maxout")
    layer.set_param("W", np.full_like(layer.get_param("W"), np.nan))
    pipeline.to_disk(tmp_path / "nan")
    text = f"Today Ann Lee {NOTES[0]}"
    assert [one.text for one in spacy.load(tmp_path / "nan")(text).ents] != ["Ann Lee"]  # and nothing is said of it
    with pytest.raises(UserError, match="nan: holds weights that are NaN or infinite"):
        Entities(tmp_path / "nan")


def test_what_will_not_do_is_told_before_anything_is_written(rows, tmp_path, capsys, monkeypatch):
    write_generations(tmp_path / "g.jsonl", rows)
    opened(rows, tmp_path)
    spacy.blank("en").to_disk(tmp_path / "blank")

    def refused(name):
        assert run_script("plagiarism_detect.py", *command(tmp_path, name, "--paraphrase-model", "none")) == 2
        assert not (tmp_path / "out").exists()
        return one_line(capsys)

    assert "blank: has no entity recognizer; name a pipeline with one" in refused(tmp_path / "blank")
    assert "no_such_pipeline: is no spaCy pipeline that can be loaded" in refused("no_such_pipeline")
    monkeypatch.setitem(sys.modules, "spacy", None)
    assert "--ner-model needs spaCy, which is not installed: pip install" in refused(tmp_path / "blank")


def test_spacy_is_loaded_only_when_it_is_asked_for():
    code = "import sys, memorization.detection.entities; sys.exit('spacy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
