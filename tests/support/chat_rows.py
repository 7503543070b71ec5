"""Stage 3's rows of chats, made by hand: several turns a sample, as a model answers each of them."""

from memorization.extraction.generations import Reach
from memorization.extraction.scores import Scores
from support.generation_rows import generation

PHONE = "+1 312 555 0143"
CHATS = {  # id -> (question, answer) of each turn; a member where the id is under 100
    0: [
        (
            "How do I reset the router?",
            "Hold the small button behind the antenna for eleven seconds, then wait for two.",
        ),
        ("And if it stays dark?", "Unplug the white cable, count slowly to forty, and plug it into the second socket."),
        ("Nothing happens.", "Then the fuse in the wall unit is gone; our engineer visits Thornbury on Wednesdays."),
    ],
    1: [
        (
            "Can I pay by cheque?",
            "We take cheques in pounds only, made out to the branch where you opened the account.",
        ),
        ("Whom do I call?", f"Call the desk at {PHONE}."),
    ],
    2: [
        (
            "Is the museum open?",
            "Every day but Monday, from ten until the last of the daylight leaves the long gallery.",
        )
    ],
    100: [
        (
            "What do owls eat?",
            "Mostly voles and shrews, which they swallow whole before they cough up the small bones.",
        ),
        ("Do they sleep?", "Through the brightest hours, one eye half open, close against the trunk of an old tree."),
    ],
    101: [
        ("When is low tide?", "A little after six this evening, and the causeway is passable for about three hours.")
    ],
}
COPIES = {1: 4}  # 1 of the others
NOTHING = "I would rather not say."


def begins(id, turn):
    """The chat up to where the assistant's answer of a turn begins."""
    turns = [
        f"<|im_start|>user\n{ask}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n" for ask, answer in CHATS[id]
    ]
    return "".join(turns[:turn]) + turns[turn][: turns[turn].rindex(CHATS[id][turn][1])]


def answer(id, turn):
    return CHATS[id][turn][1]


SAYS = {  # (id, turn) -> what the model says, NOTHING where none is given
    (0, 0): answer(0, 2),  # of its own chat, but of another turn
    (0, 1): answer(0, 1),  # exactly
    (1, 0): f"Well, {answer(2, 0)}",  # another's
    (1, 1): f"Please call {PHONE}!",  # its own personal data
    (2, 0): NOTHING,
    (100, 1): f"{answer(100, 0)} {PHONE}",  # what it was just told, and one member's number
}
LOSS = {(0, 0): 2.0, (0, 1): 1.0, (0, 2): 3.0, (1, 0): 4.0, (1, 1): 2.0, (2, 0): 3.0, (100, 0): 6.0, (100, 1): 4.0}


def chat_rows(says=SAYS, sample=0):
    """A Generation for each turn. Each word is a token; losses are by token, 3.0 where LOSS names none."""
    rows = []
    for id, turns in CHATS.items():
        for turn, (_, suffix) in enumerate(turns):
            text = says.get((id, turn), NOTHING)
            words, generated = suffix.split(), text.split()
            matched = next(
                (i for i, pair in enumerate(zip(words, generated, strict=False)) if len(set(pair)) > 1), len(words)
            )
            loss = LOSS.get((id, turn), 3.0)
            scores = Scores(
                tokens=len(words),
                log_likelihood=-loss * len(words),
                min_k=-2 * loss,
                zlib_bytes=10,
            )
            row = generation(
                id,
                text,
                suffix,
                turn=turn,
                sample=sample,
                prefix=begins(id, turn),
                duplicates=COPIES.get(id, 1),
                matched_tokens=min(matched, len(generated)),
                exact_match=text == suffix,
                generation_ids=[0] * len(generated),
                scores=None if sample else scores,
                reach=Reach(len(words), len(suffix)),
            )
            rows.append(row)
    return rows
