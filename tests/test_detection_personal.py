"""Personal data planted in made-up text is found, what only looks like it is not."""

import random
import uuid
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.detection.personal import FINDERS, KINDS, find


def found(text, spans=None):
    return [(one.kind, text[one.start : one.end]) for one in find(text, [(0, len(text))] if spans is None else spans)]


def digits(rng, n):
    return "".join(rng.choices("0123456789", k=n))


def luhn_sum(number):
    return sum(sum(divmod(int(digit) * (1 + i % 2), 10)) for i, digit in enumerate(reversed(number)))


def card(rng, prefix, length):
    body = prefix + digits(rng, length - len(prefix) - 1)
    return body + str(-luhn_sum(body + "0") % 10)


def grouped(number, sizes, by):
    return by.join(number[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes)))


def iban(country, account):
    value = int("".join(str(int(c, 36)) for c in account + country + "00"))
    return f"{country}{98 - value % 97:02}{account}"


def us(rng):
    return rng.choice(["212", "415", "650"]), f"{rng.randint(22, 89)}{rng.randint(2, 9)}", digits(rng, 4)


MONTHS = "January February March April May June July August September October November December".split()
MAKERS = {
    "email": [
        lambda r: f"{r.choice(['bob', 'Ann.Lee', 'k_9+tag'])}@{r.choice(['x.org', 'mail.example.co.uk', 'a-b.io'])}",
    ],
    "telephone": [
        lambda r: "{}-{}-{}".format(*us(r)),
        lambda r: "{}.{}.{}".format(*us(r)),
        lambda r: "{}) {}-{}".format(*us(r)),  # behind a bracket
        lambda r: "1-{}-{}-{}".format(*us(r)),
        lambda r: "+1 {} {} {}".format(*us(r)),
        lambda r: "{}{}{}".format(*us(r)),
        lambda r: "{}-{}-{} ext. 123".format(*us(r)),
        lambda r: f"020 7946 0{digits(r, 3)}",
        lambda r: f"0044 20 7946 0{digits(r, 3)}",
        lambda r: f"+44 (0)20 7946 0{digits(r, 3)}",
        lambda r: f"07911 123{digits(r, 3)}",
        lambda r: f"+91 98765 {digits(r, 5)}",
        lambda r: f"+33 1 42 68 53 {digits(r, 2)}",
    ],
    "card": [
        lambda r: card(r, "4", r.choice([13, 16, 19])),
        lambda r: grouped(card(r, "4", 16), (4, 4, 4, 4), r.choice(" -")),
        lambda r: grouped(card(r, r.choice(["51", "2720", "6011", "3528"]), 16), (4, 4, 4, 4), r.choice(" -")),
        lambda r: grouped(card(r, "37", 15), (4, 6, 5), r.choice(["", " ", "-"])),
        lambda r: grouped(card(r, "36", 14), (4, 6, 4), r.choice(["", " "])),
    ],
    "iban": [
        lambda r: iban("DE", digits(r, 18)),
        lambda r: grouped(iban("DE", digits(r, 18)), (4, 4, 4, 4, 4, 2), " "),
        lambda r: iban("GB", "WEST" + digits(r, 14)),
        lambda r: grouped(iban("GB", "WEST" + digits(r, 14)), (4, 4, 4, 4, 4, 2), " "),
    ],
    "ssn": [lambda r: f"{r.randint(1, 665):03}-{r.randint(1, 99):02}-{r.randint(1, 9999):04}"],
    "date": [
        lambda r: f"{r.choice(MONTHS)} {r.randint(1, 31)}, {r.randint(1900, 2030)}",
        lambda r: f"{r.choice(MONTHS)[:3]} {r.randint(1, 31)}",
        lambda r: f"{r.randint(1, 31)} {r.choice(MONTHS)} {r.randint(1900, 2030)}",
        lambda r: f"{r.choice([4, 5, 24])}th of {r.choice(MONTHS)}",
        lambda r: f"{r.choice(MONTHS).lower()} {r.choice([4, 5, 24])}th",
        lambda r: f"{r.choice(MONTHS)} {r.randint(1900, 2030)}",
        lambda r: f"{r.randint(1, 28):02}-{r.choice(MONTHS)[:3]}-{r.randint(1900, 2030)}",
        lambda r: f"{r.randint(1900, 2030)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}",
        lambda r: f"{r.randint(1, 12)}/{r.randint(1, 28)}/{r.randint(1900, 2030)}",
        lambda r: f"{r.randint(1, 28)}/{r.randint(1, 12)}/{r.randint(0, 99):02}",
        lambda r: f"{r.randint(1, 28)}.{r.randint(1, 12)}.{r.randint(1900, 2030)}",
        lambda r: f"{r.randint(1, 28):02}-{r.randint(1, 12):02}-{r.randint(0, 99):02}",
    ],
    "url": [
        lambda r: (
            f"https://example.com/{r.choice(['', 'a', 'a/b?c=1#d', 'w/A_(b)', 'x@y.com', '2024/03/05', '123456'])}"
        ),
        lambda r: f"{r.choice(['http://', 'ftp://'])}a.b:8080/{digits(r, 9)}",
        lambda r: r.choice(["www.nhs.uk", "WebMD.com", "health-care.org/find", "www.x.de/a"]),
    ],
    "ip": [
        lambda r: ".".join(str(r.randint(0, 255)) for _ in range(4)),
        lambda r: r.choice(["2001:db8::1", "fe80::1ff:fe23:4567:890a"]),
    ],
    "identifier": [
        lambda r: f"MRN-{digits(r, 6)}",
        lambda r: f"POL-2024-{digits(r, 3)}",
        lambda r: f"{r.choice(['AB', 'x', 'HC/'])}{r.randint(10**6, 10**7)}",
        lambda r: f"QQ{digits(r, 6)}C",
        lambda r: f"user_{digits(r, 5)}",
        lambda r: "9f86d081884c" + digits(r, 4),
        lambda r: str(uuid.UUID(int=r.getrandbits(128))),
    ],
    "digits": [
        lambda r: f"{r.randint(1, 9)}{digits(r, r.choice([5, 6, 7, 10, 30]))}7"[: r.choice([6, 7, 8, 32])],
        lambda r: f"9{digits(r, 7)}7-{digits(r, 2)}",
    ],
}
NEAR_MISSES = """$1,299.99|$1234567|£ 250001|Rs. 250001|1234567 USD|1234567 dollars|1234567%|2024|1990-1995|2019-2020
mid-1990s|120/80|500 mg|5000IU|1234567 mg|500mg-1000mg|version 1.2.3|v1.2.3.4|10:30|10:30:45|e.g.this@
bob@host|@bob|http://|www.|ASP.NET|end.Then|doi:10.1056/NEJMoa2001017|10.1000/182|4111 1111 1111 1112
4111-1111-1111-1112|0000 0000 0000 0000|DE89 3704 0044 0532 0130 01|666-00-0000|987-65-4321|13/13/2024
32/1/2024|2024-13-01|2024-02-30|you may 5|on march 12 people|may 2|0.1234567|1,000,000|123456.78|150000
COVID-2019|H1N1|T11-T12|CYP2C19|1500-calorie|30-year-old|1920x1080|256.1.1.1|1.2.3|5000th|12345|555-1234
std::vector|1-2-3|100-150-200|9780 306 406|call 911|abc::|50 mg/5 ml|24/7|3/4|A1c|the 5th|12:30-13:45""".replace(
    "\n", "|"
).split("|")


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_near_misses(text):
    assert found(text) == []
    assert found(f"It was {text}, he said.") == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind):
    rng = random.Random(kind)
    for make in MAKERS[kind]:
        for _ in range(40):
            made = make(rng)
            for before, after in (("", ""), ("It is ", "."), ("(", ")"), ("Said: ", ", he said."), ("\n", "\n")):
                assert found(before + made + after) == [(kind, made)]


