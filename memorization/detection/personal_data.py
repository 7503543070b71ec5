"""Personal data in a text: found by form and by checksum, in any script.

find("Call 020 7946 0958")      [Item(kind='telephone', start=5, end=18, values=('+442079460958', ...))]

What only looks like personal data (a price, a DOI, a version, an ISBN) is recognized and left out. Names have no form:
entities.py finds them. Postal addresses have none either, and are not searched for.
"""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from typing import Literal, NamedTuple, get_args

from phonenumbers import SUPPORTED_REGIONS
from stdnum import iban, isbn, luhn
from stdnum.us import ssn

from memorization.detection.dates import YEAR, dates
from memorization.detection.telephones import REGIONS, telephones
from memorization.detection.writing_systems import APART, JOINED, as_ascii
from memorization.shell.cli import UserError

PersonalKind = Literal["email", "telephone", "card", "iban", "ssn", "date", "url", "ip", "identifier", "digits", "name"]
*KINDS, NAME = get_args(PersonalKind)  # a name is the one kind without a form
LONG = 6  # a run of so many digits counts whatever it may be


class Item(NamedTuple):
    """Characters [start, end) of a text are personal data of this kind (one of KINDS).

    values: normalized, so that two spellings of the same are equal. Several where the form is ambiguous:
    "020 7946 0958" is a number in London and another one in Guangzhou.
    """

    kind: PersonalKind
    start: int
    end: int
    values: tuple[str, ...]


# No pattern may take more than linear time on any text: a match begins only where a token does (the lookbehind), and a
# repetition is bounded or possessive (*+, ++). Patterns see writing_systems.as_ascii of a text.
NOT_JOINED = rf"(?<!{JOINED})"
TOP = r"(?:com|org|net|edu|gov|info|biz|(?:co|ac|org|gov|nhs)\.uk)"
OF_URL = rf"[^\s<>\"{APART}]"
URL = re.compile(
    rf"(?<![@.-]){NOT_JOINED}(?:(?:(?:https?|ftp)://|www\.)(?={JOINED}){OF_URL}*+"
    rf"|(?:[A-Za-z0-9-]{{1,63}}\.){{1,5}}{TOP}(?![@-]|{JOINED}|\.{JOINED})(?:[/:?#]{OF_URL}*+)?)"
)
EMAIL = re.compile(
    rf"(?<![.%+'-]){NOT_JOINED}[.%+'-]*+({JOINED}(?:{JOINED}|[.%+'-]){{0,63}}@(?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}"
    rf"[A-Za-z]{{2,24}})(?!-|{JOINED})"
)
# Context that tells that a number is no personal data: a currency, a part of a text or of a program, a standard, a
# publication, a model.
CURRENCY = r"(?:dollars|euros?|pounds|rupees|Rs|USD|EUR|GBP|INR|CNY|JPY|RMB|KRW|BRL|RUB|PLN|CHF|CAD|AUD)"
PARTS = (
    r"v(?:er(?:si[oó]n)?)?|release|rev(?:ision)?|build|firmware|driver|kernel|patch|update|sec(?:tion)?|chapter|clause"
)
PARTS += r"|subsection|paragraph|appendix|annex|fig(?:ure)?|table|equation|eq|rule|article|abschnitt|kapitel|ziffer"
PARTS += r"|secci[oó]n|cap[ií]tulo|chapitre|раздел|верси[яи]|EC"
BODIES = (
    r"ISO|IEC|DIN|EN|IEEE|ANSI|ASTM|RFC|GB/T|GB|JIS|NIST|FIPS|MIL-STD|ITU-T|CVE|CWE|arXiv|PMID|PMC|ISSN|CAS|NCT|ICD"
)
GOODS = r"model|modell|modelo|modèle|part|p/n|sku|catalog(?:ue)?|serie"
NUMBER = re.compile(r"[0-9](?:[.,:/-]?[0-9]++)*+")
LABELLED = re.compile(
    rf"(?:[$€£¥₹] ?|\b{CURRENCY}\b\.? ?"
    rf"|{NOT_JOINED}(?P<parts>(?:{PARTS})\.? ?|§{{1,2}} ?|版本号? ?|版 ?|第|型号 ?|型番 ?|バージョン ?|버전 ?)"
    rf"|{NOT_JOINED}(?:(?:{BODIES})[ /:-]{{0,2}}){{1,3}}[A-Z]{{0,2}}"
    rf"|{NOT_JOINED}(?P<goods>(?:{GOODS})(?: ?(?:no|number|nr|#))?[.:]? ?(?:[A-Z0-9]{{1,8}}[./-]){{0,3}}[A-Z]{{0,8}}))"
    r"\Z",
    re.IGNORECASE,
)
AMOUNT = re.compile(rf" ?(?:{CURRENCY}\b|[%€元円원万萬億亿人名个個])", re.IGNORECASE)
GOOD = re.compile(r"[A-Z0-9]*+(?:[./-][A-Z0-9]++)*+", re.IGNORECASE)
DOI = re.compile(rf"(?<![.]){NOT_JOINED}10\.[0-9]{{4,9}}/\S++")
BOOK = re.compile(
    rf"{NOT_JOINED}ISBN(?:-1[03])?:? ?[0-9](?:[ -]?[0-9Xx]){{8,12}}"
    rf"|(?<!-){NOT_JOINED}97[89](?:[ -]?[0-9]){{10}}(?![ -]?[0-9])"
    rf"|(?<!-){NOT_JOINED}[0-9]{{1,5}}-[0-9]{{1,7}}-[0-9]{{1,7}}-[0-9X](?!-|{JOINED})"
)
OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(rf"(?<![.-]){NOT_JOINED}(?:{OCTET}\.){{3}}{OCTET}(?!-|{JOINED}|\.[0-9])")
NET = re.compile(  # before four small numbers: that they are an address, not a version or section
    r"(?:\bip|ipv4|address|\bhost|server|\bping|\bdns\b|gateway|router|subnet|netmask|proxy|\bssh\b|log(?:ged|in)\b|connect"
    r"|client|firewall|adresse|direcci[oó]n|адрес|地址|服务器|サーバ)[^\n]{0,24}\Z",
    re.IGNORECASE,
)
PORT = re.compile(r":[0-9]{2,5}(?![0-9])|/[0-9]{1,2}(?![0-9])")
IPV6 = re.compile(rf"(?<![:.]){NOT_JOINED}[0-9A-Fa-f]{{3,4}}:[0-9A-Fa-f:]{{2,34}}(?!:|{JOINED})")
UUID = re.compile(rf"(?<!-){NOT_JOINED}[0-9A-Fa-f]{{8}}-(?:[0-9A-Fa-f]{{4}}-){{3}}[0-9A-Fa-f]{{12}}(?!-|{JOINED})")
CARD = re.compile(
    rf"(?<![+-]){NOT_JOINED}(?<![0-9][.,])(?:[0-9]{{13,19}}|[0-9]{{4}}([ -])[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}"
    rf"(?:\1[0-9]{{1,3}})?|[0-9]{{4}}([ -])[0-9]{{6}}\2[0-9]{{4,5}})(?!-|{JOINED}|[.,][0-9])"
)
ISSUED = re.compile(  # first digits and lengths: American Express, Diners, JCB, Visa, Mastercard, Discover to Maestro
    r"3[47].{13}|3(?:0[0-5]|[689].).{11}|35(?:2[89]|[3-8].).{12}|4(?:.{12}|.{15}|.{18})|5[1-5].{14}"
    r"|2(?:22[1-9]|2[3-9].|[3-6]..|7[01].|720).{12}|(?:6|5[06-8]).{11,18}"
)
IBAN = re.compile(
    rf"(?<!-){NOT_JOINED}[A-Z]{{2}}[0-9]{{2}}(?:[A-Z0-9]{{11,30}}|(?: [A-Z0-9]{{4}}){{2,7}}(?: [A-Z0-9]{{1,4}})?)"
    rf"(?!{JOINED})"
)
SSN = re.compile(rf"(?<!-){NOT_JOINED}[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}(?!-|{JOINED})")

