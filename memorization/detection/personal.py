"""Personal data in what a generation copies: found by form and by checksum, in English text.

find("Call 020 7946 0958", [(0, 18)])      [Found(kind='telephone', start=5, end=18)]

What only looks like it (a price, a DOI, a version) is known and left out. Names have no form: entities.py finds them.
Postal addresses have none either, and are not looked for.
"""

import re
from bisect import bisect_right
from datetime import date
from ipaddress import IPv6Address
from itertools import accumulate
from typing import NamedTuple

from phonenumbers import PhoneNumberMatcher
from stdnum import iban, luhn
from stdnum.us import ssn

# International telephone numbers are known, and those of these regions as they are written at home. Those of others
# look like years and amounts: 913 paragraphs of Wikipedia have eight that are German by their form, none of these two.
REGIONS = ("US", "GB")
LONG = 6  # digits of a run that counts whatever it may be


class Found(NamedTuple):
    """One find: characters [start, end) of the text are of this kind (one of KINDS)."""

    kind: str
    start: int
    end: int


# No pattern may take more than linear time on any text: a match begins only where a token does (the lookbehind), and a
# repetition is bounded or possessive (*+, ++).
TOP = r"(?:com|org|net|edu|gov|info|biz|(?:co|ac|org|gov|nhs)\.uk)"
URL = re.compile(
    r"(?<![\w@.-])(?:(?:(?:https?|ftp)://|www\.)(?=\w)[^\s<>\"]*+"
    rf"|(?:[A-Za-z0-9-]{{1,63}}\.){{1,5}}{TOP}(?![\w@-]|\.\w)(?:[/:?#][^\s<>\"]*+)?)"
)
EMAIL = re.compile(r"(?<![\w.%+'-])[.%+'-]*+(\w[\w.%+'-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w-])")
NEITHER = re.compile(  # a DOI, a price, a version
    r"(?<![\w.])10\.[0-9]{4,9}/\S++"
    r"|(?:[$€£¥₹]|\b(?:Rs|USD|EUR|GBP|INR)\b\.?) ?[0-9][0-9.,]*+"
    r"|(?<![0-9.,])[0-9][0-9.,]*+ ?(?:(?:dollars|euros|pounds|rupees|USD|EUR|GBP|INR)\b|%)"
    r"|\bv(?:er(?:sion)?)?\.? ?[0-9]++(?:\.[0-9]++)++",
    re.IGNORECASE,
)
OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(rf"(?<![\w.-])(?:{OCTET}\.){{3}}{OCTET}(?![\w-]|\.[0-9])")
IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{3,4}:[0-9A-Fa-f:]{2,34}(?![\w:])")
UUID = re.compile(r"(?<![\w-])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![\w-])")
CARD = re.compile(
    r"(?<![\w-])(?<![0-9][.,])(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{1,3})?"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5})(?![\w-]|[.,][0-9])"
)
ISSUED = re.compile(  # first digits and lengths: American Express, Diners, JCB, Visa, Mastercard, Discover to Maestro
    r"3[47].{13}|3(?:0[0-5]|[689].).{11}|35(?:2[89]|[3-8].).{12}|4(?:.{12}|.{15}|.{18})|5[1-5].{14}"
    r"|2(?:22[1-9]|2[3-9].|[3-6]..|7[01].|720).{12}|(?:6|5[06-8]).{11,18}"
)
IBAN = re.compile(r"(?<![\w-])[A-Z]{2}[0-9]{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,4})?)(?!\w)")
SSN = re.compile(r"(?<![\w-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w-])")