@pytest.mark.parametrize("seed", range(20))
def test_known_counts(seed):
    rng, pieces, planted = random.Random(seed), [], []
    for _ in range(60):
        kind = rng.choice([*KINDS, None, None])
        made = rng.choice(MAKERS[kind])(rng) if kind else rng.choice(NEAR_MISSES)
        pieces.append(
            f"{rng.choice(['I take', 'See', 'He wrote:', 'about'])} {made} {rng.choice(['today.', 'or so,'])}"
        )
        planted += [(kind, made)] * bool(kind)
    text = " ".join(pieces)
    assert found(text) == planted
    assert Counter(one.kind for one in find(text, [(0, len(text))])) == Counter(kind for kind, _ in planted)


@pytest.mark.parametrize(
    ("text", "finds"),
    [
        ("http://a.com/bob@x.org", ["url"]),  # the first of those that claim a place
        ("mailto:bob@www.x.org", ["email"]),
        ("bob.com@x.org", ["email"]),
        ("(see https://a.com/w/B).", ["url"]),
        ("WebMD.com,which", ["url"]),
        ("650-253-0000, 650-253-0001", ["telephone"] * 2),
        ("650-253-0000 and +44 20 7946 0958 or 020 7946 0958", ["telephone"] * 3),
        ("2024-03-05T10:30:00", ["date"]),
        ("June 10:30", []),
        ("June 10 10:30", ["date"]),
        ("DE89 3704 0044 0532 0130 00 CODE", ["iban"]),
        ("MRN-482193 482193", ["identifier", "digits"]),
        ("4111111111111112", ["digits"]),  # no card, but a long run
        ("Card 4111111111111111 of 3/2024", ["card"]),
        ("536-90-4399 and 536904399", ["ssn", "digits"]),
        ("192.168.100.200", ["ip"]),
        ("John1985 45", []),
        ("\u0661\u0662\u0663\u0664\u0665\u0666\u0667", []),  # digits of another script
    ],
)
def test_one_kind_a_place(text, finds):
    assert [one.kind for one in find(text, [(0, len(text))])] == finds


