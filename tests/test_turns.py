"""Chats: a sample has several turns, each asked by itself; what is counted are samples."""

import pytest

from memorization.encoding.probes import sample_documents
from memorization.retrieval.embedded import EmbeddedIndex
from support.chat_rows import CHATS, chat_rows
from support.command_line import run_script
from support.generation_rows import generation, load_index, load_spans, write_generations


def test_the_documents_are_one_a_sample():
    suffixes = ((id, answer) for id, turns in CHATS.items() for _, answer in turns)
    documents = dict(sample_documents(suffixes))
    assert list(documents) == [str(id) for id in CHATS]
    assert documents["1"].splitlines() == [answer for _, answer in CHATS[1]]
    assert documents["2"] == CHATS[2][0][1]  # as of a text


def test_the_documents_stream():
    """No more than a sample's suffixes are read before its document comes."""
    read = []

    def suffixes():
        for i in range(6):
            read.append(i)
            yield i // 2, str(i)

    documents = sample_documents(suffixes())
    assert next(documents) == ("0", "0\n1") and read == [0, 1, 2]


@pytest.fixture
def stage(tmp_path):
    """What stages 3 and 4 leave of the chats, two generations a probe."""
    rows = [row for pair in zip(chat_rows(), chat_rows({}, 1), strict=True) for row in pair]
    write_generations(tmp_path / "g.jsonl", rows)
    load_index(EmbeddedIndex(tmp_path / "indexes", "suffixes"), rows)
    load_spans(tmp_path / "indexes", rows)
    return tmp_path


def detect(stage, *flags):
    paths = ["--filedir", stage / "g.jsonl", "--indexes", stage / "indexes", "--output-dir", stage / "results"]
    names = ["--type", "m", "--index-xsuffix", "suffixes", "--paraphrase-model", "none"]
    return run_script("plagiarism_detect.py", *paths, *names, *flags)


def test_stage_5_takes_the_index_of_the_same_turns_alone(stage, capsys):
    assert detect(stage) == 0
    rows = chat_rows()
    for others in (rows[:2] + rows[3:], [*rows, generation(2, "", "More.", turn=1, prefix="p")]):
        load_index(EmbeddedIndex(stage / "indexes", "suffixes"), others)
        assert detect(stage, "--overwrite") == 2
        assert "is not the index of the generations" in capsys.readouterr().err