ROUND = re.compile(r"[0-9]{1,4}0{3,}")  # an amount
UNIT = (
    r"(?:st|nd|rd|th|s|am|pm|x|x[0-9]+|[kmunµ]?g|mcg|lbs?|oz|[md]?l|cc|m?iu|units?|[mckn]?m|ft|[kmg]?hz|k?cal|k?w|m?v"
    r"|ms|kb|mb|gb)"
)
MIXED = re.compile(
    rf"(?<![/-]){NOT_JOINED}[/-]*+(?=[A-Za-z_/-]*+[0-9])([A-Za-z0-9]++(?:[-_/][A-Za-z0-9]++)*+)(?!{JOINED})"
)
MEASURE = re.compile(rf"[0-9]+{UNIT}", re.IGNORECASE)
COMPOUND = re.compile(r"[0-9]+(?:-[0-9]+)*(?:-[a-z]{3,})+")  # 1500-calorie
DIGITS = re.compile(
    rf"{NOT_JOINED}(?<!{JOINED}-)(?<![0-9][.,])[0-9]++(?:-[0-9]++)*+(?!-?{JOINED}|[.,][0-9]| ?{UNIT}\b)", re.IGNORECASE
)


def checked_regions(names: Iterable[str]) -> tuple[str, ...]:
    """Regions as a tuple, each once and in order. Raises UserError for one without telephone numbers."""
    regions = tuple(sorted({name.upper() for name in names}))
    if unknown := [region for region in regions if region not in SUPPORTED_REGIONS]:
        raise UserError(
            f"--regions {unknown[0]}: no region with telephone numbers; give codes of two letters, as US or CN"
        )
    return regions


