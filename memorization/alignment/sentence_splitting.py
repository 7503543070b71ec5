"""Sentences by Punkt (Kiss and Strunk 2006) with parameters of our own, so no model is downloaded.

Punkt knows the marks of Latin, Greek and Cyrillic. Marks of other scripts end a sentence wherever they stand, and so
does a blank between two characters of Thai and similar scripts, which put blanks between sentences only.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from string import whitespace

import regex

from memorization.alignment.nltk_parts import punkt

LONGEST = 64  # characters of a context worth remembering
# initials, titles, months, places, companies, references; "no." and "etc." end sentences more often than not
ABBREVIATIONS = """
c d e f g h k l m n p r s t v w d.w e.m j.c j.j j.p m.j s.a adm ala ariz ark assn atty aug ave a.d a.m b.sc b.v bros
calif ch co col colo conn corp cos cpl ct d.c dec del dr e.g feb fig figs fla fri ft ga gen hon i.e ill inc ind jan jr
kan ky l.a l.p lt ltd m.d m.p maj max messrs mich min minn mr mrs ms n.j n.m n.y nev nov oct okla ont ore p.m pa penn
ph.d prof pty pvt rep reps sen sens sept sr st ste tenn tex thurs tues u.k u.n u.s u.s.a va viz vs vt w.va wash wed
wis
"""
# words that begin sentences in capitals and are lower-case elsewhere
STARTERS = """
a about above according additionally after again almost already also although among an and another any anyone anything
are as ask at avoid because been before being below besides between both but by call can contact could depending
despite did do does don't during each either even every everyone everything few finally for from further furthermore
get given go had has have having he her here his how however i if in indeed instead is it it's its just keep let like
look many may maybe meanwhile might more moreover most much must my need neither never next nobody not nothing now of
often on once one only or other others our out over perhaps please put second several she should since so some someone
something sometimes still such take that that's the their them then there therefore these they thing things this those
though three through thus to today together tomorrow too try two under unfortunately unless unlike until up upon use
using usually very was we were what whatever when whenever where whether which while who whoever whom whose why will
with within without would yes yesterday yet you your
"""


class _Language(punkt.PunktLanguageVars):
    """Punkt's regular expressions as published, only ASCII marks in them, on Python's own `re`."""

    re_boundary_realignment = re.compile(r"[\"')\]}]+?(?:\s+|(?=--)|$)", re.MULTILINE)
    _re_non_word_chars = r"[?!)\";}\]*:@'({\[]"

    def __init__(self) -> None:
        self._re_period_context = re.compile(self.period_context_re().pattern, re.VERBOSE)
        self._re_word_tokenizer = re.compile(self._word_tokenizer_re().pattern, re.VERBOSE)


_parameters = punkt.PunktParameters()
_parameters.abbrev_types = _abbreviations = set(ABBREVIATIONS.split())
_parameters.sent_starters = set(STARTERS.split())
# words that also occur in lower case: a Counter, because Punkt's own table keeps every word it looks up
_parameters.ortho_context = Counter(dict.fromkeys(_parameters.sent_starters, punkt._ORTHO_MID_LC))
PUNKT = punkt.PunktSentenceTokenizer(_parameters, lang_vars=_Language())
_boundary, _closing = PUNKT._lang_vars.period_context_re(), _Language.re_boundary_realignment
_remembered = lru_cache(1 << 14)(PUNKT.text_contains_sentbreak)
_word = re.compile(r"[A-Za-z]{2,}")
MARKS = "".join(regex.findall(r"[\p{SB=STerm}--[\u2000-\u2E7F]]", "".join(map(chr, range(0x580, 0xFFFF))), regex.V1))
BLANKS_END = r"[\u0E01-\u109F\u1780-\u17FF\u1950-\u19DF\u1A20-\u1AAF\uA9E0-\uA9FF\uAA60-\uAADF]"  # Thai, Tibetan ...
OTHER_END = re.compile(
    rf"[{MARKS}]+[\"')\]}}\u2019\u201D\u3009\u300B\u300D\u300F\u3011\uFF09]*|[!?]+(?=[\u3040-\u30FF\u3400-\u9FFF])"
    rf"|(?<={BLANKS_END})\s+(?={BLANKS_END})"
)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """The [start, end) of each sentence of a text, in characters."""
    if text.isascii():
        return _punkt(text)
    spans, start = [], 0
    for end in [*(match.end() for match in OTHER_END.finditer(text)), len(text)]:
        piece = text[start:end].lstrip() if start else text[start:end]
        begin = end - len(piece)
        spans += [(begin + first, begin + last) for first, last in _punkt(piece)]
        start = end
    return spans


def _punkt(text: str) -> list[tuple[int, int]]:
    """What PUNKT.span_tokenize() gives, several times as fast."""
    spans, start, stop, following = [], 0, 0, 0
    for end, next_start in [*_breaks(text), (len(text.rstrip()), len(text))]:
        closing = _closing.match(text, following, end) if following else None
        if closing:  # quotes and brackets after a sentence's end belong to it
            spans.append((start, following + len(closing[0].rstrip())))
        elif start < stop:
            spans.append((start, stop))
        start, stop, following = closing.end() if closing else following, end, next_start
    if start < stop:
        spans.append((start, stop))
    return spans


def _breaks(text: str) -> Iterator[tuple[int, int]]:
    """Where each sentence but the last ends, and where the next one begins.

    Punkt decides on the last mark of each word between blanks, by that word and what follows the mark.
    """
    begin, previous = 0, None
    for mark in [*_boundary.finditer(text), None]:
        next_begin = len(text)
        if mark:
            low = previous.start() if previous else 0
            before = text[low : mark.start()]
            blank = max(map(before.rfind, whitespace))
            next_begin = low + blank + 1 if blank > 0 else begin
        if previous and previous.start() <= next_begin:
            word, following = text[begin : previous.start()], previous["next_tok"]
            context = word + previous[0] + previous["after_tok"]
            # a word that is no abbreviation ends a sentence, whatever the next word is
            sure = following and _word.fullmatch(word) and (previous[0] != "." or word.lower() not in _abbreviations)
            if sure or (_remembered if len(context) <= LONGEST else PUNKT.text_contains_sentbreak)(context):
                yield previous.end(), previous.start("next_tok") if following else previous.end()
        begin, previous = next_begin, mark
