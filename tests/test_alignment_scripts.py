"""Scripts that part no words by blanks: characters are words, pairs of them stems, their own marks end sentences."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.alignment import align, longest_common_run, prepare, split_sentences

CHARACTERS = [*"我们在北京吃かなカー々〇", "か\u3099", "ไ", "ม่", "ກ", "བོ", "មា"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("今天很好。明天呢？后天！", ["今天很好。", "明天呢？", "后天！"]),
        ("他说：「好。」然后走了……真的?是的!", ["他说：「好。」", "然后走了……真的?", "是的!"]),
        ("行きます。 そうですか？\n\nはい｡", ["行きます。", "そうですか？", "はい｡"]),
        ("Version 3.5在这里。Dr. Smith said so. 好！", ["Version 3.5在这里。", "Dr. Smith said so.", "好！"]),
        ("สวัสดีครับ ผมชื่อ John มี 10 ปี  แล้ว", ["สวัสดีครับ", "ผมชื่อ John มี 10 ปี", "แล้ว"]),
        ("पहले जाँच कराएँ। दवा 31 बार लें॥", ["पहले जाँच कराएँ।", "दवा 31 बार लें॥"]),
        ("هل أنت بخير؟ نعم.", ["هل أنت بخير؟", "نعم."]),
        ("ມື້ນີ້ ດີ។ ការ", ["ມື້ນີ້", "ດີ។", "ការ"]),
        ("한국어입니다. 좋아요!", ["한국어입니다.", "좋아요!"]),
        ("。", ["。"]),
        ("。 ", ["。"]),
        (" 好。", ["好。"]),
    ],
)
def test_sentences(text, sentences):
    assert [text[start:end].strip() for start, end in split_sentences(text)] == sentences


@given(
    st.lists(st.one_of(st.sampled_from(CHARACTERS), st.sampled_from(["，", " ", "52", "dogs", "(", "OK"])), max_size=20)
)
def test_characters_are_words_and_pairs_of_neighbours_are_stems(pieces):
    """The same pairs are the same stems, whatever stands around them; what is between runs is as it is alone."""
    text = "".join(pieces)
    document = prepare(text, [(0, len(text))])
    runs = [[]]
    for piece in pieces:
        runs[-1].append(piece) if piece in CHARACTERS else runs.append([])
    spans = [text[start:end] for start, end in document.bounds.tolist()]
    assert [word for word in spans if word in CHARACTERS] == [piece for piece in pieces if piece in CHARACTERS]
    expected = []
    for run in filter(None, runs):
        expected += map("".join, pairwise(run)) if len(run) > 1 else run
    stems = {stem: int(prepare(stem)._stems[0]) for stem in expected}
    assert len(set(stems.values())) == len(stems)
    alone = [int(stem) for stem in document._stems if int(stem) in set(stems.values())]
    assert alone == [stems[stem] for stem in expected]


ALPHABETS = {"Chinese": ("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜", "。"),
             "Japanese": ("いろはにほへとちりぬるをわかよたれそつねならむウヰノオクヤマ日本語文章読書", "。"),
             "Thai": ("กขคงจชซดตถทนบปผพฟมยรลวสหอฮะาแโใไ", " ")}  # fmt: skip


def sentences(rng, language, number):
    alphabet, mark = ALPHABETS[language]
    return ["".join(rng.choices(alphabet, k=rng.randint(12, 30))) + mark for _ in range(number)]


@pytest.mark.parametrize("language", ALPHABETS)
@pytest.mark.parametrize("profile", ["paper", "pan"])
def test_planted_copies_are_found(language, profile):
    rng = random.Random(language)
    for _ in range(10):
        copied = "".join(sentences(rng, language, 20)).strip()
        others = ["".join(sentences(rng, language, 8)) for _ in range(4)]
        suspicious, source = (
            others[0] + copied + " " * (language == "Thai") + others[1],
            others[2] + copied + " " * (language == "Thai") + others[3],
        )
        kind, passages = align(suspicious, source, profile)
        assert kind == "verbatim"
        ((ours, theirs),) = passages
        assert copied.rstrip("。") in suspicious[slice(*ours)] and copied.rstrip("。") in source[slice(*theirs)]
        assert ours[1] - ours[0] <= len(copied) + 3
        for text, (start, end) in zip((suspicious, source), longest_common_run(suspicious, source), strict=True):
            assert copied.rstrip("。") in text[start:end] and end - start <= len(copied) + 4  # by chance one more

        changed = list(copied)
        for place in rng.sample(range(len(changed)), len(changed) // 20):
            if changed[place] not in " 。":
                changed[place] = rng.choice(ALPHABETS[language][0])
        kind, passages = align(others[0] + "".join(changed), source, profile)
        assert kind != "none"
        assert align(others[0] + others[1], source, profile) == ("none", [])
