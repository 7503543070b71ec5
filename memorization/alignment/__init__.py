"""Text alignment: what two documents have in common, by the adaptive algorithm of Sanchez-Perez et al. (CLEF 2015).

Read reference.py first: it is the algorithm, plain and slow. The other modules make it fast:

    step of reference.py        here
    preprocess, words_in        document: sentence_splitting, treebank_tokens, chunk_words, sentence_vectors
    weigh, seeding              seeding
    clustering, extension       extension
    resolve_overlaps            filtering
    common_runs, verbatim_runs  verbatim
    align                       detector

align("a generation ...", "a training text ...", "paper")        one pair
prepare(text)                                                    a Document, analysed once, for many pairs
longest_common_run(suspicious, source)                           the longest run of words in both
"""

from memorization.alignment.detector import Alignment, align, longest_common_run
from memorization.alignment.document import Document, prepare
from memorization.alignment.profiles import PROFILES, Profile
from memorization.alignment.sentence_splitting import split_sentences

__all__ = [
    "PROFILES",
    "Alignment",
    "Document",
    "Profile",
    "align",
    "longest_common_run",
    "prepare",
    "split_sentences",
]
