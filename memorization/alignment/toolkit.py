"""The parts of NLTK that are in use.

Any of them loads all of NLTK, and with it scikit-learn and scipy.stats where they are installed: two seconds, for
figures and classifiers that nobody asks for here. NLTK does without what it cannot import.
"""

import sys

_unneeded = [name for name in ("sklearn", "scipy.stats") if name not in sys.modules]
sys.modules |= dict.fromkeys(_unneeded)  # what is None here cannot be imported
try:
    from nltk.stem.porter import PorterStemmer
    from nltk.tokenize import punkt
    from nltk.tokenize.treebank import TreebankWordTokenizer
finally:
    for _name in _unneeded:
        del sys.modules[_name]

__all__ = ["PorterStemmer", "TreebankWordTokenizer", "punkt"]
