"""Masked texts: no word is shown, spans stay on the words that they were on, no file of a report shows more."""

import base64
import gzip
import json
import re
import unicodedata
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.detection import personal_data
from memorization.detection.detect import ComparisonSettings, detect
from memorization.encoding.made_up import make_dialogues
from memorization.results.redact import MASK, Masked, redacted
from memorization.retrieval.embedded import EmbeddedIndex
from support.command_line import run_script
from support.detection_rows import detection, every_case, item, write_detections
from support.generation_rows import generation, load_index, load_spans
from support.personal_examples import KNOWN

DATA = Path(__file__).parents[2] / "shared" / "data" / "chatdoctor5k.json"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Write to Anna Petersen, 43: ap@example.org", "W···e to A··a P······n, ··: [email]"),
        ("On 3/4/2021 or +1 202 555 0143 I'm there", "On [date] or [telephone] I'm t···e"),
        ("a of the well-known X-ray 7 x7 A1B2 $100", "a of t·e w··l-k···n X-r·y · x· A··· $···"),
        ("snake_case_word caf\u00e9 cafe\u0301s nai\u0308ve", "s·············d c··\u00e9 c····s n····e"),
        ("he\u200bl\u00adlo \u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8 \u0928\u092e\u0938\u094d\u0924\u0947", None),
        ("\u738b\u5c0f\u660e\uff0c\u5934\u75db\u3002", "\u00b7\u00b7\u00b7\uff0c\u00b7\u00b7\u3002"),
        ("\uae40\ucca0\uc218\ub294 \uc88b\ub2e4", "\u00b7\u00b7\u00b7\u00b7 \u00b7\u00b7"),
        ("\u0e19\u0e49\u0e33 OK\u4e86, \u304b\u3099", "\u00b7\u00b7\u00b7 O\u00b7\u00b7, \u00b7\u00b7"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_text(text, shown):
    masked = Masked(text).text
    if shown is None:  # invisible characters and marks end no word
        assert [word.count(MASK) for word in masked.split()] == [5, 7, 4]
    else:
        assert masked == shown.replace("·", MASK)


PIECES = [
    "hello",
    "a",
    "of",
    "\u00e9",
    "te\u0301te",
    "12",
    "x_y",
    "he\u200bllo",
    "\u65e5\u672c\u8a9e",
    "a@b.org",
    "\u0e19\u0e49",
    "\uae40",
]
PIECES += ["+1 202 555 0143", "3/4/2021", "www.site.org/x?y", "\u2014", ".", "\n", " ", "-", "\U0001f600", "AB-12345"]


def slowly(text, *cuts):
    """What Masked does, a character at a time: (pieces, of each character the piece that stands for it)."""
    finds = {}
    for kind, start, end, _ in personal_data.find(text):
        for i in range(start, end):
            finds[i] = (kind, start, sum(cut <= i for cut in cuts))

    def is_letter(i):
        return not text[i].isspace() and (text[i] == "_" or unicodedata.category(text[i])[0] != "P")

    pieces, place = [], []
    for i, character in enumerate(text):
        if i in finds:
            if finds.get(i - 1) != finds[i]:
                pieces.append(f"[{finds[i][0]}]")
        else:
            shown = text[: i + 1].rstrip("\u0301\u0e49")[-1:]  # a mark is part of what it stands on
            whole = shown in set("\u65e5\u672c\u8a9e\u0e19\uae40")
            inner = 0 < i < len(text) - 1 and all(map(is_letter, (i - 1, i, i + 1)))
            pieces.append(MASK if inner or whole or unicodedata.category(character)[0] == "N" else character)
        place.append(len(pieces) - 1)
    return pieces, place


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(["", " "]), st.data())
def test_spans_lie_on_what_stands_for_their_characters(pieces, between, data):
    text = between.join(pieces)
    cuts = data.draw(st.lists(st.integers(0, len(text)), unique=True, max_size=3).map(sorted))
    masked = Masked(text, cuts)
    pieces, place = slowly(text, *cuts)
    assert masked.text == "".join(pieces)
    ends = [0]
    for piece in pieces:
        ends.append(ends[-1] + len(piece))
    for cut in cuts:
        assert masked.place(cut) == (ends[place[cut]] if cut < len(text) else ends[-1])
    for begin in range(len(text)):
        for end in range(begin + 1, len(text) + 1):
            span = (ends[place[begin]], ends[place[end - 1] + 1])
            assert masked.span((begin, end)) == span
            for cut in cuts:
                if begin >= cut:
                    behind = masked.behind(cut, (begin - cut, end - cut))
                    assert behind == tuple(place - masked.place(cut) for place in span)


