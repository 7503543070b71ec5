"""T5 and BART through the stages: the same source and target trained on and probed, losses and tokens as by hand."""

import copy
import subprocess

import numpy as np
import pytest
import torch
from datasets import load_from_disk
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import run_clm
import run_seq2seq
from memorization.encoding.kinds import TRAINING_SET
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.probes import Probes, read_probes
from memorization.encoding.tasks import DIALOGUE, SEPARATOR
from memorization.encoding.tokens import INSIDE, SPECIAL, encode_pairs
from memorization.extraction.generations import read_generations
from memorization.models.limits import cut_source
from memorization.models.trained import RECORD, model_made_of
from memorization.shell.cli import UserError
from memorization.store import manifests
from memorization.store.files import read_json, write_json
from memorization.training.encoder_decoder_data import SourcesAndTargets, read_sources_and_targets
from memorization.training.mitigations import goldfish_dropped
from support.command_line import ROOT, TWO_RANKS, one_line, read_jsonl, run_script
from support.hard_texts import CHARACTERS, HARD
from support.tiny_models import save_bart, save_t5

PREFIX = "answer: "
ROWS = [row | {"instruction": ""} for row in make_dialogues(seed=3, single=13, fourfold=2, sixteenfold=0)[:12]]
for row in ROWS:
    row["output"] = " ".join(row["output"].split()[: 9 + len(row["input"]) % 8])
SAVE = {"t5": save_t5, "bart": save_bart}
KINDS = pytest.mark.parametrize("kind", SAVE)
SETS = {"training set": "train", "held-out set": "test"}


def encode(home, *flags):
    sizes = "--min-suffix-length", 8, "--test-size", 0.2, "--prefix-length", 10
    data = "--data", home / "d.json", "--tokenizer", home / "base", "--output-dir", home / "tokenized"
    return run_script("encode_dialogue.py", *data, *sizes, "--encoder-decoder", *flags)


def flags(home, output, *more):
    sets = [f"--train_file={home}/tokenized/tokenized_dialogue_train"]
    sets += [f"--validation_file={home}/tokenized/tokenized_dialogue_test"]
    how = "--learning_rate=4e-3 --per_device_train_batch_size=4 --lr_scheduler_type=constant --save_strategy=no"
    return [f"--model_name_or_path={home}/base", *sets, f"--output_dir={output}", *how.split(), *map(str, more)]


def infer(home, model, out, probe, *more):
    what = "--model-path", model, "--tokenized-dir", home / "tokenized", "--output-dir", out
    sizes = "--prefix-length", 10, "--max-new-tokens", 12
    return run_script("inference_prefix.py", *what, *sizes, *(("--probe", probe) if probe else ()), *more)


def rows_of(out):
    return read_generations(out / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl")


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """kind -> a directory with data, a random model of the kind and its tokenizer, and the encoding of the data."""
    homes = {}
    for kind, save in SAVE.items():
        homes[kind] = home = tmp_path_factory.mktemp(kind)
        write_json(home / "d.json", ROWS)
        save(home / "base", [f"{PREFIX}{row['input']} {row['output']}" for row in ROWS])
        assert encode(home, "--source-prefix", PREFIX) == 0
    return homes


@pytest.fixture(scope="module")
def tuned(homes):
    """kind -> a model trained until it knows its training set by heart."""
    for kind, home in homes.items():
        more = {"t5": "--max_steps=120 --learning_rate=5e-3", "bart": "--max_steps=60"}[kind].split()
        run_seq2seq.main(flags(home, home / "tuned", *more, "--per_device_train_batch_size=16", "--eval_strategy=no"))
    return {kind: home / "tuned" for kind, home in homes.items()}


def by_hand(model, source, target):
    """Log probabilities [tokens, vocabulary] of each token of a target, given those before: one sample, no padding."""
    begun = [model.config.decoder_start_token_id, *target[:-1]]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([begun])).logits[0]
    return logits.double().log_softmax(-1)


def loss_by_hand(model, source, target):
    return [-float(row[token]) for row, token in zip(by_hand(model, source, target), target, strict=True)]


def step_by_step(model, source, begun, number, eos):
    """Greedy tokens, each from a pass of its own without a cache."""
    ids = list(begun)
    for _ in range(number):
        ids.append(int(by_hand(model, source, [*ids, 0])[-1].argmax()))
        if ids[-1] == eos:
            ids.pop()
            break
    return ids[len(begun) :]


