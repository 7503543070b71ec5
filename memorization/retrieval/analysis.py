"""Text to terms, as Lucene's standard analyser does it: Unicode word boundaries, lower case, 255 characters at most.

The rules are those of Unicode Standard Annex #29 (Unicode Text Segmentation), section 4.1, with Lucene's choices: a
token needs a letter, digit, ideograph, kana, Hangul, emoji or a South-East Asian character (a run of these is one
token), and combining and format characters belong to what they follow (rule WB4).
"""

import re

import regex

MAX_TOKEN = 255  # UTF-16 units; a longer word is cut into pieces of this length

ASCII_WORD = re.compile(
    r"""_* [a-z0-9] [a-z0-9_]*
    (?: (?: (?<=[a-z]) [.:'] (?=[a-z]) | (?<=[0-9]) [.,;'] (?=[0-9]) ) [a-z0-9_]+ )*""",
    re.VERBOSE,
)


def _unicode_word():
    extend = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"
    classes = {
        "letter": r"[\p{WB=ALetter}\p{WB=HebrewLetter}]",
        "digit": r"[\p{WB=Numeric}\uFF10-\uFF19]",
        "kana": r"\p{WB=Katakana}",
        "join": r"\p{WB=ExtendNumLet}",
        "midletter": r"[\p{WB=MidLetter}\p{WB=MidNumLet}\p{WB=SingleQuote}]",
        "middigit": r"[\p{WB=MidNum}\p{WB=MidNumLet}\p{WB=SingleQuote}]",
        "quote": r"\p{WB=SingleQuote}",
        "doublequote": r"\p{WB=DoubleQuote}",
        "flag": r"\p{WB=RegionalIndicator}",
        "hebrew": r"\p{WB=HebrewLetter}",
        "southeast": r"\p{LB=SA}",
        "han": r"\p{Script=Han}",
        "hiragana": r"\p{Script=Hiragana}",
    }
    c = {name: f"(?:{characters}{extend})" for name, characters in classes.items()}
    after_hebrew = rf"(?<={c['hebrew']})(?:{c['quote']}|{c['doublequote']}(?={c['hebrew']}))"  # WB7a-WB7c
    letters = f"{c['letter']}(?:(?:{c['join']}*|{c['midletter']}){c['letter']})*"  # WB5-WB7, WB13
    digits = f"{c['digit']}(?:(?:{c['join']}*|{c['middigit']}){c['digit']})*"  # WB8, WB11, WB12
    kana = f"{c['kana']}(?:{c['join']}*{c['kana']})*"
    run = f"(?:{kana}|(?:(?:{letters}|{digits})(?:{after_hebrew})?)+)"  # WB9, WB10
    word = f"{c['join']}*{run}(?:{c['join']}+{run})*{c['join']}*"  # WB13a, WB13b

    follow = r"(?:(?![\uFE0E\uFE0F])[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}])*"
    picture = r"[\p{Extended_Pictographic}--\p{Emoji_Modifier}]"
    emoji = (
        rf"(?:(?:\u200D*\p{{Emoji_Modifier_Base}}{follow})?\p{{Emoji_Modifier}}{follow}"
        rf"|\u200D*{picture}{follow}\uFE0F?)"
    )
    sequence = rf"{emoji}(?:[\U000E0020-\U000E007E]+\U000E007F|(?:\u200D{emoji})*)"
    keycap = rf"[0-9#*]{follow}\uFE0F?\u20E3{follow}"
    return regex.compile(
        f"{word}|{sequence}|{keycap}|{c['flag']}{{2}}|{c['southeast']}+|{c['han']}|{c['hiragana']}", regex.V1
    )


UNICODE_WORD = _unicode_word()


def _units(text):
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _long_tokens(pattern, text):
    """As pattern.findall, but a match longer than MAX_TOKEN is cut there and what follows is matched anew."""
    tokens, start = [], 0
    while match := pattern.search(text, start):
        start = match.start()
        end = min(match.end(), start + MAX_TOKEN)
        while _units(text[start:end]) > MAX_TOKEN:
            end -= 1
        if end < match.end():
            match = pattern.match(text, start, end)
        tokens.append(match[0])
        start = match.end()
    return tokens


def tokenize(text):
    """The tokens of a text, lower-cased, in order: list[str]."""
    # Lucene lower-cases character by character; str.lower knows the final sigma and makes two characters of İ
    text = text.replace("\u03a3", "\u03c3").replace("\u0130", "i").lower()
    pattern = ASCII_WORD if text.isascii() else UNICODE_WORD
    tokens = pattern.findall(text)
    if any(len(token) * 2 > MAX_TOKEN and _units(token) > MAX_TOKEN for token in tokens):
        return _long_tokens(pattern, text)
    return tokens