def test_names_that_were_found_before_are_named_and_give_way_to_what_has_a_form():
    names = [("name", 5, 14), ("name", 16, 23)]
    assert Masked("Dear Ann Maria, at anna@example.org", [], names).text == f"D{MASK * 2}r [name], at [email]"
    with_name = Masked("Anna met Ann", [5], [("name", 9, 12)])
    assert with_name.text == f"A{MASK * 2}a m{MASK}t [name]" and with_name.behind(5, (4, 7)) == (4, 10)


@pytest.mark.parametrize("kind", KNOWN)
def test_what_is_known_in_any_script_is_shown_as_its_kind(kind):
    for texts in KNOWN[kind].values():
        for text in texts:
            before, _, rest = text.partition("⟦")
            item, _, after = rest.partition("⟧")
            shown = Masked(before + item + after).text
            assert shown.count(f"[{kind}]") == 1 and item not in shown
            assert not any(character.isdecimal() for character in shown)


def test_numbers_of_the_regions_asked_for_are_masked_as_numbers():
    text = "Ruf mich an: 030 901820"
    assert Masked(text, regions=("DE",)).text.endswith("[telephone]")
    assert "[telephone]" not in Masked(text, regions=("US",)).text and "9" not in Masked(text, regions=("US",)).text


SECRETS = ["anna.petersenzqx@exampleqx.org", "+1 202 555 0143", "17 March 1962", "4111 1111 1111 1111", "QZ-88421"]


def real_texts():
    texts = [row["output"] for row in make_dialogues(5, 80, 0, 0)]
    if DATA.is_file():
        texts += [row["output"] for row in json.loads(DATA.read_text())[:30]]
    return texts