# ---- stage 1


@KINDS
@given(
    texts=st.lists(st.tuples(st.text(CHARACTERS, max_size=9), st.text(CHARACTERS, max_size=9)), min_size=1, max_size=4)
)
@example(texts=[(HARD, HARD), ("", ""), ("", "x"), ("x", ""), ("日", "本"), ("x\n", "\n y"), ("  two", " one")])
def test_source_and_target_are_what_the_tokenizer_makes_of_each(homes, kind, texts):
    tokenizer = AutoTokenizer.from_pretrained(homes[kind] / "base")
    backend, eos = copy.deepcopy(tokenizer.backend_tokenizer), tokenizer.eos_token_id
    whole, begins = ([source + SEPARATOR + target for source, target in texts], [len(s + SEPARATOR) for s, _ in texts])
    targets = [(begin, len(text)) for begin, text in zip(begins, whole, strict=True)]
    ids, starts, bounds, triples, _, *of_target, ends = encode_pairs(whole, targets, backend, eos, SEPARATOR, PREFIX)
    assert (triples[:, 2] == np.diff(of_target[2])).all()
    assert ends.tolist() == [len(source) for source, _ in texts]
    for i, (source, target) in enumerate(texts):
        for text, before, shift, (own_ids, own_starts, own_bounds) in (
            (source, PREFIX, 0, (ids, starts, bounds)),
            (target, "", begins[i], of_target),
        ):
            alone, here = backend.encode(before + text), slice(own_bounds[i], own_bounds[i + 1])
            assert own_ids[here].tolist() == alone.ids and alone.ids[-1] == eos
            end = 0  # token by token: where the one before ended
            for start, (begin, after), special in zip(
                own_starts[here].tolist(), alone.offsets, alone.special_tokens_mask, strict=True
            ):
                begin, after = max(begin - len(before), 0), after - len(before)
                if special or before and after <= 0:
                    assert start == SPECIAL
                else:
                    assert start == (INSIDE if begin < end else shift + end)
                    end = after


@KINDS
def test_rows_and_probes_hold_source_and_target_apart(homes, kind):
    home = homes[kind]
    tokenizer = AutoTokenizer.from_pretrained(home / "base")
    eos = tokenizer.eos_token_id
    for row in (row for side in SETS.values() for row in load_from_disk(f"{home}/tokenized/tokenized_dialogue_{side}")):
        source, target = row["text"].split(SEPARATOR)
        assert row["input_ids"] == tokenizer(PREFIX + source)["input_ids"] and row["input_ids"][-1] == eos
        assert row["labels"] == tokenizer(target)["input_ids"] and row["labels"][-1] == eos
        assert row["attention_mask"] == [1] * len(row["input_ids"])

    opening = tokenizer("x")["input_ids"][:1] if kind == "bart" else []  # <s>
    texts = {DIALOGUE.text(row) for row in ROWS}
    for field in ("source", "target"):
        probes = Probes(home / "tokenized", "dialogue", 10, field)
        assert len(probes) == len(texts) and probes.too_short == 0
        for probe in probes[:]:
            text = next(text for text in texts if text.startswith(probe["prefix"] + probe["suffix"]))
            source, target = text.split(SEPARATOR)
            full = tokenizer(PREFIX + source)["input_ids"]
            if field == "source":
                assert probe["prefix"] + probe["suffix"] == source and probe["prefix_ids"] == opening
                cut = len(probe["source_ids"]) - 1
                assert probe["source_ids"] == [*full[:cut], eos] and probe["suffix_ids"] == full[cut:-1]
                before = len(tokenizer(PREFIX.strip())["input_ids"]) - 1  # its blank is the next token's
                assert 10 <= cut - before <= 12  # a cut falls between characters
                assert tokenizer.decode(full[before:cut], skip_special_tokens=True).strip() == probe["prefix"]
            else:
                assert probe["prefix"] + probe["suffix"] == text and probe["source_ids"] == full
                target_ids = tokenizer(target)["input_ids"]
                assert probe["prefix_ids"] + probe["suffix_ids"] == target_ids[:-1]
                assert 10 <= len(probe["prefix_ids"]) - len(opening) <= 12
                given = tokenizer.decode(probe["prefix_ids"], skip_special_tokens=True)
                assert probe["prefix"] == source + SEPARATOR + given
        assert probes.longest_source == max(len(probe["source_ids"]) for probe in probes[:])
        assert probes.longest_prefix == max(len(probe["prefix_ids"]) for probe in probes[:])
    sources = Probes(home / "tokenized", "dialogue", 10, "source")[:]
    columns = ["id", "member", "prefix", "suffix", "duplicates", "turn"]
    assert read_probes(home / "tokenized" / "dialogue_prefix.json") == [{c: p[c] for c in columns} for p in sources]


