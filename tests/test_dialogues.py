"""The made-up dialogues: repeated as asked, and too different to be taken for each other."""

from collections import Counter
from itertools import pairwise

from memorization.alignment import longest_common_run, prepare
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.tasks import DIALOGUE


def test_dialogues_are_repeated_as_asked_and_made_of_the_seed():
    texts = [DIALOGUE.text(row) for row in make_dialogues(1, single=5, fourfold=3, sixteenfold=2)]
    assert Counter(Counter(texts).values()) == {1: 5, 4: 3, 16: 2}
    assert texts == [DIALOGUE.text(row) for row in make_dialogues(1, single=5, fourfold=3, sixteenfold=2)]
    assert not set(texts) & {DIALOGUE.text(row) for row in make_dialogues(2, 5, 3, 2)}


def test_two_dialogues_hardly_share_fifty_characters():
    answers = [prepare(row["output"]) for row in make_dialogues(3, single=2001, fourfold=0, sixteenfold=0)]
    runs = [run for a, b in pairwise(answers) if (run := longest_common_run(a, b))]
    assert sum(end - start > 50 for (start, end), _ in runs) <= 2
