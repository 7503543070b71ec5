"""The stages as commands on tiny data; the fixture `fork_server` runs them.

A command is (script, arguments); it writes into `work`, beside which lies what it reads. Another seed: another result.
"""

import json
import shutil

from memorization.encoding.made_up import make_dialogues
from support.command_line import ROOT
from support.fork_server import ForkServer
from support.tiny_models import save_language_model

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
CANARIES = "--canaries", 2, "--canary-copies", "1,2", "--canary-digits", 2
MEASURED = ("runtime", "per_second")  # endings of the names of figures that no two runs have in common


def encode(work, seed):
    return (
        "encode_dialogue.py",
        "--data",
        work.parent / "d.json",
        "--seed",
        seed,
        *CANARIES,
        "--output-dir",
        work,
        "--overwrite",
    )


def train(work, seed, *more):
    sets = [work.parent / "b" / f"tokenized_dialogue_{side}" for side in ("train", "test")]
    data = "--model-name-or-path", work.parent / "base", "--train-file", sets[0], "--validation-file", sets[1]
    size = "--max-steps", 2, "--per-device-train-batch-size", 4, "--block-size", 48, "--seed", seed
    saves = "--save-strategy", "steps", "--save-steps", 1, "--save-total-limit", 1
    return "run_clm.py", *data, *size, *saves, "--output-dir", work / "model", *more


def train_over(work, seed):
    return train(work, seed, "--overwrite-output-dir")


def generate(work, seed):
    model = "--model-path", work.parent / "base", "--tokenized-dir", work.parent / "b"
    size = "--max-new-tokens", 4, "--batch-size", 8, "--temperature", 1, "--seed", seed
    return "inference_prefix.py", *model, *size, "--output-dir", work, "--overwrite"


def compare(work, seed):
    """The same beside a base model, greedy."""
    model = "--model-path", work.parent / "base", "--base-model", work.parent / "before"
    size = "--tokenized-dir", work.parent / "b", "--max-new-tokens", 3 + seed, "--batch-size", 8
    return "inference_prefix.py", *model, *size, "--output-dir", work, "--overwrite"


def index(work, seed, encoding="b"):
    where = "--indexes", work, "--index-xsuffix", "i", "--prefix-length", 49 + seed
    return "load_to_elastic.py", "-dir", work.parent / encoding, "-fn", "dialogue_prefix.json", *where


def detect(work, seed):
    rows = work.parent / "generated" / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"
    what = "--filedir", rows, "--type", "m", "--paraphrase-model", "none", "--span-length", 50 + seed
    where = "--indexes", work.parent / "indexes", "--index-xsuffix", "i", "--output-dir", work
    return "plagiarism_detect.py", *what, *where, "--overwrite"


def align(work, seed):
    profile = "paper" if seed == 1 else "pan"
    pairs = "--pairs", work.parent / "pairs.jsonl", "--profile", profile
    return "plagiarism_detect.py", *pairs, "--jobs", 2, "--output", work / "out.jsonl"


def report(work, seed):
    return "report.py", work.parent / f"detected-{seed}" / "m" / "dialogue", "--output", work / "report"


STAGES = [encode, train, train_over, generate, index, detect, align, report]


def prepared(python, home):
    """A ForkServer in a directory, in which the stages have written what they read."""
    (home / "d.json").write_text(json.dumps(make_dialogues(seed=3, single=20, fourfold=2, sixteenfold=0)))
    text = "The doctor said that the patient should take two pills a day, and then rest for a week at the least. "
    pairs = [{"id": i, "suspicious": text * 2 + str(i), "source": f"Number {i}. {text * 2}"} for i in range(100)]
    (home / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    save_language_model(home / "base", TOKENIZER)
    save_language_model(home / "before", TOKENIZER, seed=1)
    fork_server = ForkServer(python, home)
    made = [(encode, 1, "b"), (generate, 1, "generated"), (index, 1, "indexes"), (detect, 1, "detected-1")]
    for stage, seed, name in [*made, (detect, 2, "detected-2")]:
        run = fork_server.run(stage(fork_server.work, seed), home)
        assert run.status == 0, run.output
        fork_server.work.rename(home / name)
        fork_server.work.mkdir()
    return fork_server


def contents(directory):
    """Path -> contents of all files below a directory (None: a directory), without what is measured or drawn."""
    return {path.relative_to(directory).as_posix(): _content(path) for path in directory.rglob("*")}


def _content(path):
    if path.is_dir():
        return None
    content = path.read_bytes()
    if path.suffix != ".json" or path.name == "dialogue_prefix.json":
        return content
    left_out = (*MEASURED, *(("trainer_state.json",) if path.name == "sha256.json" else ()))  # a hash of such figures
    kept = lambda pairs: {name: value for name, value in pairs if not name.endswith(left_out)}  # noqa: E731
    return json.loads(content, object_pairs_hook=kept)


def temporaries(directory):
    """The names below a directory under which files.py keeps what is to go again."""
    return [name for name in contents(directory) if ".memorization-" in name]


def renew(work, before=None):
    shutil.rmtree(work)
    shutil.copytree(before, work) if before else work.mkdir()
