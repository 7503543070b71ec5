"""Data for stage 1, made up on the spot: dialogues in any script, records in two versions, questions on a passage."""

import random

from benchmarks.languages import LANGUAGES

NAMES = "alpha beta gamma delta index value node edge left right total count width depth queue stack".split()
BOILERPLATE = {  # longer than the span length
    "English": " This answer is no substitute for a visit to your own physician, thank you for choosing our service.",
    "Chinese": "以上内容仅供参考不能代替医生的当面诊断如果症状加重请您立即到附近的医院就诊谢谢您的提问",
    "Thai": "ข้อมูลนี้ใช้เพื่อการศึกษาเท่านั้นไม่สามารถทดแทนการตรวจรักษาโดยแพทย์ได้หากอาการรุนแรงขึ้นโปรดไปโรงพยาบาลทันที",
}


def dialogues(language, number, seed, asked=3, answered=8, end=""):
    """So many rows of a language (of benchmarks.languages, or "code"). asked, answered: sentences of theirs. end: of
    all."""
    rng = random.Random(f"{language} {seed}")
    text = code if language == "code" else LANGUAGES[language].text
    return [_row(text(rng, asked), text(rng, answered) + end) for _ in range(number)]


def _row(input, output):
    return {"instruction": "", "input": input, "output": output}


def code(rng, lines):
    """A function of so many lines, each indented as it may be."""
    lines = [(" " * rng.choice((4, 8, 12)), *rng.sample(NAMES, 2), *rng.choices(range(99), k=2)) for _ in range(lines)]
    body = (f"{blanks}{left}[{i}] += {right}({j})\n" for blanks, left, right, i, j in lines)
    return f"def {rng.choice(NAMES)}_{rng.randrange(99)}({rng.choice(NAMES)}):\n{''.join(body)}"


def versions(rows, change):
    """Each row twice, the second time with its input changed, within the first 50 tokens: change(input, rng)."""
    rng = random.Random(0)
    return [row for row in rows for row in (row, row | {"input": change(row["input"], rng)})]


def a_number(text, rng):
    """A number behind the first words of a text, of four digits."""
    return _within(text, str(rng.randrange(1000, 10000)))


def a_blank(text, rng):
    return _within(text, " ")


def _within(text, more):
    place = text.find(" ", 25) + 1 or 8
    return text[:place] + more + text[place:]


def questions(passages, each, seed, sentences=12):
    """SQuAD's JSON, as a dict: so many passages of so many sentences, each with so many questions."""
    rng, paragraphs = random.Random(seed), []
    text = LANGUAGES["English"].text
    for number in range(passages):
        asked = [
            {
                "id": f"{number}-{i}",
                "question": f"{' '.join(rng.choices(LANGUAGES['English'].words, k=5))}?",
                "answers": [{"text": text(rng, 1)[:20], "answer_start": 0}],
            }
            for i in range(each)
        ]
        paragraphs.append({"context": text(rng, sentences), "qas": asked})
    return {"data": [{"title": "made up", "paragraphs": paragraphs}]}
