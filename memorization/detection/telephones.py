"""Telephone numbers in a text: international ones of all regions, national ones of those asked for (phonenumbers).

[*telephones("电话13800138000。", ("CN",))]      [(2, 13, ("+8613800138000",))]
"""

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers
from phonenumbers import Leniency, PhoneMetadata, PhoneNumberMatcher, PhoneNumberType

from memorization.detection.writing_systems import JOINED

# The 20 with most internet users (ITU, World Telecommunication/ICT Indicators 2024), and KR.
REGIONS = tuple(sorted("CN IN US ID BR RU PK MX JP NG PH EG VN DE BD TR IR GB TH FR KR".split()))

SEPARATOR = r"(?:[ ()\-/\u2013-\u2015~\[\]]|(?<!\))\.)"
CHAIN = re.compile(rf"[0-9]++(?:{SEPARATOR}{{1,4}}+[0-9]++)*+")
GROUPS = 7  # of digits, at most, that a number is written in
LEAST, MOST = 7, 15  # digits of a number; of more it is none (E.164)
NATIONAL = range(9, 14)  # digits of a national number that nothing but its form tells, the trunk prefix included
LEAD = re.compile(r"(?:\(\+|\+\(?|\()?\Z")
EXTENSION = re.compile(
    r"[ ,;]{0,2}(?:ext(?:ension)?|extn|x|durchwahl|доб|分机|内線)[ .:]{0,2}[0-9]{1,6}(?![0-9])", re.I
)
YEARS = re.compile(r"(?:1[5-9]|20)[0-9]{2}\D{1,3}(?:1[5-9]|20)[0-9]{2}")
ZIP = re.compile(r"[0-9]{5}[- ][0-9]{4}")
THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:([ .])[0-9]{3})(?:\1[0-9]{3})+")
CONTEXT = re.compile(  # directly before a number: that it is a telephone's
    r"(?:\b(?:tel|telephone|telefon[eo]?|t[ée]l[ée]phone|telp|phone|ph|mobile?|cell(?:ular)?|celular|handy(?:nummer)?"
    r"|rufnummer|fax|whatsapp|wechat|hotline|sms|call|dial|text|sdt|ligue|llama|appelez|ruf)\b"
    r"|тел(?:ефон)?|моб|звон\w{1,5}|điện thoại|đt|电话|電話|手机|手機|携帯|传真|致电|热线|联系方式|전화|휴대폰|연락처"
    r"|โทร|เบอร์|تلفن|موبایل|هاتف|جوال|فون|फोन|फ़ोन|मोबाइल|ফোন|মোবাইল)"
    r"(?:[ ]?\b(?:no|nr|num|number|nummer|is|me|us|him|her|them|at|on|to|번호)\b|号码|号碼|號碼|番号|번호"
    r"|[是为為はがは은는:：.#()＃\s\-]){0,8}\Z",
    re.IGNORECASE,
)
LABEL = re.compile(rf"(?<!{JOINED})(?:tel|fax|mob|ph)\Z", re.IGNORECASE)  # as in TEL03-3234-5678
BEFORE = 48  # characters in which a context lies


