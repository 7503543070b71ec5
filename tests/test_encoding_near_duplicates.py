"""Near-duplicates: clusters are those of the exact Jaccard similarity, stand on one side, and are left out if asked."""

import random
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from datasets import load_from_disk
from hypothesis import given
from hypothesis import strategies as st

from memorization.encoding import sample_store
from memorization.encoding.kinds import OF_ENCODING, PROBES, TRAINING_SET
from memorization.encoding.near_duplicates import MISSED, VALUES, band_shape, clusters
from memorization.encoding.probes import Probes
from memorization.encoding.sample_store import Sample, store_samples
from memorization.encoding.split import draw_members, find_copies
from memorization.store.files import write_json
from memorization.store.locations import encoding_paths
from memorization.store.manifests import checked
from support.command_line import one_line, run_script


def grams(text):
    """The set of a text's word 5-grams, told apart by the words themselves."""
    words = "".join(sign if sign.isalnum() or sign == "_" else " " for sign in text.lower()).split()
    return {tuple(words[i : i + 5]) for i in range(max(len(words) - 4, 1))} if words else set()


def similarity(one, other):
    return len(one & other) / len(one | other) if one | other else 0


def plain_clusters(texts, threshold):
    """Of each text the first of its cluster, by comparing all pairs until nothing changes."""
    sets, begin = [grams(text) for text in texts], list(range(len(texts)))
    for i, j in combinations(range(len(texts)), 2):
        if begin[i] != begin[j] and (texts[i] == texts[j] or similarity(sets[i], sets[j]) >= threshold):
            low, high = sorted((begin[i], begin[j]))
            begin = [low if own == high else own for own in begin]
    return begin


def clusters_of(path, texts, threshold, num_proc=1):
    path.mkdir()
    hashes, _ = store_samples([Sample(text, ()) for text in texts], path / "samples")
    begin = clusters(path / "samples", find_copies(hashes)[0], threshold, num_proc, 3)
    assert [file.name for file in path.iterdir()] == ["samples"]
    return begin.tolist()


def made_up(seed, number):
    """Texts of up to 80 words, two versions of each with up to four words changed, copies, and what has no words."""
    rng = random.Random(seed)
    words = [f"wörd{i}" for i in range(300)]
    texts = [[rng.choice(words) for _ in range(rng.randint(1, 80))] for _ in range(number)]
    for text in texts[:]:
        for _ in range(2):
            changed = list(text)
            for _ in range(rng.randint(0, 4)):
                changed[rng.randrange(len(changed))] = rng.choice(words)
            texts.append(changed)
    texts = [rng.choice([" ", ", "]).join(text) for text in texts]
    texts = [*texts, *texts[:9], "", "...", "!?", "a b", "A, b!", "a b c"]
    rng.shuffle(texts)
    return texts


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8, 0.95, 1])
def test_clusters_are_those_of_all_pairs_compared(tmp_path, monkeypatch, threshold):
    monkeypatch.setattr(sample_store, "ROWS", 50)
    texts = made_up(seed=1, number=100)
    expected = plain_clusters(texts, threshold)
    assert len(texts) - 9 > len(set(expected)) > 80
    assert clusters_of(tmp_path / "one", texts, threshold) == expected
    assert threshold != 0.8 or clusters_of(tmp_path / "two", texts, threshold, num_proc=2) == expected


def test_the_similarity_is_the_shared_grams_over_all(tmp_path):
    """Ten words have six 5-grams; with another last word, five are shared of seven."""
    one, other = "a b c d e f g h i j", "A b; c d e f g h i k."
    assert clusters_of(tmp_path / "joined", [one, "x", other], 5 / 7) == [0, 1, 0]
    assert clusters_of(tmp_path / "apart", [one, "x", other], 5 / 7 + 1e-9) == [0, 1, 2]


def test_clusters_are_joined_text_by_text(tmp_path):
    """The first and the third share three of nine grams, each of them five of seven with the second."""
    texts = ["a b c d e f g h i j", "a b c d e f g h i k", "m b c d e f g h i k"]
    assert [similarity(grams(a), grams(b)) for a, b in combinations(texts, 2)] == [5 / 7, 4 / 8, 5 / 7]
    assert clusters_of(tmp_path / "all", texts, 0.7) == [0, 0, 0]
    assert clusters_of(tmp_path / "ends", texts[::2], 0.7) == [0, 1]


