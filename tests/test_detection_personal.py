"""Personal data planted in made-up text is found, and compared by value; what only looks like it is not found."""

import random
import re
import uuid
from collections import Counter

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import SUPPORTED_REGIONS, PhoneNumberFormat, PhoneNumberType, example_number_for_type, format_number
from stdnum import isbn
from stdnum.ean import calc_check_digit

from memorization.detection.personal_data import FINDERS, KINDS, REGIONS, checked_regions, find
from memorization.detection.writing_systems import JOINED
from memorization.encoding.words import WITHOUT_BLANKS
from memorization.shell.cli import UserError
from support.personal_examples import KNOWN, LOOKALIKES


def items_in(text):
    return [(item.kind, text[item.start : item.end]) for item in find(text)]


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
        lambda r: f"{r.choice(MONTHS)} {r.randint(1, 28)}, {r.randint(1900, 2030)}",
        lambda r: f"{r.choice(MONTHS)[:3]} {r.randint(1, 28)}",
        lambda r: f"{r.randint(1, 28)} {r.choice(MONTHS)} {r.randint(1900, 2030)}",
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
        lambda r: ".".join(map(str, [r.randint(0, 255), r.randint(100, 255), r.randint(0, 255), r.randint(0, 255)])),
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
    assert items_in(text) == []
    assert items_in(f"It was {text}, he said.") == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind):
    rng = random.Random(kind)
    for make in MAKERS[kind]:
        for _ in range(40):
            made = make(rng)
            for before, after in (("", ""), ("It is ", "."), ("(", ")"), ("Said: ", ", he said."), ("\n", "\n")):
                assert items_in(before + made + after) == [(kind, made)]


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
    assert items_in(text) == planted
    assert Counter(item.kind for item in find(text)) == Counter(kind for kind, _ in planted)


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
        ("\u0661\u0662\u0663\u0664\u0665\u0666\u0667", ["digits"]),  # of another script
    ],
)
def test_one_kind_a_place(text, finds):
    assert [item.kind for item in find(text)] == finds


def marked(text):
    """(text, item): of a text with its item between ⟦ and ⟧."""
    before, _, rest = text.partition("⟦")
    item, _, after = rest.partition("⟧")
    return before + item + after, item


@pytest.mark.parametrize("kind", KNOWN)
def test_known_items_of_every_region_and_language(kind):
    for texts in KNOWN[kind].values():
        for text, item in map(marked, texts):
            assert items_in(text) == [(kind, item)]


def test_known_lookalikes():
    """No version, ISBN, section or model is a telephone number or an address, but for two in a hundred."""
    items = [(text, items_in(text)) for texts in LOOKALIKES.values() for text in texts]
    wrong = [(text, kind) for text, of_text in items for kind, _ in of_text]
    assert len(items) > 200 and len([kind for _, kind in wrong if kind in ("telephone", "ip", "card")]) <= 2, wrong
    assert len(wrong) <= 4, wrong


def dotted(rng, least, most, numbers):
    return ".".join(str(rng.randint(least, most)) for _ in range(numbers))


def test_random_books_versions_and_ranges_are_no_numbers_of_anybody():
    rng = random.Random(4)
    for _ in range(50):
        body = "978" + digits(rng, 9)
        while not all(isbn.split(body + "0")[:3]):  # of no group or publisher that there is
            body = "978" + digits(rng, 9)
        book = body + calc_check_digit(body)
        books = [isbn.format(book), isbn.format(book).replace("-", " "), book, isbn.format(isbn.to_isbn10(book))]
        texts = [*books, f"ISBN {isbn.to_isbn10(book)}", dotted(rng, 0, 99, 4), dotted(rng, 1, 20, 5)]
        texts += [f"{rng.randint(1000, 99999)}-{rng.randint(1000, 99999)}", f"{digits(rng, 2)} {digits(rng, 3)} 000"]
        for text in texts:
            for around in ("{}", "See {} for more.", "文献{}。"):
                assert items_in(around.format(text)) == []


def values(text):
    return [item.values for item in find(text)]