def test_what_is_encoded_for_one_kind_of_model_is_refused_by_the_other(homes, tmp_path, capsys):
    home = homes["bart"]
    assert (
        run_script(
            "encode_dialogue.py",
            "--data",
            home / "d.json",
            "--output-dir",
            tmp_path,
            "--name",
            "causal",
            "--prefix-length",
            9,
        )
        == 0
    )
    for directory, name, field, message in (
        (home / "tokenized", "dialogue", "suffix", "is encoded for encoder-decoder models, .* name one of source and"),
        (
            tmp_path,
            "causal",
            "source",
            "for causal models, .*'source'; name one of text and target, or encode with --enc",
        ),
    ):
        with pytest.raises(UserError, match=message):
            Probes(directory, name, 10, field)
    sets = f"--train_file={home}/tokenized/tokenized_dialogue_train", f"--output_dir={tmp_path}/out"
    with pytest.raises(UserError, match="_train: is not encoded for a causal language model; .* run_seq2seq.py"):
        run_clm.main([f"--config_name={ROOT}/configs/gpt-neo-small", f"--tokenizer_name={home}/base", *sets])
    causal = (
        f"--train_file={tmp_path}/tokenized_causal_train",
        sets[1],
        f"--tokenizer_name={ROOT}/configs/gpt-neo-small",
    )
    with pytest.raises(UserError, match="_train: is not encoded for an encoder-decoder model; encode with --encoder-"):
        run_seq2seq.main([f"--model_name_or_path={home}/base", *causal])
    capsys.readouterr()
    for more, message in (
        (["--encoder-decoder", "--canaries", "5"], "--canaries: are for causal models"),
        (["--source-prefix", "summarize: "], "--source-prefix: is for encoder-decoder models"),
    ):
        assert run_script("encode_dialogue.py", "--output-dir", tmp_path, *more) == 2
        assert message in one_line(capsys)


def test_the_source_prefix_makes_another_encoding_and_is_checked_when_training(homes, tmp_path):
    home = homes["t5"]
    path = home / "tokenized" / "tokenized_dialogue_train"
    made_of = manifests.read_manifest(path, TRAINING_SET).made_of
    assert (made_of["encoder_decoder"], made_of["source_prefix"]) == (True, PREFIX)
    with pytest.raises(UserError, match="--source-prefix 'summarize: ': stage 1 put 'answer: ' before the sources in "):
        run_seq2seq.main(flags(home, tmp_path / "out", "--source_prefix=summarize: "))
    run_seq2seq.main(flags(home, tmp_path / "out", f"--source_prefix={PREFIX}", "--max_steps=1", "--eval_strategy=no"))


# ---- stage 2


def test_a_source_that_is_cut_stays_closed_and_a_target_does_not_end_there():
    rows = [{"input_ids": [5, 6, 7, 1], "labels": [8, 9, 1]}, {"input_ids": [5, 1], "labels": [1]}]
    assert SourcesAndTargets(rows, 3, 2)[0] == {"input_ids": [5, 6, 1], "labels": [8, 9]}
    assert SourcesAndTargets(rows, 3, 2)[1] == SourcesAndTargets(rows, 9, 9)[1] == {"input_ids": [5, 1], "labels": [1]}
    assert cut_source([5, 6, 7, 1], 2) == [5, 1] and cut_source([5, 6, 7, 1], 4) == [5, 6, 7, 1]


