"""The dense index that docs/extending.md shows: it works as it stands there."""

import re
import sys
from types import ModuleType

import pytest

from memorization.retrieval.embedded import EmbeddedIndex
from memorization.shell.cli import UserError
from support.command_line import ROOT
from support.indexes import MADE_OF


@pytest.fixture
def dense(monkeypatch):
    """The class of the page."""
    page = (ROOT / "docs" / "extending.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "DirectoryIndex" in block)
    module = ModuleType("dense")
    monkeypatch.setitem(sys.modules, "dense", module)
    exec(code, module.__dict__)
    return module.DenseIndex


def test_it_finds_texts_that_share_no_word_and_is_not_taken_for_another(dense, tmp_path):
    texts = {"1": "Fieberhafte Erkältungen", "2": "a rash on the left arm", "3": "unrelated"}
    dense(tmp_path, "test").load(texts.items(), MADE_OF)
    index = dense(tmp_path, "test")
    hits = index.search(["Erkältung mit Fieber", "rashes, arms", "\u4e00"], 2)
    assert [of_text[0].id for of_text in hits[:2]] == ["1", "2"] and hits[2] == []
    assert all(0 < hit.score <= 1.001 for of_text in hits for hit in of_text)
    assert index.texts(["2"]) == {"2": texts["2"]} and index.made_of()["engine"] == "dense"
    with pytest.raises(UserError, match="is ranked by another engine; make it with"):
        EmbeddedIndex(tmp_path, "test").search(["rash"])
    EmbeddedIndex(tmp_path, "test").load(texts.items(), MADE_OF)
    with pytest.raises(UserError, match="is ranked by another engine; make it with"):
        dense(tmp_path, "test").search(["rash"])