@pytest.mark.parametrize(
    "spellings",
    [
        ["+44 20 7946 0958", "020 7946 0958", "0044 20 7946 0958", "(020) 7946 0958", "+44 (0)20 7946 0958 ext. 12"],
        ["+86 138 0013 8000", "13800138000", "138-0013-8000", "電話138 0013 8000", "＋８６１３８００１３８０００"],
        ["ANN.Lee@Example.ORG", "ann.lee@example.org", "ann.lee＠example.org"],
        ["4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111"],
        ["DE89 3704 0044 0532 0130 00", "DE89370400440532013000"],
        [
            "3 March 2021",
            "March 3rd, 2021",
            "3. März 2021",
            "3 de marzo de 2021",
            "2021年3月3日",
            "令和3年3月3日",
            "2021-03-03",
        ],
        ["3/4/2021", "3 April 2021", "3.4.2021"],
        ["https://Example.com/A/", "http://example.COM/A", "https://example.com/A."],
        ["2001:db8::1", "2001:0db8:0000::0001"],
        ["1b4e28ba-2fa1-11d2-883f-0016d3cca427", "1B4E28BA-2FA1-11D2-883F-0016D3CCA427"],
    ],
)
def test_spellings_of_one_item_have_a_value_in_common(spellings):
    (first,) = values(spellings[0])
    for spelling in spellings[1:]:
        (other,) = values(spelling)
        assert set(first) & set(other), (spelling, first, other)


def test_other_items_have_other_values():
    for one, other in [("+1 650-253-0000", "+1 650-253-0001"), ("a@b.org", "b@b.org"), ("3 May 2021", "3 May 2022")]:
        assert not {value for of_item in values(one) for value in of_item} & set(values(other)[0])
    assert values("https://example.com/A") != values("https://example.com/a")
    assert values("on 3/4/2021") == [("2021-03-04", "2021-04-03")] and values("on 3.4.2021") == [("2021-04-03",)]


def test_the_example_numbers_of_every_region():
    """Those of phonenumbers: national ones of the regions by default, international ones of all."""
    for region in SUPPORTED_REGIONS:
        for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
            number = example_number_for_type(region, kind)
            for form in (PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164, PhoneNumberFormat.NATIONAL):
                if number and (region in REGIONS or form != PhoneNumberFormat.NATIONAL):
                    (item,) = find(f"It is {format_number(number, form)} now.")
                    assert item.kind == "telephone" and format_number(number, PhoneNumberFormat.E164) in item.values


def test_national_numbers_are_of_the_regions_asked_for():
    text = "Anruf unter 030 901820 oder +49 30 901820"
    kinds = {region: [item.kind for item in find(text, (region,))] for region in ("DE", "US")}
    assert kinds == {"DE": ["telephone", "telephone"], "US": ["digits", "telephone"]}
    assert checked_regions(["us", "DE", "US"]) == ("DE", "US")
    with pytest.raises(UserError, match="--regions XX: no region"):
        checked_regions(["US", "XX"])


def test_no_script_without_blanks_joins_what_stands_beside_it():
    letters = regex.findall(WITHOUT_BLANKS, "".join(map(chr, range(128, 0xD800))), regex.V1)
    assert len(letters) > 30_000 and not re.search(JOINED, "".join(letters))


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


@given(TEXTS)
def test_items_are_in_order_and_apart(text):
    items = find(text)
    assert all(a.end <= b.start for a, b in zip(items, items[1:], strict=False))
    assert all(0 <= item.start < item.end <= len(text) and item.kind in KINDS and item.values for item in items)


@given(TEXTS)
def test_a_find_is_whole(text):
    for _, start, end, _ in find(text):
        assert text[start].isalnum() or text[start] in "+_", text[start:end]
        assert not text[start - 1 : start].isdigit()
        assert not text[end : end + 1].isdigit()


LONG = """01 |030 1|0123456789 |12 34 |3 May |3月|一|电话1|tel |TEL0|ISBN 9|97 8|EN 1|model A|1.2.|12:|§1
7|0123456789|.|@|-|1.|a.|a-|a/|1-|1/|1 |a@|a@b.|+|(|650-253-0001|http://|www.a|a|:|abc:|$1|1,|5 of |May |GB82
v1.|10.1234/|_|A1-|a_|a1|1(x|4111 1111 1111 1112 |DE89 3704 0044 0532 0130 01 |[|)"""
LONG = LONG.replace("\n", "|").split("|")


@pytest.mark.parametrize("piece", LONG)
def test_long_texts_end(piece):
    """Of 100,000 characters, where quadratic time would be minutes and backtracking hours."""
    text = (piece * 100_000)[:100_000]
    assert all(item.end <= len(text) for item in find(text))
