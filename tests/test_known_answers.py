"""Copies that are known, planted among real texts: what stage 5 finds, what it misses, what it finds by chance."""

import random
from pathlib import Path

import pytest

from benchmarks import known_answers
from benchmarks.languages import LANGUAGES

DATA = Path(__file__).parents[2] / "shared" / "data"
FILES = [DATA / name for name in ("chatdoctor5k.json", "dialogsum-dev.jsonl", "squad-dev-part-a.json")]


@pytest.fixture(scope="module")
def found():
    if not all(path.is_file() for path in FILES):
        pytest.skip(f"no data in {DATA}")
    return known_answers.find(*known_answers.read(*FILES), 300, random.Random(1))


@pytest.mark.parametrize("length", [50, 100, 200])
@pytest.mark.parametrize("where", ["alone", "in other text"])
def test_every_copy_is_found_and_told_whose_it_is(found, length, where):
    shares = found[f"copy of the length {length} {where}"]
    assert shares["run_50"] == shares["verbatim"] == 1
    assert shares["own"] + shares["shared"] >= 1 and shares["own"] >= 0.8
    assert shares["run_100"] == (length >= 100) and shares["run_200"] == (length >= 200)


def test_copies_with_changes_are_found_up_to_a_fifth_of_the_words(found):
    for kind in ("the whole suffix", "its sentences reordered", *(f"{n} % of the words changed" for n in (5, 10, 20))):
        assert found[kind]["verbatim"] >= 0.95, kind
    changed = found["40 % of the words changed"]
    assert changed["any"] + changed["unverified"] >= 0.8
    assert found["the whole suffix"]["exact_match"] == 1


def test_unrelated_text_is_nobodys_own(found):
    same, other = (found[kind] for kind in known_answers.UNRELATED)
    assert same["own"] == same["exact_match"] == 0
    assert same["run_50"] >= 0.5  # what many write: why the verdict is not of this column
    assert other["run_50"] == other["own"] == other["another"] == other["shared"] == 0
    assert other["any"] + other["unverified"] <= 0.1


@pytest.fixture(scope="module", params=LANGUAGES)
def in_language(request):
    return request.param, known_answers.made_up(request.param, random.Random(1), each=10)


def test_every_copy_is_found_in_every_language(in_language):
    """A copy longer than the span length by the span scan, whatever the script; by the aligner from 200 on."""
    _, found = in_language
    for length in known_answers.LENGTHS:
        for where in ("alone", "in other text"):
            shares = found[f"copy of the length {length} {where}"]
            assert shares["scanned"] == shares["run_50"] == shares["verbatim"] == 1, (length, where)
            assert shares["own"] >= 0.8 and shares["another"] == 0
            assert shares["run_100"] == (length >= 100) and shares["run_200"] == (length >= 200)
            assert length < 200 or shares["aligned"] == 1
    whole = found["the whole suffix"]
    assert whole["exact_match"] == whole["own"] == whole["aligned"] == whole["verbatim"] == 1


def test_copies_with_changes_are_found_in_every_language(in_language):
    _, found = in_language
    for percent in (5, 10, 20):
        assert found[f"{percent} % of the words changed"]["aligned"] >= 0.9, percent
    assert found["its sentences reordered"]["verbatim"] >= 0.9


def test_unrelated_text_is_nobodys_in_any_language(in_language):
    _, found = in_language
    for kind in known_answers.UNRELATED:
        shares = found[kind]
        assert not any(
            shares[name] for name in ("scanned", "own", "another", "shared", "run_50", "verbatim", "exact_match")
        )
    assert found[known_answers.UNRELATED[1]]["aligned"] == 0
