"""What joins two characters to one token, in scripts with spaces between words and in those without."""

import sys
import unicodedata

# Scripts without spaces between words, as ranges for `re`, and Hangul, where particles follow a number without a space.
# Any other character that \w matches joins its neighbours: "x5" is one token, "电1" is two.
APART = "\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
APART += "\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\uaadf\uff66-\uffdc\U00011700-\U0001174f"
APART += "\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
JOINED = rf"[^\W{APART}]"

# Decimal digits of every script, the full-width forms of ASCII, and the hyphens that stand for "-", as ASCII.
_PLAIN = {
    code: str(unicodedata.decimal(chr(code)))
    for code in range(128, sys.maxunicode + 1)
    if unicodedata.category(chr(code)) == "Nd"
}
_PLAIN |= {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_PLAIN |= dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2212), "-") | dict.fromkeys((0xA0, 0x202F, 0x3000), " ")


def as_ascii(text: str) -> str:
    """The text with digits, letters and signs of other scripts as ASCII where they mean the same, a character each."""
    return text if text.isascii() else text.translate(_PLAIN)