YEAR = r"(?:1[89]|2[01])[0-9]{2}"
DAY = r"(?:3[01]|[12][0-9]|0?[1-9])(?P<{}>st|nd|rd|th)?"
MONTH = (
    r"(?P<{}>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b(?:\.(?=,? [0-9]))?"
)
WRITTEN = re.compile(
    rf"(?<![\w./-])(?:{MONTH.format('m1')}[ -]{DAY.format('th1')}(?P<y1>,? {YEAR}|-{YEAR})?"
    rf"|{DAY.format('th2')}(?: of |[ /-]){MONTH.format('m2')}(?P<y2>,? {YEAR}|[/-]{YEAR}|[/-][0-9]{{2}})?"
    rf"|{MONTH.format('m3')}(?P<y3>,? (?:of )?{YEAR}))(?![\w/]|[.:][0-9])",
    re.IGNORECASE,
)
WORDS_TOO = {"mar", "march", "may"}  # months in lower case that mean a date only with a year or "th"
NUMERIC = re.compile(
    rf"(?<![\w/.-])(?:{YEAR}([-/.])[0-9]{{1,2}}\1[0-9]{{1,2}}(?=T[0-9]|(?!\w))"
    rf"|(?:[0-9]{{1,2}}([-/.])[0-9]{{1,2}}\2{YEAR}|[0-9]{{1,2}}/[0-9]{{1,2}}/[0-9]{{2}}"
    r"|[0-9]{2}-[0-9]{2}-[0-9]{2})(?!\w))(?!/|-\w|[.:][0-9])"
)

APART = r"(?:[ ().\-/\u00a0\u2010-\u2015\[\]~]{0,4}[0-9])"
TELEPHONE = re.compile(rf"\+\(?[0-9]{APART}{{6,}}+|\(?\+?[0-9]{APART}{{8,}}+")
BRITISH = re.compile(r"(?<![0-9])(?:0|44)")  # how a number begins that only the second region knows
UNIT = (
    r"(?:st|nd|rd|th|s|am|pm|x|x[0-9]+|[kmunµ]?g|mcg|lbs?|oz|[md]?l|cc|m?iu|units?|[mckn]?m|ft|[kmg]?hz|k?cal|k?w|m?v"
    r"|ms|kb|mb|gb)"
)
MIXED = re.compile(r"(?<![\w/-])[/-]*+(?=[A-Za-z_/-]*+[0-9])([A-Za-z0-9]++(?:[-_/][A-Za-z0-9]++)*+)(?!\w)")
MEASURE = re.compile(rf"[0-9]+{UNIT}", re.IGNORECASE)
COMPOUND = re.compile(r"[0-9]+(?:-[0-9]+)*(?:-[a-z]{3,})+")  # 1500-calorie
DIGITS = re.compile(rf"(?<!\w)(?<!\w-)(?<![0-9][.,])[0-9]++(?:-[0-9]++)*+(?!-?\w|[.,][0-9]| ?{UNIT}\b)", re.IGNORECASE)


def _urls(text):
    for match in URL.finditer(text):
        url = match[0].rstrip(".,;:!?'*)]}")
        closing = match[0].startswith(")", len(url)) and url.count("(") > url.count(")")
        yield match.start(), match.start() + len(url) + closing


def _emails(text):
    return (match.span(1) for match in EMAIL.finditer(text)) if "@" in text else ()


def _neither(text):
    return (match.span() for match in NEITHER.finditer(text))


def _addresses(text):
    yield from (match.span() for match in IPV4.finditer(text))
    for match in IPV6.finditer(text) if text.count(":") > 1 else ():
        try:
            IPv6Address(match[0])
        except ValueError:
            continue
        yield match.span()


def _uuids(text):
    return (match.span() for match in UUID.finditer(text))


def _cards(text):
    for match in CARD.finditer(text):
        digits = match[0].replace(" ", "").replace("-", "")
        if ISSUED.fullmatch(digits) and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield match.span()


def _ibans(text):
    for match in IBAN.finditer(text):
        number = match[0]
        while number and not iban.is_valid(number):
            number = number.rpartition(" ")[0]  # the last group may be the next word
        if number:
            yield match.start(), match.start() + len(number)


def _ssns(text):
    return (match.span() for match in SSN.finditer(text) if ssn.is_valid(match[0]))