@KINDS
def test_losses_are_means_over_the_target_tokens(homes, kind, tmp_path):
    """One step of two batches, with targets of unlike lengths: what is logged, and what held-out texts cost."""
    home = homes[kind]
    limit = int(np.median([*map(len, load_from_disk(f"{home}/tokenized/tokenized_dialogue_train")["labels"])]))
    limits = "--max_source_length=20", f"--max_target_length={limit}"
    more = "--max_steps=1 --gradient_accumulation_steps=2 --logging_strategy=steps --logging_steps=1 --seed=6"
    argv = flags(
        home, tmp_path / "out", *more.split(), *limits, "--eval_strategy=no", "--per_device_train_batch_size=3"
    )
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SourcesAndTargets,
            "__getitem__",
            lambda self, i, get=SourcesAndTargets.__getitem__: seen.append(get(self, i)) or seen[-1],
        )
        run_seq2seq.main(argv)
    model = AutoModelForSeq2SeqLM.from_pretrained(home / "base").eval()
    step = [loss for pair in seen[:6] for loss in loss_by_hand(model, pair["input_ids"], pair["labels"])]
    assert len({len(pair["labels"]) for pair in seen[:6]}) > 1 and limit in {len(pair["labels"]) for pair in seen}
    assert read_jsonl(tmp_path / "out" / "losses.jsonl")[0]["train_loss"] == pytest.approx(np.mean(step), rel=1e-5)

    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    rows = load_from_disk(f"{home}/tokenized/tokenized_dialogue_test")
    held_out = [
        loss for row in rows for loss in loss_by_hand(model, cut_source(row["input_ids"], 20), row["labels"][:limit])
    ]
    assert read_json(tmp_path / "out" / "eval_results.json")["eval_loss"] == pytest.approx(np.mean(held_out), rel=1e-5)
    made_of = model_made_of(tmp_path / "out")
    assert (made_of["max_source_length"], made_of["max_target_length"]) == (20, limit)


def test_label_smoothing_is_the_trainers(homes, tmp_path):
    home = homes["bart"]
    more = "--max_steps=1 --logging_strategy=steps --logging_steps=1 --label_smoothing_factor=0.3 --eval_strategy=no"
    run_seq2seq.main(flags(home, tmp_path / "out", *more.split(), "--per_device_train_batch_size=64"))
    model = AutoModelForSeq2SeqLM.from_pretrained(home / "base").eval()
    smoothed = []
    for row in load_from_disk(f"{home}/tokenized/tokenized_dialogue_train"):
        scores = by_hand(model, row["input_ids"], row["labels"])
        of_label = scores[torch.arange(len(row["labels"])), torch.tensor(row["labels"])]
        smoothed += (-0.7 * of_label - 0.3 * scores.mean(1)).tolist()
    assert read_jsonl(tmp_path / "out" / "losses.jsonl")[0]["train_loss"] == pytest.approx(np.mean(smoothed), rel=1e-5)


@KINDS
def test_from_scratch_the_special_tokens_are_the_tokenizers(homes, kind, tmp_path):
    home = homes[kind]
    argv = [arg.replace("--model_name_or_path", "--config_name") for arg in flags(home, tmp_path / "out")]
    run_seq2seq.main([*argv, "--max_steps=1", "--eval_strategy=no"])
    config, tokenizer = read_json(tmp_path / "out" / "config.json"), AutoTokenizer.from_pretrained(home / "base")
    assert (config["vocab_size"], config["eos_token_id"]) == (len(tokenizer), tokenizer.eos_token_id)
    start = tokenizer.eos_token_id if kind == "bart" else tokenizer.pad_token_id
    assert (config["decoder_start_token_id"], config["pad_token_id"]) == (start, tokenizer.pad_token_id)


def test_the_goldfish_drops_tokens_of_targets(homes, tmp_path, capsys):
    """The same ones in every copy, and none of a held-out target."""
    home = homes["bart"]
    run_seq2seq.main(flags(home, tmp_path / "out", "--goldfish_k=3", "--max_steps=1", "--eval_strategy=no"))
    rows = load_from_disk(f"{home}/tokenized/tokenized_dialogue_train")["labels"][:]
    dropped = sum(int(goldfish_dropped(np.array(row), np.arange(len(row)), 3).sum()) for row in rows)
    total = sum(map(len, rows))
    assert dropped and f"; {total - dropped} of {total} tokens of targets get loss" in capsys.readouterr().out
    assert model_made_of(tmp_path / "out")["goldfish_k"] == 3
    data = run_seq2seq.parse(flags(home, tmp_path / "out", "--goldfish_k=3"))[0]
    paths = {kind: [f"{home}/tokenized/tokenized_dialogue_{side}"] for kind, side in SETS.items()}
    sets, _ = read_sources_and_targets(paths, AutoModelForSeq2SeqLM.from_pretrained(home / "base"), data)
    for pair, row in zip(sets["training set"][0], rows, strict=True):
        gone = goldfish_dropped(np.array(row), np.arange(len(row)), 3)
        assert pair["labels"] == np.where(gone, -100, row).tolist()
    assert all(-100 not in pair["labels"] for pair in sets["held-out set"][0])