ALPHABETS = {  # of which words are made; none where a character is a word
    "English": ("abcdefghijklmnopqrstuvwxyz", " "),
    "Russian": ("абвгдежзиклмнопрстуфхцчшщыэюя", " "),
    "Arabic": ("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", " "),
    "Hindi": ("कखगघचछजझटठडढतथदधनपफबभमयरलवशषसहािीुूेैोौ", " "),
    "Korean": ("가나다라마바사아자차카타파하거너더러머버서", " "),
    "Chinese": ("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳", ""),
    "Japanese": ("いろはにほへとちりぬるをわかよたれそつねならむウヰノオクヤマ日本語文", ""),
    "Thai": ("กขคงจชซดตถทนบปผพฟมยรลวสหอฮาะแโใไ", ""),
}


@pytest.mark.parametrize("language", ALPHABETS)
def test_texts_that_differ_in_two_places_are_near_duplicates_in_every_script(tmp_path, language):
    """Ten pairs, as many clusters: at most 10 of more than 125 5-grams of either text are not of the other."""
    alphabet, blank = ALPHABETS[language]
    rng, texts = random.Random(language), []
    for _ in range(10):
        words = ["".join(rng.choices(alphabet, k=6 if blank else 1)) for _ in range(130 if blank else 280)]
        texts.append(blank.join(words))
        for place in rng.sample(range(len(words)), 2):
            words[place] = rng.choice(alphabet)
        texts.append(blank.join(words))
    assert clusters_of(tmp_path / "all", texts, 0.8) == [i // 2 * 2 for i in range(20)]


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.8, 0.9, 1])
def test_a_pair_at_the_threshold_is_seldom_missed(threshold):
    def missed(number, width):
        return (1 - threshold**width) ** number

    number, width = band_shape(threshold)
    assert missed(number, width) <= MISSED and number * width <= VALUES
    assert missed(VALUES // (width + 1), width + 1) > MISSED or width == VALUES  # no wider ones would do
    assert number == 1 or missed(number - 1, width) > MISSED  # nor fewer


@given(st.lists(st.integers(0, 9), min_size=2).filter(lambda x: len(set(x)) > 1), st.floats(0.01, 0.99))
def test_a_cluster_is_on_one_side_and_about_the_share_held_out(numbers, share):
    """Samples are copies if their numbers are equal, in one cluster if these are alike but for the last bit."""
    first = np.array([numbers.index(number) for number in numbers])
    begin = np.array([[other // 2 for other in numbers].index(number // 2) for number in numbers])
    if not begin.any():
        return
    member = draw_members(first, begin, share, seed=1)
    inside, outside = ({numbers[i] for i in np.flatnonzero(side)} for side in (member, ~member))
    assert inside and outside and not {number // 2 for number in inside} & {number // 2 for number in outside}
    wanted = min(max(round(len({*numbers}) * share), 1), len({*numbers}) - 1)
    sizes = [len({number for number in numbers if number // 2 == half}) for half in {number // 2 for number in numbers}]
    assert wanted - 1 <= len(outside) <= max(wanted, min(sizes))


# ---- through stage 1


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Encodings of 60 texts of 60 words, 20 of them with a version in which two words differ, 5 of these twice: as it
    is, with near-duplicates together, and with these left out as well."""
    out = tmp_path_factory.mktemp("encoded")
    rng = random.Random(4)
    texts = [[f"w{rng.randrange(2000)}" for _ in range(60)] for _ in range(60)]
    versions = [["other", *text[1:-1], "words"] for text in texts[:20]]
    texts = [*texts, *versions, *versions[:5]]
    rng.shuffle(texts)
    rows = [{"instruction": "", "input": " ".join(text[:20]), "output": " ".join(text[20:])} for text in texts]
    write_json(out / "d.json", rows)
    plain = "--near-duplicates", "none"
    assert encode(out, "plain", *plain) == encode(out, "near") == encode(out, "few", "--deduplicate") == 0
    assert encode(out, "once", *plain, "--deduplicate") == 0
    return out


def encode(out, name, *flags):
    return run_script(
        "encode_dialogue.py",
        *("--data", out / "d.json", "--output-dir", out, "--test-size", "0.3", "--name", name),
        *("--prefix-length", "10", *flags),
    )


def sides(out, name):
    paths = encoding_paths(out, name)
    return [load_from_disk(str(paths[side]))["text"][:] for side in ("training set", "held-out set")]


def pairs_apart(out, name):
    train, test = ([grams(text) for text in {*side}] for side in sides(out, name))
    return sum(similarity(one, other) >= 0.8 for one in train for other in test)


def test_near_duplicates_are_on_one_side_and_counted_apart(encoded):
    assert pairs_apart(encoded, "plain") > 3 and pairs_apart(encoded, "near") == pairs_apart(encoded, "few") == 0
    assert [len(side) for side in sides(encoded, "plain")][1] >= 24
    train, test = sides(encoded, "near")
    assert len(train) + len(test) == 85 and len({*test}) == 24
    paths = encoding_paths(encoded, "near")
    for kind, path in paths.items():
        facts = checked(path, OF_ENCODING[kind]).facts
        assert (facts["near_duplicates"], facts["clusters_of_near_duplicates"]) == (40, 20)
        assert facts["distinct_samples"] == 80
    rows = load_from_disk(str(paths["probes"]))
    texts = [text for *_, text in Probes(encoded, "near", 10).samples()]
    first = dict(zip(texts[::-1], rows["id"][::-1], strict=True))
    alike = {text: [t for t in texts if similarity(grams(text), grams(t)) >= 0.8] for text in texts}
    assert rows["cluster"][:] == [min(first[t] for t in alike[text]) for text in texts]
    assert rows["duplicates"][:] == [(train + test).count(text) for text in texts]
    plain = load_from_disk(str(encoding_paths(encoded, "plain")["probes"]))
    assert plain["cluster"][:] == plain["id"][:]


@pytest.mark.parametrize("name", ["once", "few"])
def test_what_is_left_out_is_left_out_on_both_sides(encoded, name):
    """Of each text, or cluster, the first: else members would be of one copy, and their control of many."""
    paths = encoding_paths(encoded, name)
    manifest = checked(paths["training set"], TRAINING_SET)
    of_sides = sides(encoded, name)
    whole = sides(encoded, "plain" if name == "once" else "near")
    for side, of_whole, fact in zip(of_sides, whole, ("training", "held_out"), strict=True):
        order = list(dict.fromkeys(of_whole))
        if name == "few":
            begins = plain_clusters(order, 0.8)
            order = [text for i, text in enumerate(order) if begins[i] == i]
        assert side == order and len(side) < len(of_whole)
        assert manifest.facts[f"left_out_of_{fact}"] == len(of_whole) - len(side)
    train, test = of_sides
    probes = Probes(encoded, name, 10)
    texts = [probe["prefix"] + probe["suffix"] for probe in probes[:]]
    members = [text for text, member in zip(texts, probes.members, strict=True) if member]
    assert members == train and {*texts} - {*members} == {*test} and len(texts) == len(train) + len(test)
    assert set(probes.duplicates.tolist()) == {1}
    assert [checked(paths[kind], OF_ENCODING[kind]).rows for kind in ("training set", "held-out set", "probes")] == [
        len(train),
        len(test),
        len(texts),
    ]


def test_both_are_part_of_what_makes_an_encoding(encoded, capsys):
    names = ["plain", "near", "once", "few"]
    made_of = [checked(encoding_paths(encoded, name)["probes"], PROBES).made_of for name in names]
    added = [{name: value for name, value in own.items() if name not in made_of[0]} for own in made_of]
    assert added[1:] == [{"near_duplicates": 0.8}, {"deduplicate": True}, {"near_duplicates": 0.8, "deduplicate": True}]
    assert len({checked(encoding_paths(encoded, name)["probes"], PROBES).identity for name in names}) == 4
    capsys.readouterr()
    assert encode(encoded, "near", "--near-duplicates", "0.7") == 2
    assert "another near_duplicates (0.8, not 0.7)" in one_line(capsys)


def test_the_same_bytes_for_any_number_of_processes(encoded, monkeypatch):
    monkeypatch.setattr(sample_store, "ROWS", 7)
    flags = "--near-duplicates", "0.8", "--deduplicate", "--num-proc"
    assert encode(encoded, "p1", *flags, "1") == encode(encoded, "p2", *flags, "2") == 0
    for kind, path in encoding_paths(encoded, "p1").items():
        other = encoding_paths(encoded, "p2")[kind]
        assert checked(path, OF_ENCODING[kind]).contents == checked(other, OF_ENCODING[kind]).contents
    one, other = (encoding_paths(encoded, name)["probes"] / "data-00000-of-00001.arrow" for name in ("p1", "few"))
    rows = [pa.ipc.open_stream(path.read_bytes()).read_all().to_pylist() for path in (one, other)]
    assert rows[0] == rows[1]  # batches of another size


def test_data_that_is_all_alike_is_one_line(tmp_path, capsys):
    text = " ".join(map(str, range(100)))
    write_json(tmp_path / "d.json", [{"instruction": "", "input": text, "output": str(i)} for i in range(5)])
    assert encode(tmp_path, "all", "--near-duplicates", "0.8") == 2
    assert "d.json: all are near-duplicates; give two that differ" in one_line(capsys)
    assert encode(tmp_path, "all", "--deduplicate", "--canaries", "3") == 2
    assert "--deduplicate: leaves one copy of each text, of canaries too; add --canary-copies 1" in one_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["d.json"]


def test_a_share_that_is_none_is_refused_in_words(tmp_path, capsys):
    assert encode(tmp_path, "x", "--near-duplicates", "most") == 2
    assert "'most': give a share of the word 5-grams, as 0.8, or none" in one_line(capsys)
