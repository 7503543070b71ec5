"""Porter stems, those of NLTK's default mode, several times as fast.

The published detector stems with NLTK, whose default mode departs from Porter, "An algorithm for suffix stripping"
(Program 14, 1980), where that joined or parted words against sense. To give the detector's results, so do we:

    step  1980                             here
    -     -                                a table of words with stems of their own (NLTK.pool): dying > die, not dy
    -     -                                words of one or two letters stay: as, not a
    *o    ends cvc, the last not w x y     or is just vc: used > use, not us
    1a    -ies > -i                        -ies > -ie in words of four letters: dies > die, not di
    1b    -ied as any -ed: spied > spi     -ied > -i, in words of four letters -ie: died > die, not di
    1c    -y > -i behind a vowel anywhere  behind a consonant that is not the first letter: spy > spi, but enjoy > enjoy
    2     -abli > -able                    -bli > -ble, as in Porter's own later program: nobli > noble
    2     -alli > -al                      before all others, which then have their turn: operationally > oper
    2     -                                -fulli > -ful: usefully > use; -logi > -log: geology > geolog

The departure from NLTK is in the way only: a word's consonants and vowels are told apart in one pass, an ending is
looked up by its length, and what NLTK takes ill (words so long that its loops would drag, a star) is left to it.
"""

from memorization.alignment.toolkit import PorterStemmer

NLTK = PorterStemmer()
LONGEST = 64  # characters of a word not left to NLTK
VOWELS = frozenset("aeiou")
RULES2 = """
ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous ization>ize ation>ate
ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive biliti>ble fulli>ful
"""
RULES3 = "icate>ic ative> alize>al iciti>ic ical>ic ful> ness>"
RULES4 = "al> ance> ence> er> ic> able> ible> ant> ement> ment> ent> ion> ou> ism> ate> iti> ous> ive> ize>"
STEP2, STEP3, STEP4 = (dict(rule.split(">") for rule in rules.split()) for rules in (RULES2, RULES3, RULES4))
ENDINGS2, ENDINGS3, ENDINGS4 = map(tuple, (STEP2, STEP3, STEP4))


def _shape(word):
    """A c for each consonant of a word and a v for each vowel; y is a vowel behind a consonant."""
    shape, previous = "", "v"
    for letter in word:
        previous = "v" if letter in VOWELS or letter == "y" and previous == "c" else "c"
        shape += previous
    return shape


def _ends_cvc(word, shape):
    return shape == "vc" or shape.endswith("cvc") and word[-1] not in "wxy"


def _replace(word, rules, measure):
    """The word with its longest ending in `rules` replaced, if that comes after more than `measure` times vc."""
    size = next(size for size in range(7, 1, -1) if word[-size:] in rules)
    base, ending = word[:-size], word[-size:]
    fits = _shape(base).count("vc") > measure and (ending != "ion" or base[-1] in "st")
    return base + rules[ending] if fits else word


def _step1b(word):
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if "vc" in _shape(word[:-3]) else word
    base = word[:-2] if word.endswith("ed") else word[:-3]
    shape = _shape(base)
    if "v" not in shape:
        return word
    if base.endswith(("at", "bl", "iz")):
        return base + "e"
    if base[-1] == base[-2:-1] and shape[-1] == "c":
        return base if base[-1] in "lsz" else base[:-1]
    return base + "e" if shape.count("vc") == 1 and _ends_cvc(base, shape) else base


def stem(word):
    """The stem of a lower-cased word."""
    if word in NLTK.pool or len(word) > LONGEST or "*" in word:  # NLTK takes "*d" for an ending
        return NLTK.stem(word)
    if len(word) <= 2:
        return word
    if word.endswith("s") and not word.endswith("ss"):
        word = word[:-2] if word.endswith("sses") or word.endswith("ies") and len(word) != 4 else word[:-1]
    if word.endswith(("ed", "ing")):
        word = _step1b(word)
    if word.endswith("y") and len(word) > 2 and _shape(word[:-1])[-1] == "c":
        word = word[:-1] + "i"
    if word.endswith("alli") and "vc" in _shape(word[:-4]):
        word = word[:-2]
    if word.endswith(ENDINGS2):
        word = _replace(word, STEP2, 0)
    elif word.endswith("logi") and "vc" in _shape(word[:-3]):
        word = word[:-1]
    if word.endswith(ENDINGS3):
        word = _replace(word, STEP3, 0)
    if word.endswith(ENDINGS4):
        word = _replace(word, STEP4, 1)
    if word.endswith("e"):
        shape = _shape(word[:-1])
        if shape.count("vc") > 1 or shape.count("vc") == 1 and not _ends_cvc(word[:-1], shape):
            word = word[:-1]
    if word.endswith("ll") and _shape(word[:-1]).count("vc") > 1:
        word = word[:-1]
    return word
