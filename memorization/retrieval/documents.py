"""What an index is given, checked and counted as it streams by, and the mark that says what the index holds then."""

import re

from memorization.cli import UserError
from memorization.retrieval.analysis import tokenize
from memorization.runs import TextDigest

FORMAT = 2  # of what an index holds; raise it when documents or their analysis change

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Documents:
    """The documents of a load as they stream by, checked: iterate over (id, text, terms) of those that have terms.

    count, length: how many these are so far, and how many terms they have. Raises UserError for a bad or repeated id.
    """

    def __init__(self, documents):
        self._documents, self._ids, self._digest = documents, set(), TextDigest()
        self.count = self.length = 0

    def __iter__(self):
        for id, text in self._documents:
            if not 0 < len(id.encode("utf-8", "replace")) <= 512 or LONE_SURROGATE.search(id):
                raise UserError(f"document id {id[:50]!r}: must have 1 to 512 bytes of UTF-8; mend the probes file")
            if id in self._ids:
                raise UserError(f"document id {id!r}: occurs twice; each must be unique: mend the probes file")
            self._ids.add(id)
            self._digest.add(id, text)
            text = LONE_SURROGATE.sub("\ufffd", text)
            if terms := tokenize(text):
                self.count += 1
                self.length += len(terms)
                yield id, text, terms

    def mark(self, made_of):
        """The mark of an index of what has streamed by."""
        made_of = made_of | {"documents": self._digest.hex()}
        return {"format": FORMAT, "made_of": made_of, "count": self.count, "length": self.length}
