"""Sentences by Punkt (Kiss and Strunk 2006) with parameters of our own: no model to download."""

from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

ABBREVIATIONS = "dr mr mrs ms prof st vs e.g i.e etc inc ltd co corp jr sr u.s u.k ph.d a.m p.m approx fig vol".split()

_parameters = PunktParameters()
_parameters.abbrev_types = set(ABBREVIATIONS)
_punkt = PunktSentenceTokenizer(_parameters)


def split_sentences(text):
    """Spans [(start, end), ...] of the sentences of a text, in characters."""
    return list(_punkt.span_tokenize(text))