def _is_date(numbers):
    """Whether the numbers are year, month and day, or day, month and year, or month, day and year."""
    a, b, c = map(int, numbers)
    for order in [(a, b, c)] if len(numbers[0]) == 4 else [(c, b, a), (c, a, b)]:
        try:
            return bool(date(order[0] if order[0] > 99 else 2000 + order[0], *order[1:]))
        except ValueError:
            continue
    return False


def _dates(text):
    for match in NUMERIC.finditer(text):
        if _is_date(re.split("[-/.]", match[0])):
            yield match.span()
    for match in WRITTEN.finditer(text):
        month = match["m1"] or match["m2"] or match["m3"]
        if month not in WORDS_TOO or any(match[name] for name in ("th1", "th2", "y1", "y2", "y3")):
            yield match.span()


def _telephones(text):
    for match in TELEPHONE.finditer(text):
        # the matcher is slow: it sees what may be numbers, with what it looks at on either side, extensions included
        begin = max(match.start() - 2, 0)
        near = text[begin : match.end() + 24]
        for region in REGIONS if BRITISH.search(match[0]) else REGIONS[:1]:
            for found in PhoneNumberMatcher(near, region):
                bracket = found.raw_string.startswith("(")  # is no word, so a copied run never begins with it
                if begin + found.start < match.end():  # else the text may be cut in its midst
                    yield begin + found.start + bracket, begin + found.end


def _identifiers(text):
    for match in MIXED.finditer(text):
        pieces = [piece for piece in re.split("[-_/]", match[1]) if not MEASURE.fullmatch(piece)]
        runs = [run for piece in pieces for run in re.findall("[0-9]+", piece)]
        digits = sum(map(len, runs))
        if (
            not COMPOUND.fullmatch(match[1])
            and any(map(str.isalpha, "".join(pieces)))
            and (
                any(len(run) >= 4 and not re.fullmatch(YEAR, run) for run in runs)
                or (digits >= 5 and any(len(run) >= 3 for run in runs))
                or any(len(piece) >= 10 and sum(map(str.isdigit, piece)) >= 3 for piece in pieces)
            )
        ):
            yield match.span(1)


def _digits(text):
    for match in DIGITS.finditer(text):
        if any(len(run) >= LONG and not run.endswith("000") for run in match[0].split("-")):  # 150000 is an amount
            yield match.span()


# What a find is, how many digits lie close together in each, and what finds it: the first that claims a place has it.
FINDERS = (
    ("url", 0, _urls),
    ("email", 0, _emails),
    (None, 4, _neither),
    ("ip", 1, _addresses),
    ("identifier", 1, _uuids),
    ("iban", 4, _ibans),
    ("card", 6, _cards),
    ("ssn", 6, _ssns),
    ("date", 1, _dates),
    ("telephone", 6, _telephones),
    ("identifier", 1, _identifiers),
    ("digits", 6, _digits),
)
CLOSE = {n: re.compile(rf"[0-9](?:\W{{0,4}}[0-9]){{{n - 1}}}") for n in (6, 4, 1)}
KINDS = ("email", "telephone", "card", "iban", "ssn", "date", "url", "ip", "identifier", "digits")
NAME = "name"  # a kind that no form tells


def find(text, spans):
    """The personal data of a text that was copied: a list of Found, in order, none overlapping another.

    spans: the copied runs, [start, end) in characters of the text. The whole text is searched, and what lies wholly
    within one of the spans counts: a number that was copied only half does not.
    """
    spans = sorted((start, end) for start, end in spans)
    if not spans:
        return []
    starts, ends = [start for start, _ in spans], list(accumulate((end for _, end in spans), max))
    close = next((n for n, pattern in CLOSE.items() if pattern.search(text)), 0)
    taken, found = bytearray(len(text)), []
    for kind, digits, finder in FINDERS:
        for start, end in finder(text) if close >= digits else ():
            if taken.find(1, start, end) >= 0:
                continue
            taken[start:end] = bytes([1]) * (end - start)
            before = bisect_right(starts, start)
            if kind and before and end <= ends[before - 1]:
                found.append(Found(kind, start, end))
    return sorted(found, key=lambda one: one.start)
