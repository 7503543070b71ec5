"""Stage 3 with prompts of one's own: what the file asks is asked, and the later stages read the answers."""

import json

import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import Metaspace as OfPieces
from tokenizers.models import Unigram
from tokenizers.normalizers import NFKC, Lowercase, Sequence
from tokenizers.pre_tokenizers import Metaspace as PiecesOfWords
from tokenizers.trainers import UnigramTrainer
from transformers import PreTrainedTokenizerFast

from memorization.encoding.probe_file import FileProbes
from memorization.encoding.probes import Probes
from memorization.extraction.generations import read_generations
from memorization.models.hub import load_tokenizer
from memorization.shell.cli import UserError
from memorization.store.files import read_json
from support.command_line import ROOT, one_line, run_script
from support.encoded_dialogues import encode_and_index
from support.tiny_models import save_language_model

TOKENIZER = ROOT / "configs" / "gpt-neo-small"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """An encoding, its index, and a model that was trained on nothing."""
    path = tmp_path_factory.mktemp("stage")
    encode_and_index(path, 11, 0.3)
    save_language_model(path / "model", TOKENIZER)
    return path


def write_file(path, probes):
    path.write_text("".join(json.dumps(probe) + "\n" for probe in probes))
    return path


def from_the_middle(stage):
    """A probe of each sample: 10 tokens from its middle on, and what follows them."""
    tokenizer = load_tokenizer(TOKENIZER)
    for probe in Probes(stage, "dialogue")[:]:
        ids = probe["suffix_ids"]
        parts = {"prompt": ids[5:15], "suffix": ids[15:]}
        ids = {f"{name}_ids": part for name, part in parts.items()}
        texts = {name: tokenizer.decode(part) for name, part in parts.items()}
        yield {"id": probe["id"], "member": probe["member"], **ids, **texts}


def infer(stage, out, file, *flags):
    paths = ["--model-path", stage / "model", "--tokenized-dir", stage, "--output-dir", out, "--probes", file]
    return run_script("inference_prefix.py", *paths, "--max-new-tokens", "12", *flags)


