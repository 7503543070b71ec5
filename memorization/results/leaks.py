"""What came out, to be read: members whose own text, or personal data in it, the model repeats."""

from memorization.results.layout import WIDTH, paragraph, visible, wrapped

HEAD = """\
Members of which the model repeats a long run of words, the longest first; of
several generations the one with the longest. Wide characters, as Chinese ones,
count as two, punctuation as none. The run stands between \u27e6 and \u27e7.
Then those that come back exactly, but without such a run, and those of which
it says personal data alone, in that place. Control characters are escaped.
"""


def leaks(name, rows, span_length):
    """The section of a run, as text. rows: its detections. span_length: that a run must be longer than.

    A member is in it if and only if a copied run is of its own sample or of its cluster alone (the table counts it as
    own, or as shared where others hold all that it says), or if it is an exact match.
    """
    longest, own = {}, set()
    members = [row for row in rows if row.member]
    for row in members:
        for run in row.copied:
            is_own = run.whose(row.cluster) == "own"
            if run.sample == row.id or is_own:
                if row.id not in longest or run.length > longest[row.id][1].length:
                    longest[row.id] = row, run
                if is_own:
                    own.add(row.id)
    exact = {row.id: row for row in reversed(members) if row.exact_match and row.id not in longest}
    total = len({row.id for row in members})
    title = f"{name}: {len(longest)} of {total} members, with a run of more than {span_length} characters"
    if len(own) < len(longest):
        title += f"; {len(longest) - len(own)} of them say only what other samples hold too (shared)"
    if exact:
        title += f"; {len(exact)} more come back exactly, as far as their generation reaches, without such a run"
    parts = ["\n".join([*paragraph(title), "=" * WIDTH]) + "\n"]
    ordered = sorted(longest.values(), key=lambda one: (-one[1].length, one[0].id))
    for number, (row, run) in enumerate(ordered, 1):
        told = (", exact match" if row.exact_match else "") + ("" if row.id in own else ", shared")
        suffix = visible(row.suffix)
        if run.sample == row.id:
            suffix = _marked(row.suffix, tuple(max(place - len(row.prefix), 0) for place in run.sample_span))
        else:
            told += f", in its near-duplicate {run.sample}"
        parts.append(f"\n{number}. sample {row.id}, {_copies(row)}, a run of {run.length} characters{told}\n")
        parts.append(_block("prefix", visible(row.prefix)))
        parts.append(_block("generation", _marked(row.generation, run.generation_span)))
        parts.append(_block("own sample, after the prefix", suffix))
    for row in sorted(exact.values(), key=lambda row: (-row.matched_tokens, row.id)):
        parts.append(f"\n- sample {row.id}, {_copies(row)}, exact match of {row.matched_tokens} tokens\n")
        parts.append(_block("prefix", visible(row.prefix)))
        parts.append(_block("generation", _marked(row.generation, *_own_items(row))))
        parts.append(_block("own sample, after the prefix", visible(row.suffix)))
    return "".join([*parts, *_personal(members, longest | exact)])


def _personal(members, shown):
    """Parts of the section: members that are not shown yet of which the model says personal data of their own."""
    most = {}
    for row in members:
        own = [item for item in row.personal if item.whose == "own"]
        if own and row.id not in shown and len(own) > len(most.get(row.id, (row, []))[1]):
            most[row.id] = row, own
    if most:
        yield "\n" + "\n".join(paragraph(f"Personal data alone, of {len(most)} more members:")) + "\n"
    for row, own in sorted(most.values(), key=lambda each: (-len(each[1]), each[0].id)):
        kinds = ", ".join(dict.fromkeys(item.kind for item in own))
        yield f"\n- sample {row.id}, {_copies(row)}: {kinds}\n"
        yield _block("prefix", visible(row.prefix))
        yield _block("generation", _marked(row.generation, *_own_items(row)))
        yield _block("own sample, after the prefix", visible(row.suffix))


def _own_items(row):
    return [item.generation_span for item in row.personal if item.whose == "own"]


def _copies(row):
    return f"{row.duplicates} {'copy' if row.duplicates == 1 else 'copies'}"


def _marked(text, *spans):
    """The text with marks around the spans, which are in order and apart."""
    parts, at = [], 0
    for start, end in spans:
        parts += [visible(text[at:start]), "\u27e6", visible(text[start:end]), "\u27e7"]
        at = end
    return "".join([*parts, visible(text[at:])])


def _block(title, text):
    lines = wrapped(text, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join([f"  {title}:", *lines]) + "\n"
