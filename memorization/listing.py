"""The published listing format: for each sample i a line of i and 23 equal signs, and then the text."""

import re

from memorization.cli import UserError
from memorization.files import read_text, write_text

RULE = "=" * 23


def write_listing(path, texts):
    """texts: dict id -> text."""
    write_text(path, "".join(f"{i}{RULE}\n{text}\n" for i, text in texts.items()))


def read_listing(path):
    """dict id -> text. Raises UserError if there is no header line, or an id stands twice."""
    headers = list(re.finditer(rf"^(\d+){RULE}\n", text := read_text(path), re.MULTILINE))
    if not headers or headers[0].start() != 0:
        raise UserError(f"{path}: does not begin with a line such as 0{RULE}; name a listing written by stage 3")
    texts = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        i = int(header[1])
        if i in texts:
            raise UserError(f"{path}: sample {i} is listed twice; remove one")
        # the line end before the next header is the listing's, not the text's
        texts[i] = text[header.end() : following.start() if following else None].removesuffix("\n")
    return texts