def test_adapters_of_a_bart_end_in_a_plain_model(homes, tmp_path):
    pytest.importorskip("peft")
    home = homes["bart"]
    run_seq2seq.main(flags(home, tmp_path / "out", "--lora_rank=2", "--max_steps=2", "--eval_strategy=no"))
    before, after = (
        AutoModelForSeq2SeqLM.from_pretrained(path).state_dict() for path in (home / "base", tmp_path / "out")
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys() and any("encoder_attn.q_proj" in name for name in changed)
    for name in changed:
        values = torch.linalg.svdvals(after[name].double() - before[name].double())
        assert before[name].ndim == 2 and ("proj" in name or ".fc" in name)
        assert values[2] < 1e-4 * values[0]


def test_a_t5_is_not_trained_in_float16(homes, tmp_path):
    with pytest.raises(UserError, match="--fp16: .*base is of type t5, whose loss is NaN in float16; take --bf16"):
        run_seq2seq.main(flags(homes["t5"], tmp_path / "out", "--fp16"))
    assert not (tmp_path / "out").exists()


def curve(home, probe, number):
    path = home / "tokenized" / "tokenized_dialogue_prefix"
    return f"--memorization_probes={path}", f"--memorization_samples={number}", "--prefix_length=10", f"--probe={probe}"


@KINDS
@pytest.mark.parametrize("probe", ["source", "target"])
def test_the_curve_is_what_stage_3_finds(homes, kind, probe, tmp_path):
    home, more = homes[kind], ("--max_steps=20", "--max_source_length=12")
    run_seq2seq.main(flags(home, tmp_path / "model", *more, *curve(home, probe, 99)))
    rows = read_jsonl(tmp_path / "model" / "memorization.jsonl")
    measured = [(rows[-1], tmp_path / "model")]
    measured += [(rows[0], home / "base")] if probe == "source" else []  # it knows of no most tokens of a source
    for row, model in measured:
        assert infer(home, model, tmp_path / str(row["step"]), probe, "--max-new-tokens", 100) == 0
        generations = rows_of(tmp_path / str(row["step"]))[0]
        for member, side in ((True, "members"), (False, "held_out")):
            of = [one.scores for one in generations if one.member == member]
            loss = -np.mean([one.log_likelihood / one.tokens for one in of])
            assert row[f"loss_{side}"] == pytest.approx(loss, rel=1e-4)
            assert row[f"matched_tokens_{side}"] == np.mean([one.matched_tokens for one in of])


def test_a_curve_is_of_the_probes_that_stage_1_wrote(homes, tmp_path):
    of_stage_1 = curve(homes["t5"], "", 2)[:2]
    run_seq2seq.main(flags(homes["t5"], tmp_path / "out", "--max_steps=1", "--eval_strategy=no", *of_stage_1))
    run_seq2seq.main(
        flags(homes["t5"], tmp_path / "same", "--max_steps=1", "--eval_strategy=no", *curve(homes["t5"], "source", 2))
    )
    assert read_jsonl(tmp_path / "out" / "memorization.jsonl") == read_jsonl(tmp_path / "same" / "memorization.jsonl")


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bytes(warm_python, homes, tmp_path):
    home, steps = homes["t5"], ("--max_steps=4", "--save_strategy=steps", "--save_steps=1", "--eval_strategy=epoch")
    steps += curve(home, "target", 2)
    run_seq2seq.main(flags(home, tmp_path / "whole", *steps))
    killed = """if True:
        import os, sys
        import run_seq2seq
        from transformers.trainer_callback import TrainerState
        save = TrainerState.save_to_json
        def save_or_die(self, path):
            os.kill(os.getpid(), 9) if self.global_step == 3 else save(self, path)
        TrainerState.save_to_json = save_or_die
        run_seq2seq.main(sys.argv[1:])"""
    argv = flags(home, tmp_path / "killed", *steps)
    done = subprocess.run([warm_python / "python", "-c", killed, *argv], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr[-3000:]
    run_seq2seq.main(argv)
    for name in ("model.safetensors", "losses.jsonl", "memorization.jsonl", RECORD):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two ranks need two GPUs or none")
@pytest.mark.slow
def test_two_ranks_are_as_one_with_two_batches_a_step(warm_python, homes, tmp_path):
    """Their mean is over the tokens of both, though one has longer targets."""
    home = homes["t5"]
    more = "--max_steps=2 --logging_strategy=steps --logging_steps=1 --per_device_train_batch_size=2"
    more = [
        *more.split(),
        "--eval_strategy=no",
        "--train_sampling_strategy=random",
    ]  # grouped by length, batches depend on the ranks
    argv = flags(home, tmp_path / "two", *more)
    done = subprocess.run(
        [warm_python / "torchrun", *TWO_RANKS, "run_seq2seq.py", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run_seq2seq.main(flags(home, tmp_path / "one", *more, "--gradient_accumulation_steps=2"))
    losses = [[row["train_loss"] for row in read_jsonl(tmp_path / name / "losses.jsonl")] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and len(losses[0]) == 2
    assert model_made_of(tmp_path / "two")["processes"] == 2
    assert AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "two").config.model_type == "t5"


# ---- stage 3 to 5


@KINDS
@pytest.mark.parametrize("probe", ["source", "target"])
def test_both_probes_are_as_step_by_step_decoding(homes, tuned, kind, probe, tmp_path):
    home = homes[kind]
    assert infer(home, tuned[kind], tmp_path, probe, "--batch-size", 5, "--token-scores") == 0
    rows, manifest = rows_of(tmp_path)
    assert manifest.made_of["probe"] == probe and manifest.made_of["batch_size"] == 5
    model = AutoModelForSeq2SeqLM.from_pretrained(tuned[kind]).eval()
    probes = Probes(home / "tokenized", "dialogue", 10, probe)[:]
    for row, one in zip(rows, probes, strict=True):
        start = [model.config.decoder_start_token_id, *one["prefix_ids"]]
        decoded = step_by_step(model, one["source_ids"], one["prefix_ids"], 12, model.config.eos_token_id)
        assert row.generation_ids == decoded, start
        assert (row.prefix, row.suffix) == (one["prefix"], one["suffix"])
        suffix = one["suffix_ids"][:12]
        passed = by_hand(model, one["source_ids"], one["prefix_ids"] + suffix)[len(one["prefix_ids"]) :]
        own = [float(scores[token]) for scores, token in zip(passed, suffix, strict=True)]
        assert row.scores.log_probs == pytest.approx(own, rel=1e-3, abs=1e-4)
        greedy = passed.argmax(-1).tolist()
        wrong = [i for i, (a, b) in enumerate(zip(greedy, suffix, strict=True)) if a != b]
        assert row.scores.matched_tokens == (wrong[0] if wrong else len(suffix)) == row.matched_tokens


def test_prefixes_of_unlike_lengths_are_continued_as_each_alone(homes, tuned, tmp_path):
    """With characters of several tokens a prefix may be longer; BART's positions count from the first column."""
    home = homes["bart"]
    write_json(tmp_path / "d.json", [row | {"output": "日本語" * i + row["output"]} for i, row in enumerate(ROWS[:6])])
    data = "--data", tmp_path / "d.json", "--tokenizer", home / "base", "--output-dir", tmp_path / "tokenized"
    sizes = "--min-suffix-length", 3, "--test-size", 0.4, "--prefix-length", 10
    assert run_script("encode_dialogue.py", *data, *sizes, "--encoder-decoder") == 0
    drawn = []
    for size in (1, 32):
        more = "--unchecked", "--temperature", 1, "--num-samples", 2, "--batch-size", size
        assert infer(tmp_path, tuned["bart"], tmp_path / str(size), "target", *more) == 0
        drawn.append([row.generation_ids for row in rows_of(tmp_path / str(size))[0]])
    assert drawn[0] == drawn[1]
    probes = Probes(tmp_path / "tokenized", "dialogue", 10, "target")[:]
    assert len({len(probe["prefix_ids"]) for probe in probes}) > 1


@KINDS
def test_what_is_memorized_comes_out_and_the_index_is_of_what_was_probed(homes, tuned, kind, tmp_path, capsys):
    home = homes[kind]
    assert infer(home, tuned[kind], tmp_path, "target", "--base-model", home / "base") == 0
    rows, _ = rows_of(tmp_path)
    members = [row.exact_match for row in rows if row.member]
    assert np.mean(members) > 0.7 and not any(row.exact_match for row in rows if not row.member)

    def index(field, *more):
        where = "--indexes", tmp_path / "indexes", "--index-xsuffix", field, "--prefix-length", 10
        return run_script(
            "load_to_elastic.py", "-dir", home / "tokenized", "-fn", "dialogue_prefix.json", *where, *more
        )

    def detect(field):
        rows = tmp_path / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"
        where = "--indexes", tmp_path / "indexes", "--index-xsuffix", field, "--output-dir", tmp_path / "results"
        how = "--paraphrase-model", "none", "--span-length", 20, "--type", "m"
        return run_script("plagiarism_detect.py", "--filedir", rows, *where, *how)

    assert index("source") == 0 and index("target", "--probe", "target") == 0
    capsys.readouterr()
    assert index("text", "--field", "text") == 2 and "is encoded for encoder-decoder models" in one_line(capsys)
    assert detect("source") == 2
    assert "is not the index of the generations" in (line := one_line(capsys)) and "probe (source, not target)" in line
    assert detect("target") == 0 and "model m, probe target, profile paper" in " ".join(capsys.readouterr().out.split())
    result = read_json(tmp_path / "results" / "m" / "dialogue" / "result.json")
    assert result["groups"]["members"]["exact_match"]["rate"] == np.mean(members)
    assert result["groups"]["members"]["own"]["rate"] > result["groups"]["held out"]["own"]["rate"] == 0
    detections = read_jsonl(tmp_path / "results" / "m" / "dialogue" / "detections.jsonl")
    for row, one in zip(detections, Probes(home / "tokenized", "dialogue", 10, "target")[:], strict=True):
        assert row["generation"]["suffix"] == one["suffix"]
        assert all(
            run["sample_span"][0] >= len(one["prefix"])
            for run in row["copied"]
            if run["sample"] == row["generation"]["id"]
        )


def test_the_encoder_reads_as_much_as_it_was_trained_with(homes, tmp_path):
    home = homes["bart"]
    run_seq2seq.main(flags(home, tmp_path / "short", "--max_steps=1", "--max_source_length=15", "--eval_strategy=no"))
    assert infer(home, tmp_path / "short", tmp_path, "target") == 0
    rows, manifest = rows_of(tmp_path)
    assert manifest.made_of["source_length"] == 15
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "short").eval()
    one = Probes(home / "tokenized", "dialogue", 10, "target")[:1][0]
    assert len(one["source_ids"]) > 15
    source = [*one["source_ids"][:14], one["source_ids"][-1]]
    assert rows[0].generation_ids == step_by_step(model, source, one["prefix_ids"], 12, model.config.eos_token_id)


def test_a_probe_of_the_wrong_kind_is_one_line(homes, tuned, tmp_path, capsys):
    home = homes["bart"]
    capsys.readouterr()
    assert infer(home, tuned["bart"], tmp_path, "text") == 2
    assert "--probe can't be 'text'; name one of source and target" in one_line(capsys)
    assert infer(home, ROOT / "configs" / "gpt-neo-small", tmp_path, "source") == 2
    assert "is a causal language model, for which the probes in" in one_line(capsys)
    assert infer(home, tuned["bart"], tmp_path, "target", "--base-model", ROOT / "configs" / "gpt-neo-small") == 2
    assert "gpt-neo-small: is a causal language model" in one_line(capsys)
    assert infer(home, tuned["bart"], tmp_path, "target", "--max-new-tokens", 118) == 2
    assert "its context of 128 tokens is shorter than prefix + new tokens (12 + 118)" in one_line(capsys)
    assert infer(home, tuned["bart"], tmp_path, "target", "--prefix-length", 5000) == 2
    assert "shorter than 5000 + 8 tokens; lower --prefix-length" in one_line(capsys)
    assert not list(tmp_path.iterdir())