def generations(out):
    return read_generations(out / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl")


def test_a_suffix_that_the_model_says_is_an_exact_match(stage, tmp_path):
    """The known answer: what the model continued its prompts with is given as the suffixes of half of the probes."""
    probes = [*from_the_middle(stage)]
    assert infer(stage, tmp_path / "first", write_file(tmp_path / "probes.jsonl", probes)) == 0
    rows, _ = generations(tmp_path / "first")
    assert [row.prefix for row in rows] == [probe["prompt"] for probe in probes]
    assert {row.id: row.duplicates for row in rows} == {
        row["id"]: row["duplicates"] for row in Probes(stage, "dialogue")[:]
    }
    continuations = {row.id: row.generation_ids for row in rows}
    for probe in probes[::2]:
        probe["suffix_ids"] = continuations[probe["id"]] + [5]
        probe["suffix"] = load_tokenizer(TOKENIZER).decode(probe["suffix_ids"])
    assert infer(stage, tmp_path / "second", write_file(tmp_path / "more.jsonl", probes)) == 0
    rows, manifest = generations(tmp_path / "second")
    assert [row.exact_match for row in rows] == [i % 2 == 0 for i in range(len(probes))]
    assert (manifest.made_of["probe"], manifest.made_of["prefix_length"]) == ("file", None)


def test_another_file_is_another_result(stage, tmp_path, capsys):
    probes = [*from_the_middle(stage)]
    assert infer(stage, tmp_path, write_file(tmp_path / "probes.jsonl", probes)) == 0
    assert infer(stage, tmp_path, write_file(tmp_path / "probes.jsonl", probes[1:])) == 2
    assert "probe_file" in one_line(capsys)


def test_stage_5_and_the_report_read_the_answers(stage, tmp_path, capsys):
    """Half of the samples, as an attack may choose: the rates are of these."""
    probes = [*from_the_middle(stage)][::2]
    assert infer(stage, tmp_path, write_file(tmp_path / "probes.jsonl", probes)) == 0
    flags = ["--filedir", tmp_path / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"]
    flags += ["--index-xsuffix", "s", "--indexes", stage / "indexes", "--paraphrase-model", "none"]
    assert run_script("plagiarism_detect.py", *flags, "--type", "m", "--dataset", "d", "--output-dir", tmp_path) == 0
    assert read_json(tmp_path / "m" / "d" / "result.json")["generations"] == len(probes)
    assert run_script("report.py", tmp_path / "m" / "d", "--output", tmp_path / "report") == 0
    assert "probe file" in capsys.readouterr().out


def changed(probes, **fields):
    return [{**probes[0], **fields}, *probes[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda probes: [], "no probes in it"),
        (lambda probes: changed(probes, id=10**6), "has no sample 1000000"),
        (lambda probes: changed(probes, member=not probes[0]["member"]), "mend its `member`"),
        (lambda probes: changed(probes, prompt_ids=[]), "line 1: Expected `array` of length >= 1"),
        (lambda probes: changed(probes, suffix_ids=["a"]), "line 1: Expected `int`, got `str`"),
        (lambda probes: changed(probes, prompt_ids=[10**6]), "token id 1000000 of the probes is beyond its vocabulary"),
        (lambda probes: [*probes, probes[0]], "is there twice"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_in_one_line(stage, tmp_path, capsys, change, message):
    file = write_file(tmp_path / "probes.jsonl", change([*from_the_middle(stage)]))
    assert infer(stage, tmp_path / "out", file) == 2
    assert message in one_line(capsys)
    assert not (tmp_path / "out").exists()


TEXTS = {
    "English": " The quick brown fox jumps\n\nover the lazy dog. ",
    "Chinese": "敏捷的棕色狐狸跳过了懒狗，然后回家睡觉。",
    "Arabic": "قفز الثعلب البني السريع فوق الكلب الكسول",
    "Thai": "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ",
    "emoji": "👩‍🔬 said 🇨🇭🎉 and left 🏳️‍🌈",
    "a name that is text": "it ends with <|endoftext|> in the middle",
}


def check(stage, path, tokenizer, lines):
    """Check lines of (prompt_ids, prompt, suffix_ids, suffix), as of the first samples."""
    samples = Probes(stage, "dialogue")[: len(lines)]
    names = "prompt_ids", "prompt", "suffix_ids", "suffix"
    of_samples = ({"id": sample["id"], "member": sample["member"]} for sample in samples)
    probes = [sample | dict(zip(names, line, strict=True)) for sample, line in zip(of_samples, lines, strict=True)]
    FileProbes(stage, "dialogue", write_file(path / "lines.jsonl", probes)).check_texts(tokenizer)


def lower_case_tokenizer(texts):
    """Of pieces, after lower case and NFKC: its tokens do not give the texts back as they were."""
    trained = Tokenizer(Unigram())
    trained.normalizer = Sequence([NFKC(), Lowercase()])
    trained.pre_tokenizer, trained.decoder = PiecesOfWords(), OfPieces()
    options = {"vocab_size": 400, "special_tokens": ["<unk>", "</s>"], "unk_token": "<unk>", "show_progress": False}
    trained.train_from_iterator(texts, UnigramTrainer(**options))
    return PreTrainedTokenizerFast(tokenizer_object=trained, eos_token="</s>", unk_token="<unk>")


def tokens_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("changes_texts", [False, True])
def test_texts_cut_between_any_two_tokens_agree(stage, tmp_path, language, changes_texts):
    """A character whose bytes are parted by the cut may be whole on one side, or be decoded on both; what stands at the
    ends, blanks and special tokens, may be in the text, in the tokens, or in both."""
    tokenizer = lower_case_tokenizer([*TEXTS.values()]) if changes_texts else load_tokenizer(TOKENIZER)
    text, eos = TEXTS[language], tokenizer.eos_token_id
    ids = tokens_of(tokenizer, text)
    for cut in range(1, len(ids)):
        left, right = (tokenizer.decode(part) for part in (ids[:cut], ids[cut:]))
        whole = len(left.rstrip("\ufffd"))
        lines = [(ids[:cut], left, ids[cut:], right), (ids[:cut], left.strip(), [*ids[cut:], eos], right.strip())]
        lines.append((ids[:cut], left, [*ids[cut:], eos], right + tokenizer.eos_token))
        if not changes_texts:
            lines.append((ids[:cut], text[: whole + 1] if left[whole:] else left, ids[cut:], text[whole:]))
            lines.append((ids[:cut], text[:whole], ids[cut:], text[whole + 1 :] if left[whole:] else right))
        check(stage, tmp_path, tokenizer, lines)
    check(stage, tmp_path, tokenizer, [(ids, text, ids, text)])


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_with_other_tokens_is_refused_with_its_line(stage, tmp_path, language):
    """Tokens too few, another's text, tokens of another tokenizer, and ids that no token has."""
    tokenizer, other = load_tokenizer(TOKENIZER), lower_case_tokenizer([*TEXTS.values()])
    text = TEXTS[language].strip() + " as ever."
    right = tokens_of(tokenizer, text), text
    middle = len(right[0]) // 2
    others = [other_text for name, other_text in TEXTS.items() if name != language]
    for ids, shown in [
        (right[0][:-2], text),
        (right[0][9:], text),
        ([*right[0][:middle], *right[0][middle + 1 :]], text),
        *((right[0], other_text) for other_text in others),
        (tokens_of(other, text), text),
        ([*right[0], len(tokenizer) + 7], text),
        (right[0], ""),
    ]:
        for name, line in (("prompt", (ids, shown, *right)), ("suffix", (*right, ids, shown))):
            with pytest.raises(UserError, match=f"line 2: from character .* its `{name}` is .*; make both of one text"):
                check(stage, tmp_path, tokenizer, [(*right, *right), line])


def test_stage_3_refuses_texts_of_other_tokens(stage, tmp_path, capsys):
    probes = [*from_the_middle(stage)]
    probes[2]["suffix"] = probes[1]["suffix"]
    assert infer(stage, tmp_path / "out", write_file(tmp_path / "probes.jsonl", probes)) == 2
    assert "line 3: from character" in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_file_and_stage_1s_settings_exclude_each_other(stage, tmp_path, capsys):
    file = write_file(tmp_path / "probes.jsonl", from_the_middle(stage))
    assert infer(stage, tmp_path / "out", file, "--prefix-length", "9") == 2
    assert "--probes" in one_line(capsys)
    assert infer(stage, tmp_path / "out", tmp_path / "none.jsonl") == 2
    assert "no such file" in one_line(capsys)
