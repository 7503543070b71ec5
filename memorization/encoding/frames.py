"""Made-up text: sentences out of frames, in which words and numbers drawn at random fill the {slots}."""

import random


def listed(text):
    """The parts of a text between bars, as a list."""
    return [" ".join(part.split()) for part in text.split("|")]


class Words:
    """What fills slots. rng: random.Random. slots: dict name -> list of words; ranges: dict name -> (least, most)."""

    def __init__(self, rng, slots, ranges):
        self.rng, self._slots, self._ranges = rng, slots, ranges

    def draw(self, name):
        return (
            str(self.rng.randint(*self._ranges[name])) if name in self._ranges else self.rng.choice(self._slots[name])
        )

    def fill(self, frame, known=()):
        """A frame with every slot filled: by what is known of it (dict), else anew."""
        parts = frame.replace("}", "{").split("{")
        for i in range(1, len(parts), 2):
            parts[i] = known[parts[i]] if parts[i] in known else self.draw(parts[i])
        return "".join(parts)

    def speak(self, frames, known=()):
        """The frames as sentences."""
        texts = [self.fill(frame, known) for frame in frames]
        return " ".join(text[0].upper() + text[1:] + "." * (text[-1] != "?") for text in texts)


def planted(make, seed, single, fourfold, sixteenfold):
    """A list of rows, shuffled: `single` of those that make(rng) gives stand in it once, others 4 and 16 times."""
    rng = random.Random(seed)
    rows = [make(rng) for _ in range(single + fourfold + sixteenfold)]
    copies = [1] * single + [4] * fourfold + [16] * sixteenfold
    rows = [row for row, times in zip(rows, copies, strict=True) for _ in range(times)]
    rng.shuffle(rows)
    return rows