def test_only_what_lies_within_one_run():
    text = "Call 650-253-0000 or bob@x.org"
    assert found(text, [(0, 17)]) == [("telephone", "650-253-0000")]
    assert found(text, [(5, 17)]) == [("telephone", "650-253-0000")]
    assert found(text, [(5, 16), (16, 40)]) == [("email", "bob@x.org")]  # neither half is a find
    assert found(text, [(6, 17)]) == []
    assert found(text, [(0, 3), (0, 30), (4, 8), (22, 30)]) == [("telephone", "650-253-0000"), ("email", "bob@x.org")]
    assert found(text, np.array([[21, 30], [5, 17]])) == [("telephone", "650-253-0000"), ("email", "bob@x.org")]
    assert find(text, []) == find(text, np.zeros((0, 2), int)) == []
    assert found("Call (650) 253-0000", [(6, 19)]) == [("telephone", "650) 253-0000")]  # a bracket is no word


def test_kinds():
    assert set(KINDS) == {kind for kind, _, _ in FINDERS} - {None} == set(MAKERS)
    assert len(KINDS) == len(set(KINDS))


PLANTED = random.Random(0)
PIECES = st.sampled_from(
    [make(PLANTED) for makers in MAKERS.values() for make in makers] + NEAR_MISSES + list(" .,-/@:(+\n")
)
TEXTS = st.one_of(
    st.text(),
    st.text("0123456789.@-/:+() aATx", max_size=60),
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(PIECES, max_size=12).map(" ".join),
)


@given(TEXTS, st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=5))
def test_finds_are_in_order_apart_and_within_the_runs(text, spans):
    everything = find(text, [(0, len(text))])
    assert all(a.end <= b.start for a, b in zip(everything, everything[1:], strict=False))
    assert all(0 <= one.start < one.end <= len(text) and one.kind in KINDS for one in everything)
    within = [one for one in everything if any(start <= one.start and one.end <= end for start, end in spans)]
    assert find(text, spans) == within


@given(TEXTS)
def test_a_find_is_whole(text):
    for _, start, end in find(text, [(0, len(text))]):
        assert text[start].isalnum() or text[start] in "+_", text[start:end]
        assert not text[start - 1 : start].isdigit()
        assert not text[end : end + 1].isdigit()


LONG = """7|0123456789|.|@|-|1.|a.|a-|a/|1-|1/|1 |a@|a@b.|+|(|650-253-0001|http://|www.a|a|:|abc:|$1|1,|5 of |May |GB82
v1.|10.1234/|_|A1-|a_|a1|1(x|4111 1111 1111 1112 |DE89 3704 0044 0532 0130 01 |[|)"""
LONG = LONG.replace("\n", "|").split("|")


@pytest.mark.parametrize("piece", LONG)
def test_long_texts_end(piece):
    """Of 100,000 characters, where quadratic time would be minutes and backtracking hours."""
    text = (piece * 100_000)[:100_000]
    assert all(one.end <= len(text) for one in find(text, [(0, len(text))]))
