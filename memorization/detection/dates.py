"""Dates in a text: in numbers, and in words of nine languages.

[*dates("on 3 March 2021")]      [(3, 15, ("2021-03-03",))]
"""

import re
from collections.abc import Iterator
from datetime import date

from memorization.detection.writing_systems import JOINED

YEAR = r"(?:1[89]|2[01])[0-9]{2}"
NUMBER = re.compile("[0-9]++")
NUMERIC = re.compile(
    rf"(?<![/.-])(?<!{JOINED})(?:{YEAR}([-/.])[0-9]{{1,2}}\1[0-9]{{1,2}}(?=T[0-9]|(?!{JOINED}))"
    rf"|(?:[0-9]{{1,2}}([-/.])[0-9]{{1,2}}\2{YEAR}|[0-9]{{1,2}}/[0-9]{{1,2}}/[0-9]{{2}}"
    rf"|[0-9]{{2}}-[0-9]{{2}}-[0-9]{{2}})(?!{JOINED}))(?!/|-{JOINED}|[.:][0-9])"
)
CENTURY = 69  # years of two digits from here on are of the 20th century, as in POSIX

MONTHS = """\
january jan januar jänner janvier janv enero janeiro января
february feb februar février fevrier févr fevr febrero fevereiro февраля
march mar märz maerz mrz mars marzo março marco марта
april apr avril avr abril апреля
may mai mayo maio мая
june jun juni juin junio junho июня
july jul juli juillet juil julio julho июля
august aug août aout agosto августа
september sept sep septembre septiembre setiembre setembro сентября
october oct oktober okt octobre octubre outubro октября
november nov novembre noviembre novembro ноября
december dec dezember dez décembre decembre déc diciembre dezembro декабря"""
MONTH = {name: number for number, names in enumerate(MONTHS.split("\n"), 1) for name in names.split()}
ENGLISH = r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
ENGLISH += r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
EVERY = "|".join(sorted(MONTH, key=len, reverse=True))
DAY = r"(?:3[01]|[12][0-9]|0?[1-9])"
NAME = rf"(?P<{{}}>{{}})(?!{JOINED})(?:\.(?=,? [0-9]|/[0-9]))?"
ABBREVIATED = rf"(?P<{{}}>{{}})(?!{JOINED})(?:\.(?= de | ?,? [0-9]|[/-][0-9]))?"
WRITTEN = re.compile(
    rf"(?<![./-])(?<!{JOINED})(?:"
    rf"{NAME.format('m1', ENGLISH)}[ -](?P<d1>{DAY})(?P<th1>st|nd|rd|th)?(?P<y1>,? {YEAR}|-{YEAR})?"
    rf"|(?P<d2>{DAY})(?P<th2>st|nd|rd|th|er|\.?º|ª|\.)?(?: of (?:the )?| de |[ /-]|(?<=\.))"
    rf"{ABBREVIATED.format('m2', EVERY)}(?P<y2>,? (?:del? )?{YEAR}|[/-]{YEAR}|[/-][0-9]{{2}})?"
    rf"|{NAME.format('m3', EVERY)}(?P<y3>,? (?:of |del? )?{YEAR}))(?![/])(?!{JOINED}|[.:][0-9])",
    re.IGNORECASE,
)
WORD = re.compile(r"([^\W\d_]++)\.?,?[ -](?:of |del? )?\Z")
WORDS_TOO = {"mar", "march", "may", "mayo", "marco"}  # in lower case a date only with a year or "th", "de" before it

HAN = "〇零一二三四五六七八九"
ERAS = {"明治": 1868, "大正": 1912, "昭和": 1926, "平成": 1989, "令和": 2019, "民国": 1912, "民國": 1912}
OF_HAN = r"[0-9]{1,2}|[一二三四五六七八九十廿卅]{1,3}"
EAST = re.compile(
    rf"(?<![0-9])(?:(?P<y>{YEAR}|(?<![{HAN}])[一二][{HAN}]{{3}}|(?:{'|'.join(ERAS)})(?:[0-9]{{1,3}}|元"
    rf"|[一二三四五六七八九十]{{1,3}})) ?[年년] ?)?(?P<m>{OF_HAN}) ?[月월](?: ?(?P<d>{OF_HAN}) ?[日号號일])?"
)


def dates(text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(start, end, values) of the dates in a text. values: in ISO 8601, "--03-05" without a year, "2021-03" without a
    day; both where 3/4/2021 may be of March or of April.
    """
    for numeric in NUMERIC.finditer(text):
        if values := _numeric(re.split("[-/.]", numeric[0]), day_first="." in numeric[0]):
            yield *numeric.span(), values
    end = 0
    for number in NUMBER.finditer(text):  # faster than a search for names of months
        word = WORD.search(text, max(0, number.start() - 24), number.start())
        starts = [word.start(), number.start()] if word and word[1].lower() in MONTH else [number.start()]
        matches = [match for start in starts if start >= end and (match := WRITTEN.match(text, start))]
        if not matches:
            continue
        match = matches[0]
        kind = next(kind for kind in "123" if match[f"m{kind}"])
        month, year = match[f"m{kind}"], match[f"y{kind}"]
        day = match[f"d{kind}"] if kind != "3" else None
        if kind == "3" and month in ("Mars", "Mar"):  # "Mars 2020" is no month in English
            continue
        linked = kind != "3" and (match[f"th{kind}"] or " de " in match[0])
        if (month not in WORDS_TOO or linked or year) and (month != "Mars" or year):
            year = year and re.findall("[0-9]+", year)[-1]
            if values := _iso(year, MONTH[month.lower()], day):
                end = match.end()
                yield match.start(), end, values
    for east in EAST.finditer(text) if "月" in text or "월" in text else ():
        year, month, day = east["y"], _number(east["m"]), east["d"] and _number(east["d"])
        if (year or day) and (values := _iso(year and _year(year), month, day)):
            yield *east.span(), values


def _numeric(numbers, day_first):
    """The dates that three numbers may be: of year, month, day, of day, month, year, and of month, day, year."""
    a, b, c = numbers
    orders = [(a, b, c)] if len(a) == 4 else [(c, b, a), (c, a, b)]
    if day_first and _iso(*orders[0]):
        orders = orders[:1]
    return tuple(sorted({value for order in orders for value in _iso(*order)}))


def _iso(year, month, day):
    """A date as a tuple of its ISO 8601 form; an empty one where there is no such day."""
    month, day = int(month), day and int(day)
    year = year if year is None or len(str(year)) > 2 else int(year) + (1900 if int(year) >= CENTURY else 2000)
    try:
        date(int(year or 2000), month, day or 1)
    except ValueError:
        return ()
    return ("-".join(["-" if year is None else f"{int(year):04}", f"{month:02}", *([f"{day:02}"] if day else [])]),)


def _number(digits):
    """A number up to 99 of ASCII digits, or of Chinese ones with their ten: 二十一."""
    if digits.isdecimal():
        return int(digits)
    digits = digits.replace("廿", "二十").replace("卅", "三十")
    tens, ten, ones = digits.rpartition("十")
    if not ten:
        return HAN.index(ones[-1]) - 1 if len(ones) == 1 else 0
    return 10 * (HAN.index(tens) - 1 if tens in HAN and tens else 1) + (HAN.index(ones) - 1 if ones else 0)


def _year(year):
    for era, first in ERAS.items():
        if year.startswith(era):
            of_era = year.removeprefix(era)
            return first - 1 + (1 if of_era == "元" else _number(of_era))
    return int(year) if year.isdecimal() else int("".join(str(max(HAN.index(digit) - 1, 0)) for digit in year))