@pytest.fixture(scope="module")
def detections(tmp_path_factory):
    """Detections of real texts of which each word is unlike any of ours: copied whole, in part, from others, not."""
    words = [re.sub(r"[^\W\d_]+", lambda word: f"{word[0]}zqx", text) for text in real_texts()]
    texts = [f"{' '.join(text.split()[:40])} Reach me: {SECRETS[i % len(SECRETS)]}." for i, text in enumerate(words)]
    samples = [(text[: len(text) // 3], text[len(text) // 3 :]) for text in texts]
    rows = []
    for i, (prefix, suffix) in enumerate(samples):
        others = samples[i - 1][1]
        generated = [suffix, suffix[: len(suffix) // 2] + others[len(others) // 2 :], others, f"{suffix[9:]} {others}"][
            i % 4
        ]
        id = i if i % 3 else 1000 + i
        rows.append(generation(id, generated, suffix, prefix=prefix, exact_match=generated == suffix))
    rows.append(generation(1, samples[4][1], samples[1][1], prefix=samples[1][0], sample=1))
    index = EmbeddedIndex(tmp_path_factory.mktemp("indexes"), "test")
    load_index(index, rows[:-1])
    spans = load_spans(tmp_path_factory.mktemp("spans"), rows[:-1])
    return detect(rows, index, spans, ComparisonSettings("paper", ("pan", "paper"), 10, 50), None)


def shown(before, text, span):
    """What stands for a span of a text that goes on from another one, by `slowly`."""
    pieces, place = slowly(before + text, len(before))
    begin, end = (len(before) + of_span for of_span in span)
    return "".join(pieces[place[begin] : place[end - 1] + 1])


def test_what_was_marked_stays_marked(detections):
    masked = redacted(every_case(detections)).rows
    samples = {row.generation.id: (row, new) for row, new in zip(detections, masked, strict=True)}
    seen = {"own": 0, "copied": 0, "passage": 0, "another's passage": 0, "personal": 0}

    def check(kind, row, new, one, other):
        marked = new.generation.text[slice(*other.generation_span)]
        assert marked == shown(row.generation.prefix, row.generation.text, one.generation_span)
        seen[kind] += 1

    for row, new in zip(detections, masked, strict=True):
        if row.own.run:
            check("own", row, new, row.own.run, new.own.run)
            assert new.own.run.length == row.own.run.length
            text = new.generation.suffix[slice(*new.own.run.suffix_span)]
            assert text == shown(row.generation.prefix, row.generation.suffix, row.own.run.suffix_span)
        for one, other in zip(row.copied, new.copied, strict=True):
            check("copied", row, new, one, other)
            sample, of = samples[one.sample]
            sample, of = sample.generation, of.generation
            text = (of.prefix + of.suffix)[slice(*other.sample_span)]
            pieces, place = slowly(sample.prefix + sample.suffix, len(sample.prefix))
            begin, end = one.sample_span
            assert text == "".join(pieces[place[begin] : place[end - 1] + 1])
        texts = {candidate.id: candidate.text for candidate in new.candidates}
        for one, other in zip(
            [*row.labels.passages, *row.paper.passages], [*new.labels.passages, *new.paper.passages], strict=True
        ):
            check("passage" if one.candidate == row.generation.id else "another's passage", row, new, one, other)
            sample, _ = samples[one.candidate]
            text = texts[one.candidate][slice(*other.candidate_span)]
            assert text == shown(sample.generation.prefix, sample.generation.suffix, one.candidate_span)
        for one, other in zip(row.own.passages, new.own.passages, strict=True):
            check("own", row, new, one, other)
            assert new.generation.suffix[slice(*other.candidate_span)] == shown(
                row.generation.prefix, row.generation.suffix, one.candidate_span
            )
        for one, other in zip(row.personal, new.personal, strict=True):
            check("personal", row, new, one, other)
            assert new.generation.text[slice(*other.generation_span)] == f"[{one.kind}]"
    assert all(count >= 20 for count in seen.values()), seen


def test_names_of_a_row_are_named_in_its_generation():
    text = "Then he saw Ann Maria near the lake"
    row = detection(5, prefix="He sat. ", text=text, personal=[item("name", (12, 21), "own")])
    (new,) = redacted(every_case([row])).rows
    assert new.generation.text == "T··n he s·w [name] n··r t·e l··e".replace("·", MASK)
    assert new.personal == [item("name", (12, 18), "own")]


def without_texts(value):
    """A detection without what redaction changes."""
    if isinstance(value, list):
        return [without_texts(one) for one in value]
    if not isinstance(value, dict):
        return value
    texts = {"prefix", "suffix", "text", "generation_ids", "reach"}
    if "generation_ids" in value:  # the generation's own row, which calls its text so
        texts.add("generation")
    return {name: without_texts(one) for name, one in value.items() if name not in texts and not name.endswith("_span")}


def test_all_else_stays_and_a_sample_that_is_not_there_keeps_its_span(detections):
    masked = redacted(every_case(detections)).rows
    assert [without_texts(msgspec.to_builtins(row)) for row in masked] == [
        without_texts(msgspec.to_builtins(row)) for row in detections
    ]
    alone = [row for row in detections if any(run.sample != row.generation.id for run in row.copied)][:1]
    (new,) = redacted(every_case(alone)).rows
    spans = [[run.sample_span for run in row.copied if run.sample != row.generation.id] for row in (*alone, new)]
    assert spans[0] == spans[1]
    assert MASK not in "".join(
        row.generation.prefix + row.generation.suffix + row.generation.text for row in detections
    )  # these are as they were


def words_of(text):
    """Words of over four letters, and numbers of over two digits."""
    return set(re.findall(r"[^\W\d_]{5,}|[0-9]{3,}", text))


def test_no_file_of_a_redacted_report_shows_a_word(detections, tmp_path, capsys):
    result = write_detections(tmp_path / "result", detections, direction="both")
    samples = set().union(*(words_of(row.generation.prefix) | words_of(row.generation.suffix) for row in detections))
    assert len(samples) > 400

    def shown_by(*flags):
        out = tmp_path / "report"
        assert run_script("report.py", result, "--output", out, *flags) == 0
        files = {path.name: path.read_bytes().decode(errors="replace") for path in out.rglob("*") if path.is_file()}
        (packed,) = re.findall(r'id="data">([^<]+)', files["report.html"])
        files["cases"] = json.loads(gzip.decompress(base64.b64decode(packed)))
        files["cases"] = "\n".join(files["cases"]["texts"])
        files["stdout"] = capsys.readouterr().out
        return files, {name: samples & words_of(text) for name, text in files.items()}

    plain, seen = shown_by()
    assert len(seen["leaks.txt"]) > 300 and len(seen["cases"]) > 300
    files, seen = shown_by("--redact")
    assert not [word for words in seen.values() for word in words if not word.isdigit()]  # figures have digits too
    assert not re.findall(r"^    .*\d.*", files["leaks.txt"], re.M)
    for secret in SECRETS:
        assert not any(secret in text for text in files.values()) and secret in plain["leaks.txt"]
    assert {"[email]", "[telephone]", "[date]", "[card]", "[identifier]"} <= set(
        re.findall(r"\[[a-z]+\]", files["leaks.txt"])
    )
    assert files["leaks.txt"].count("\u27e6") == plain["leaks.txt"].count("\u27e6")
    assert re.findall(r"^\d+\. .*", files["leaks.txt"], re.M) == re.findall(r"^\d+\. .*", plain["leaks.txt"], re.M)
    texts = {"leaks.txt", "report.html", "cases", "memorization-report.json"}  # the last: their hashes
    assert {name: files[name] for name in files.keys() - texts} == {name: plain[name] for name in plain.keys() - texts}