def _urls(text, regions):
    for match in URL.finditer(text):
        url = match[0].rstrip(".,;:!?'*)]}")
        closing = match[0].startswith(")", len(url)) and url.count("(") > url.count(")")
        url = match[0][: len(url) + closing]
        host, slash, path = re.sub("^[a-z]+://", "", url).partition("/")
        yield match.start(), match.start() + len(url), (f"{host.lower()}{slash}{path}".rstrip("/"),)


def _emails(text, regions):
    return ((*match.span(1), (match[1].casefold(),)) for match in EMAIL.finditer(text)) if "@" in text else ()


def _neither(text, regions):
    if "10." in text:
        yield from ((*match.span(), ()) for match in DOI.finditer(text))
    for match in BOOK.finditer(text) if "ISBN" in text or "97" in text or text.count("-") > 2 else ():
        if match[0].startswith("ISBN") or isbn.is_valid(match[0]):
            yield *match.span(), ()
    for match in NUMBER.finditer(text):
        start, end = match.span()
        if end - start < 4 or (end - start == 4 and match[0].isdecimal()):
            continue
        label = LABELLED.search(text, max(0, start - 32), start)
        if label and (not label["parts"] or "." in match[0]):
            yield label.start(), GOOD.match(text, end).end() if label["goods"] else end, ()
        elif (amount := AMOUNT.match(text, end)) and not text[start - 1 : start].endswith((".", ",")):
            yield start, amount.end(), ()


def _addresses(text, regions):
    for match in IPV4.finditer(text):
        large = any(int(octet) > 99 for octet in match[0].split("."))
        if large or PORT.match(text, match.end()) or NET.search(text, max(0, match.start() - 40), match.start()):
            yield *match.span(), (match[0],)
    for match in IPV6.finditer(text) if text.count(":") > 1 else ():
        try:
            address = IPv6Address(match[0])
        except ValueError:
            continue
        yield *match.span(), (str(address),)


def _uuids(text, regions):
    return ((*match.span(), (match[0].casefold(),)) for match in UUID.finditer(text))


def _cards(text, regions):
    for match in CARD.finditer(text):
        digits = match[0].replace(" ", "").replace("-", "")
        if ISSUED.fullmatch(digits) and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield *match.span(), (digits,)


def _ibans(text, regions):
    for match in IBAN.finditer(text):
        number = match[0]
        while number and not iban.is_valid(number):
            number = number.rpartition(" ")[0]  # the last group may be the next word
        if number:
            yield match.start(), match.start() + len(number), (number.replace(" ", ""),)


def _ssns(text, regions):
    return ((*match.span(), (match[0].replace("-", ""),)) for match in SSN.finditer(text) if ssn.is_valid(match[0]))


def _identifiers(text, regions):
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
            yield *match.span(1), (match[1].casefold(),)


def _digits(text, regions):
    for match in DIGITS.finditer(text):
        if any(len(run) >= LONG and not ROUND.fullmatch(run) for run in match[0].split("-")):
            yield *match.span(), (match[0].replace("-", ""),)


Finder = Callable[[str, tuple[str, ...]], Iterable[tuple[int, int, tuple[str, ...]]]]
# Kind, least number of digits close together in an item, and finder. Where finders overlap, the first one wins.
FINDERS: tuple[tuple[PersonalKind | None, int, Finder], ...] = (
    ("url", 0, _urls),
    ("email", 0, _emails),
    (None, 4, _neither),
    ("ip", 1, _addresses),
    ("identifier", 1, _uuids),
    ("iban", 4, _ibans),
    ("card", 6, _cards),
    ("ssn", 6, _ssns),
    ("date", 0, lambda text, regions: dates(text)),
    ("telephone", 6, telephones),
    ("identifier", 1, _identifiers),
    ("digits", 6, _digits),
)
CLOSE = {n: re.compile(rf"[0-9](?:\W{{0,4}}[0-9]){{{n - 1}}}") for n in (6, 4, 1)}


def find(text: str, regions: tuple[str, ...] = REGIONS) -> list[Item]:
    """The personal data of a text: a list of Item, in order, none overlapping another.

    regions: those whose national telephone numbers are recognized (checked_regions).
    """
    text = as_ascii(text)
    close = next((n for n, pattern in CLOSE.items() if pattern.search(text)), 0)
    occupied, items = bytearray(len(text)), []
    for kind, digits, finder in FINDERS:
        for start, end, values in finder(text, regions) if close >= digits else ():
            if occupied.find(1, start, end) < 0:
                occupied[start:end] = bytes([1]) * (end - start)
                if kind:
                    items.append(Item(kind, start, end, values))
    return sorted(items, key=lambda item: item.start)
