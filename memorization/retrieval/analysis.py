"""Text to terms, as Lucene's standard analyser does it: Unicode word boundaries, lower case, 255 characters at most.

The rules are those of Unicode Standard Annex #29 (Unicode Text Segmentation), section 4.1, with Lucene's choices: a
token needs a letter, digit, ideograph, kana, Hangul, emoji or a South-East Asian character (a run of these is one
token), and combining and format characters belong to what they follow (rule WB4).
"""

import re

import regex

MAX_TOKEN = 255  # UTF-16 units; a longer word is cut into pieces of this length

ASCII_WORD = re.compile(
    r"""_{0,254}+ [a-z0-9] [a-z0-9_]*
    (?: (?: (?<=[a-z]) [.:'] (?=[a-z]) | (?<=[0-9]) [.,;'] (?=[0-9]) ) [a-z0-9_]+ )*""",
    re.VERBOSE,
)

# where the regex module (Unicode 17) and Lucene (Unicode 9, emoji 11) differ in characters that both have
NO_LETTERS = r"\u00B8\u02E5-\u02EB\u055A\u058A\u070F\uA708-\uA716"
NO_DIGITS = r"\u0600-\u0605\u06DD\u08E2\U000110BD\U000110CD"
PICTURES = (
    r"\u2388\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2765-\u2767\U0001F000-\U0001F0FF"
    r"\U0001F10D-\U0001F10F\U0001F12F\U0001F16C-\U0001F171\U0001F1AD-\U0001F1E5\U0001F249-\U0001F3FA"
    r"\U0001F400-\U0001F53D\U0001F546-\U0001F64F\U0001F680-\U0001F6FF\U0001F774-\U0001F77F\U0001F7D5-\U0001F7FF"
    r"\U0001F8AE-\U0001F8FF\U0001FA00-\U0001FFFD"
)


def _unicode_word():
    extend = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"
    classes = {
        "letter": rf"[[\p{{WB=ALetter}}\p{{WB=HebrewLetter}}]--[{NO_LETTERS}]]",
        "digit": rf"[[\p{{WB=Numeric}}\uFF10-\uFF19]--[{NO_DIGITS}]]",
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
    after_hebrew = (  # WB7a-WB7c
        f"(?<={c['hebrew']})(?<!{c['letter']}[\\p{{WB=MidLetter}}\\p{{WB=MidNumLet}}]{extend}{c['hebrew']})"
        f"(?:{c['quote']}|{c['doublequote']}{c['hebrew']})"
    )
    letters = f"{c['letter']}(?:(?:{c['join']}*|{c['midletter']}){c['letter']})*"  # WB5-WB7, WB13
    digits = f"{c['digit']}(?:(?:{c['join']}*|{c['middigit']}){c['digit']})*"  # WB8, WB11, WB12
    kana = f"{c['kana']}(?:{c['join']}*{c['kana']})*"
    run = f"(?:{kana}|(?:(?:{letters}|{digits})(?:{after_hebrew})?)+)"  # WB9, WB10
    word = f"{c['join']}{{0,254}}+{run}(?:{c['join']}+{run})*{c['join']}*"  # WB13a, WB13b

    picture = rf"[[\p{{Extended_Pictographic}}{PICTURES}]--\p{{Emoji_Modifier}}]"
    joined = rf"\u200D(?!\u200D{{0,254}}+(?:{picture}|\p{{Emoji_Modifier_Base}}))"
    follow_one = rf"(?:{joined}|[[\p{{WB=Extend}}\p{{WB=Format}}]--[\uFE0E\uFE0F]])"
    follow = f"{follow_one}*+"
    emoji = (
        rf"(?:(?:\u200D{{0,254}}+\p{{Emoji_Modifier_Base}}{follow})?\p{{Emoji_Modifier}}{follow}"
        rf"|\u200D{{0,254}}+{picture}{follow}\uFE0F?)"
    )
    sequence = rf"{emoji}(?:[\U000E0020-\U000E007E]+\U000E007F|(?:\u200D{emoji})*)"
    keycap = rf"[0-9#*](?:(?!\u20E3){follow_one})*+\uFE0F?\u20E3{follow}"
    return regex.compile(
        f"{word}|{sequence}|{keycap}|{c['flag']}{{2}}|{c['southeast']}+|{c['han']}|{c['hiragana']}", regex.V1
    )


UNICODE_WORD = _unicode_word()


def _units(text):
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _cut_tokens(pattern, text):
    """As pattern.findall, but never looking further than MAX_TOKEN, so that a longer match becomes pieces."""
    tokens, start = [], 0
    while match := pattern.search(text, start):
        start, last = match.span()
        while start < last:
            end = start + MAX_TOKEN
            while _units(text[start:end]) > MAX_TOKEN:
                end -= 1
            piece = pattern.match(text, start, end)
            if piece:
                tokens.append(piece[0])
            start = piece.end() if piece else start + 1
    return tokens


def has_words(text):
    """Whether tokenize gives any token."""
    return bool(UNICODE_WORD.search(text))


def tokenize(text):
    """The tokens of a text, lower-cased, in order: list[str]."""
    if text.isascii():
        pattern, text = ASCII_WORD, text.lower()
    else:
        pattern = UNICODE_WORD
    tokens = pattern.findall(text)
    if max(map(len, tokens), default=0) * 2 > MAX_TOKEN and any(_units(token) > MAX_TOKEN for token in tokens):
        tokens = _cut_tokens(pattern, text)
    if pattern is UNICODE_WORD:
        # Lucene goes character by character; str.lower knows the final sigma and makes two characters of İ
        tokens = [token.replace("\u03a3", "\u03c3").replace("\u0130", "i").lower() for token in tokens]
    return tokens
