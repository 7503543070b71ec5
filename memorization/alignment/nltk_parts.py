"""The parts of NLTK that the alignment uses, imported without scikit-learn and scipy.stats.

Importing any part imports all of NLTK, which imports those two where they are installed: a second, for classifiers that
nothing here uses. NLTK works without modules that it cannot import.
"""

import sys

_unneeded = [name for name in ("sklearn", "scipy.stats") if name not in sys.modules]
sys.modules |= dict.fromkeys(_unneeded)  # type: ignore[arg-type]  # importing a module that is None here fails
try:
    from nltk.stem.porter import PorterStemmer
    from nltk.tokenize import punkt
    from nltk.tokenize.treebank import TreebankWordTokenizer
finally:
    for _name in _unneeded:
        del sys.modules[_name]

__all__ = ["PorterStemmer", "TreebankWordTokenizer", "punkt"]