def telephones(text: str, regions: tuple[str, ...]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(start, end, values) of the telephone numbers in a text (writing_systems.as_ascii), in order.

    regions: those whose national numbers are known, as CLDR names them. values: in E.164, of each region in which the
    digits are a valid number; the digits alone where only the words before them tell ("phone: 555-1234").
    """
    for chain in CHAIN.finditer(text):
        if sum(map(str.isdigit, chain[0])) >= LEAST:
            yield from _in_chain(
                text, [group.span() for group in re.finditer("[0-9]+", chain[0])], chain.start(), regions
            )


def _in_chain(text, groups, offset, regions):
    groups = [(start + offset, end + offset) for start, end in groups]
    i = free = 0  # free: groups before this one that are in no number
    while i < len(groups):
        number = None
        if free < 2 or _parted(text, groups, i):
            number = _at(text, groups, i, regions)
        free += 1
        if number:
            last, start, end, values = number
            extension = EXTENSION.match(text, end)
            yield start, extension.end() if extension else end, values
            i, free = last, 0
        i += 1


def _parted(text, groups, i):
    """Whether a group does not go on what is before it: it is marked, or parted in another way than from the next."""
    begin, end = groups[i]
    behind = text[end : groups[i + 1][0]] if i + 1 < len(groups) else ""
    return text[begin - 1 : begin] in ("+", "(") or text[groups[i - 1][1] : begin] != behind


def _at(text, groups, i, regions):
    """(last group, start, end, values) of the number that begins with a group, None if none does."""
    first = groups[i][0]
    before = LEAD.search(text, max(0, first - 2), first)
    start, plus = before.start(), "+" in before[0]
    if i and not plus and not re.search(r"[ /]|\($", text[groups[i - 1][1] : first]):
        return None  # the midst of something longer
    if not _begins(text, start, plus):
        return None
    lead = text[first : groups[i][1]]
    international = plus or (i == 0 and lead.startswith("00") and not lead.startswith("000"))
    trunk = lead.startswith("0") and not international
    if lead == "0" and text[groups[i][1] : groups[i][1] + 1] == ".":
        return None  # 0.1234
    windows, digits = [], 0
    for last in range(i, min(i + GROUPS, len(groups))):
        digits += groups[last][1] - groups[last][0]
        if digits > MOST + 2:
            break
        if last > i and plus and text[groups[last][0] - 1] == "+":
            break
        if digits >= LEAST and _ends(text, groups, last):
            windows.append((last, digits))
    if not windows:
        return None
    context = international or bool(CONTEXT.search(text, max(0, start - BEFORE), start))
    begin = start + (text[start] == "(")  # a bracket is no part of what it opens
    best = None
    for last, digits in reversed(windows):
        end = groups[last][1]
        raw = text[start:end] if ")" in text[first:end] else text[start:end].lstrip("(")
        if international:
            values = _international(raw if plus else f"+{re.sub(r'^[( ]*00', '', raw)}", digits)
        else:
            values = ()
            if digits in NATIONAL or context:
                values = _national(raw, regions, not (trunk or context))
            if values and not context and not _plausible(raw, digits, trunk, regions):
                values = ()
        if values:
            return last, begin, end, values
        if context and not international and best is None and digits <= 13 and not YEARS.fullmatch(raw):
            best = last, begin, end, ("".join(re.findall("[0-9]", raw)),)
    return best


def _begins(text, start, plus):
    if LABEL.search(text, max(0, start - 4), start):
        return True
    if plus:
        return not re.search(r"[0-9_+]\Z", text[max(0, start - 1) : start])
    return not re.search(rf"{JOINED}[-/]?\Z|[+$€£¥₹.]\Z|[0-9][.,:-]\Z", text[max(0, start - 2) : start])


def _ends(text, groups, last):
    end = groups[last][1]
    if last + 1 < len(groups):
        return bool(re.search(r"[ /]|^\)|\($", text[end : groups[last + 1][0]]))
    return not re.match(rf"{JOINED}|[-_]{JOINED}|[.,:][0-9]|%", text[end : end + 2]) or bool(EXTENSION.match(text, end))


def _plausible(raw, digits, trunk, regions):
    """Whether a national number that stands without a word of telephones is more likely one than something else."""
    if raw.isdecimal():  # a run of digits: a mobile number, or one of those whose regions do not tell these apart
        zeros = len(raw) - len(raw.rstrip("0"))
        return trunk or (digits >= 10 and zeros < 6 and _is_mobile(raw, regions))
    pieces = re.findall("[0-9]+", raw)
    if trunk:
        return (len(pieces[0]) > 1 or raw[1:].lstrip().startswith("(")) and not ZIP.fullmatch(raw)
    return not (
        THOUSANDS.fullmatch(raw)
        or len(pieces[-1]) == 3
        or any(len(piece) == 1 for piece in pieces[1:])
        or "/" in raw
        or YEARS.fullmatch(raw)
        or (len(pieces) == 2 and (not re.search(r"[ (]", raw) or any(piece.endswith("000") for piece in pieces)))
    )


@lru_cache(1 << 14)
def _international(raw, digits):
    try:
        number = phonenumbers.parse(raw)
    except phonenumbers.NumberParseException:
        return ()
    if phonenumbers.is_valid_number(number) or (digits >= 9 and phonenumbers.is_possible_number(number)):
        return (phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),)
    return ()


@lru_cache(1 << 14)
def _national(raw, regions, grouped):
    """The E.164 forms of a number, of each region where it is valid; grouped: as that region groups digits."""
    digits = "".join(re.findall("[0-9]", raw))
    leniency = Leniency.STRICT_GROUPING if grouped else Leniency.VALID
    values = set()
    for region in regions:
        if not _may_be(digits, region):
            continue
        for match in PhoneNumberMatcher(raw, region, leniency, 1):
            if match.end == len(raw) and match.start <= 1:
                values.add(phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164))
    return tuple(sorted(values))


@lru_cache(1 << 14)
def _is_mobile(digits, regions):
    for region in regions:
        if _may_be(digits, region):
            number = phonenumbers.parse(digits, region)
            kind = phonenumbers.number_type(number)
            if kind == PhoneNumberType.MOBILE or (region == "US" and kind == PhoneNumberType.FIXED_LINE_OR_MOBILE):
                return True
    return False


@lru_cache(None)
def _plan(region):
    """(pattern of national numbers, trunk prefix, country code) of a region."""
    metadata = PhoneMetadata.metadata_for_region(region)
    pattern = re.compile(metadata.general_desc.national_number_pattern)
    return pattern, metadata.national_prefix or "0", str(metadata.country_code)


def _may_be(digits, region):
    """Whether digits may be a number of a region: quick, and wrong only in saying yes."""
    pattern, trunk, code = _plan(region)
    return any(
        pattern.fullmatch(rest)
        for prefix in ("", trunk, code)
        if digits.startswith(prefix)
        for rest in (digits[len(prefix) :],)
    )
