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
    members = [row for row in rows if row.generation.member]
    for row in members:
        generation = row.generation
        for run in row.copied:
            is_own = run.whose(generation.cluster) == "own"
            if run.sample == generation.id or is_own:
                if generation.id not in longest or run.length > longest[generation.id][1].length:
                    longest[generation.id] = row, run
                if is_own:
                    own.add(generation.id)
    generations = [row.generation for row in members]
    exact = {
        generation.id: row
        for row, generation in zip(reversed(members), reversed(generations), strict=True)
        if generation.exact_match and generation.id not in longest
    }
    total = len({generation.id for generation in generations})
    title = f"{name}: {len(longest)} of {total} members, with a run of more than {span_length} characters"
    if len(own) < len(longest):
        title += f"; {len(longest) - len(own)} of them say only what other samples hold too (shared)"
    if exact:
        title += f"; {len(exact)} more come back exactly, as far as their generation reaches, without such a run"
    parts = ["\n".join([*paragraph(title), "=" * WIDTH]) + "\n"]
    ordered = sorted(longest.values(), key=lambda one: (-one[1].length, one[0].generation.id))
    for number, (row, run) in enumerate(ordered, 1):
        generation = row.generation
        told = (", exact match" if generation.exact_match else "") + ("" if generation.id in own else ", shared")
        suffix = visible(generation.suffix)
        if run.sample == generation.id:
            cut = len(generation.prefix)
            suffix = _marked(generation.suffix, tuple(max(place - cut, 0) for place in run.sample_span))
        else:
            told += f", in its near-duplicate {run.sample}"
        parts.append(
            f"\n{number}. sample {generation.id}, {_copies(generation)}, a run of {run.length} characters{told}\n"
        )
        parts.append(_block("prefix", visible(generation.prefix)))
        parts.append(_block("generation", _marked(generation.text, run.generation_span)))
        parts.append(_block("own sample, after the prefix", suffix))
    for row in sorted(exact.values(), key=lambda row: (-row.generation.matched_tokens, row.generation.id)):
        generation = row.generation
        parts.append(
            f"\n- sample {generation.id}, {_copies(generation)}, exact match of {generation.matched_tokens} tokens\n"
        )
        parts.append(_block("prefix", visible(generation.prefix)))
        parts.append(_block("generation", _marked(generation.text, *_own_items(row))))
        parts.append(_block("own sample, after the prefix", visible(generation.suffix)))
    return "".join([*parts, *_personal(members, longest | exact)])


def _personal(members, shown):
    """Parts of the section: members that are not shown yet of which the model says personal data of their own."""
    most = {}
    for row in members:
        generation = row.generation
        own = [item for item in row.personal if item.whose == "own"]
        if own and generation.id not in shown and len(own) > len(most.get(generation.id, (row, []))[1]):
            most[generation.id] = row, own
    if most:
        yield "\n" + "\n".join(paragraph(f"Personal data alone, of {len(most)} more members:")) + "\n"
    for row, own in sorted(most.values(), key=lambda each: (-len(each[1]), each[0].generation.id)):
        generation = row.generation
        kinds = ", ".join(dict.fromkeys(item.kind for item in own))
        yield f"\n- sample {generation.id}, {_copies(generation)}: {kinds}\n"
        yield _block("prefix", visible(generation.prefix))
        yield _block("generation", _marked(generation.text, *_own_items(row)))
        yield _block("own sample, after the prefix", visible(generation.suffix))


def _own_items(row):
    return [item.generation_span for item in row.personal if item.whose == "own"]


def _copies(generation):
    return f"{generation.duplicates} {'copy' if generation.duplicates == 1 else 'copies'}"


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
