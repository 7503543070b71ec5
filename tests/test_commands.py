"""The commands of README and docs run: as they stand, on tiny data and models where theirs are large.

A page's commands run in a directory of their own, in order, after the paper's five commands.
"""

import fcntl
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import peft
import pytest
from transformers import AutoModelForCausalLM

from memorization.encoding.made_up import make_articles, make_dialogues, make_reviews, make_translations
from memorization.encoding.probes import Probes, read_probes
from memorization.store.files import read_json
from support.command_line import ROOT, read_jsonl, run_script
from support.documented_commands import PAGES, commands
from support.made_up_chats import chat_tokenizer, learn, made_up_chats, random_chat_model, save_chats
from support.multilingual_data import dialogues, questions
from support.tiny_models import save_language_model, save_paraphrase_classifier, save_t5
from support.training_runs import free_port

pytestmark = pytest.mark.slow

# design: The paper's commands keep working
PAPER = """\
python encode_dialogue.py
deepspeed --num_gpus=4 run_clm.py --deepspeed ds_config.json --model_name_or_path ./gpt-neo-1.3B --train_file ./tokenized_data/tokenized_dialogue_train --validation_file ./tokenized_data/tokenized_dialogue_test --model_type gptneo --do_train --overwrite_cache --overwrite_output_dir --output_dir ./finetuned_models/finetuned_dialogue_gptneo_1.3B --num_train_epochs 20 --gradient_accumulation_steps 2 --per_device_train_batch_size 8 --learning_rate 2e-05 --save_total_limit 20 --save_strategy epoch --block_size 1028 --seed 5 --warmup_steps 10
python inference_prefix.py --model-path ./finetuned_models/finetuned_dialogue_gptneo_1.3B --token-path ./gpt-neo-1.3B --output_name dialogue --subset_name dialogue --dir_name finetuned_dialogue
python load_to_elastic.py -dir ./tokenized_data/ -fn dialogue_prefix.json --index-xsuffix dialogue_suffix
python plagiarism_detect.py -filedir ./memorization_finetuned_dialogue/dialogue/dialogue.txt -type gpt-neo-1.3B -dataset dialogue --index-xsuffix dialogue_suffix
""".splitlines()  # noqa: E501

SMALLER = {  # part of a command -> what stands for it here
    "--num_gpus=4": "--num_gpus=2",
    "--nproc-per-node 4": "--nproc-per-node 2",
    "--num_train_epochs 20": "--num_train_epochs 1",
    "--task_weights 1,2": "--task_weights 1,2 --max_steps 3",
    "--fsdp": "--fsdp --max_steps 3",
    "EPOCHS=3": "EPOCHS=1",
    "bash runs/real_model.sh": "BASE=./qwen-tuned bash runs/real_model.sh",
    "make demo": "bash runs/demo.sh",
    "attention_analysis.py": "attention_analysis.py --matched-tokens 1",
    ".venv/bin/": "",
    "- run: ": "",
}
RECIPES = {"EPOCHS": "1", "TOKENS": "1000", "SAMPLES": "20", "DATA": "dialogues.json", "DIALOGUE": "dialogues.json"}
RECIPES |= {"QA": "squad-dev.json", "SUMMARIZATION": "dialogsum.jsonl"}
RECIPES |= {"TRANSLATION": "translations.json", "CLASSIFICATION": "reviews.json"}
WRITES = {  # beginning of a script's name -> the directories with its results and with what is of no use without them
    "encode_": ("tokenized_data", "indexes"),
    "run_": ("finetuned_models",),
    "inference_prefix": ("memorization_*",),
    "load_to_elastic": ("indexes",),
    "plagiarism_detect": ("results",),
    "audit": ("audit",),
}
BEFORE = {"attention.md": ["make demo"]}  # page -> commands of other pages whose results it takes
ELSEWHERE = {  # command -> why it is not run here
    "make setup": "installs",
    "make lint": "runs beside the tests",
    "make test": "runs the tests",
    "make test-slow": "runs this test",
    "make fuzz": "runs the tests",
    "ELASTIC_TEST_URL=http://localhost:9200 make test-slow": "runs this test",
    "make demo ELASTIC_URL=http://localhost:9200": "needs a server; test_load_to_elastic.py runs stage 4 with one",
    "python encode_titles.py --data papers.jsonl": "of a task that a reader writes; test_encoding_tasks.py runs it",
    "python inference_prefix.py --engine said.jsonl --model-path acme/chat-7b --token-path ./gpt-neo-1.3B "
    "--max-new-tokens 100": "of generations that a reader has; test_file_engine.py runs it",
    "python audit.py --engine http://localhost:8000/v1 --model tuned --tokenizer ./qwen-tuned --train-data train.jsonl "
    "--held-out-data heldout.jsonl --output audit": "needs a server; test_endpoint.py has one",
    "python inference_prefix.py --engine http://localhost:8000/v1 --model-path tuned --token-path ./gpt-neo-1.3B": (
        "needs a server; test_endpoint.py has one"
    ),
    "python benchmarks/known_answers.py --languages": "takes minutes; test_known_answers.py runs what it is made of",
    "python inference_prefix.py --engine vllm --model-path ./llama-70b-tuned --base-model ./llama-70b --batch-size "
    "128": "needs vLLM; test_vllm.py runs stage 3 with it",
    ".venv/bin/python docs/picture.py demo/report/report.html docs/page.png --case case-1-29-0": "of a case",
}


@pytest.fixture(scope="module")
def paper(warm_python, tmp_path_factory):
    """A directory with the scripts, data and small models, in which the paper's five commands have run.

    All processes of the tests share it. `warm`: the programs of warm_python.
    """
    base = tmp_path_factory.getbasetemp()
    here = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "paper"
    with here.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (here / "ready").exists():
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir()
            (here / "warm").symlink_to(warm_python)
            run_papers_commands(here)
            (here / "ready").touch()
    return here


def run_papers_commands(here):
    parts = [ROOT / name for name in ("ds_config.json", "memorization", "configs", "runs", "benchmarks")]
    for path in [*parts, *ROOT.glob("*.py")]:
        (here / path.name).symlink_to(path)
    write_data(here)
    tokenizer = ROOT / "configs" / "gpt-neo-small"
    for name in ("gpt-neo-1.3B", "gpt-neo-125m", "llama-3-8b"):
        save_language_model(here / name, tokenizer)
    write_chat_model(here)
    for name, base in (("lora-a", "llama-3-8b"), ("lora-b", "llama-3-8b"), ("lora", "qwen-tuned")):
        save_adapter(here / name, here / base)
    save_t5(here / "flan-t5-base", [row["summary"] + row["document"] for row in make_articles(1, 20, 0, 0)])
    save_paraphrase_classifier(here / "textattack" / "roberta-base-MRPC", tokenizer)
    for command in [*PAPER, "python encode_qa.py"]:
        run(command, here)
    write_probe_file(here)
    for name in ("gpt-neo-125m", "gpt-neo-small"):
        shutil.copytree(here / "results" / "gpt-neo-1.3B", here / "results" / name)


def write_data(here):
    rows = make_dialogues(seed=3, single=24, fourfold=2, sixteenfold=0)
    for name in ("dialogues.json", "HealthCareMagic-100k.json", "chatdoctor5k.json"):
        (here / name).write_text(json.dumps(rows))
    for name, seed, single in (("trained", 5, 24), ("unseen", 6, 12)):
        of_side = make_dialogues(seed=seed, single=single, fourfold=0, sixteenfold=0)
        (here / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of_side))
    chinese = "".join(f'"","{row["input"]}","{row["output"]}"\n' for row in dialogues("Chinese", 20, 1))
    (here / "dialogues.csv").write_text(f"instruction,input,output\n{chinese}", encoding="gbk")
    summaries = [{"dialogue": row["document"], "summary": row["summary"]} for row in make_articles(2, 14, 0, 0)]
    (here / "dialogsum.jsonl").write_text("".join(json.dumps(row) + "\n" for row in summaries))
    (here / "translations.json").write_text(json.dumps(make_translations(2, 14, 0, 0)))
    (here / "reviews.json").write_text(json.dumps(make_reviews(2, 14, 0, 0)))
    (here / "squad-dev.json").write_text(json.dumps(questions(passages=12, each=2, seed=1)))
    for side, field in (("de", "source"), ("en", "target")):
        (here / f"val.{side}").write_text("".join(row[field] + "\n" for row in make_translations(1, 14, 0, 0)))
    reviews = "".join(f'"{row["text"]}",{number % 2}\n' for number, row in enumerate(make_reviews(1, 14, 0, 0)))
    (here / "sst2.csv").write_text(f"sentence,label\n{reviews}")
    text = "The doctor said that the patient should take two pills a day, and then rest for a week. " * 2
    (here / "pairs.jsonl").write_text(json.dumps({"id": 1, "suspicious": text, "source": text}) + "\n")


def write_chat_model(here):
    """Chats to train on and held out, and a model that has learned a little of the first."""
    train, held_out = list(made_up_chats(24)), list(made_up_chats(12, 100))
    for message in (message for chat in train + held_out for message in chat):
        if message["content"].startswith("Box"):  # an own run takes 50 characters
            message["content"] += " Nobody has opened it since the house was built."
    save_chats(here / "train.jsonl", train)
    save_chats(here / "heldout.jsonl", held_out)
    tokenizer = chat_tokenizer(train)
    model = random_chat_model(tokenizer)
    learn(model, tokenizer, train + held_out, 12)  # its loss of both is better than a guess
    model.save_pretrained(here / "qwen-tuned")
    tokenizer.save_pretrained(here / "qwen-tuned")
    (here / "model").symlink_to("qwen-tuned")


def save_adapter(path, base):
    """A random adapter on the model in a directory, which changes little."""
    model = AutoModelForCausalLM.from_pretrained(base)
    shape = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    adapted = peft.get_peft_model(model, shape)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            weights.data *= 0.01
    adapted.save_pretrained(path)


def write_probe_file(here):
    """A file with the probes of stage 1, as an attack writes its own."""
    names = {"prompt": "prefix", "prompt_ids": "prefix_ids", "suffix": "suffix", "suffix_ids": "suffix_ids"}
    probes = Probes(here / "tokenized_data", "dialogue")[:]
    lines = (
        {name: probe[field] for name, field in [("id", "id"), ("member", "member"), *names.items()]} for probe in probes
    )
    (here / "probes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def run(command, here):
    """Run a documented command in a directory; fail if it does."""
    command = smaller(command)
    words = shlex.split(command)
    if words[0] == "python":
        assert in_directory(here, words[1:]) in ((0, 1) if "--fail-above" in words else (0,)), (
            command
        )  # 1: over a limit
    elif words[0] in ("torchrun", "deepspeed"):
        words.insert(1, f"--master_port={free_port()}")
        programs = here / "warm" if words[0] == "torchrun" else Path(sys.executable).parent
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(words, cwd=here, env=os.environ | {"PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    else:
        run_recipe(command, here)


def smaller(command):
    for part, other in SMALLER.items():
        command = command.replace(part, other)
    return command


def make_room(command, here):
    """Remove what another command wrote where this one does, which would be refused."""
    for script, directories in WRITES.items():
        if re.search(rf"\b{script}\w*\.py", command) and "--pairs" not in command:
            for directory in [path for pattern in directories for path in here.glob(pattern)]:
                shutil.rmtree(directory)


def in_directory(here, words):
    """The exit status of `python *words`, run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        return run_script(*shlex.split(smaller(shlex.join(words))))


PYTHON = f"""#!{sys.executable} -ES
import json, os, socket, sys
if sys.argv[1] == "-c":
    os.environ["PYTHONPATH"] = {str(ROOT)!r}
    sys.argv[2] = sys.argv[2].replace("make_dialogues(1)", "make_dialogues(1, 14, 0, 0)")
    os.execv("warm/python", ["python", *sys.argv[1:]])
with socket.create_connection(("127.0.0.1", os.environ["TEST_PORT"])) as test:
    test.sendall(json.dumps([os.getcwd(), *sys.argv[1:]]).encode())
    test.shutdown(socket.SHUT_WR)
    sys.exit(int(test.recv(9)))
"""


def run_recipe(command, here):
    """Run a shell's command. This process does what the `python` that it calls is asked for: it has all imported."""
    programs = here / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "python").write_text(PYTHON)
    (programs / "python").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        environment = os.environ | RECIPES | {"PATH": f"{programs}:{os.environ['PATH']}"}
        environment["TEST_PORT"] = str(server.getsockname()[1])
        with (here / "output").open("w+") as output:
            process = subprocess.Popen(["bash", "-c", command], cwd=here, env=environment, stdout=output, stderr=output)
            while process.poll() is None:
                try:
                    client, _ = server.accept()
                except TimeoutError:
                    continue
                with client:
                    client.settimeout(None)
                    directory, *words = json.loads(client.makefile().read())
                    client.sendall(str(in_directory(directory, words)).encode())
            output.seek(0)
            assert process.returncode == 0, f"{command}\n{output.read()}"


def test_the_papers_commands_give_a_whole_result(paper):
    probes = read_probes(paper / "tokenized_data" / "dialogue_prefix.json")
    result = paper / "results" / "gpt-neo-1.3B" / "dialogue"
    detections = read_jsonl(result / "detections.jsonl")
    assert [row["generation"]["id"] for row in detections] == [probe["id"] for probe in probes]
    members = {probe["id"] for probe in probes if probe["member"]}
    assert {c["id"] for row in detections for c in row["candidates"]} <= members
    assert not {row["labels"]["label"] for row in detections} & {"unverified"}
    assert read_json(result / "result.json")["groups"]["members"]["n"] == len(members)
    evaluated = read_json(paper / "finetuned_models" / "finetuned_dialogue_gptneo_1.3B" / "eval_results.json")
    assert evaluated["eval_perplexity"] > 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page, paper, tmp_path):
    here = shutil.copytree(paper, tmp_path / "here", symlinks=True)
    own = [command for command in commands(page) if command not in ELSEWHERE and command not in PAPER]
    for command in [*BEFORE.get(page.name, []), *own]:
        make_room(command, here)
        run(command, here)


DOCUMENTED = " ".join(command for page in PAGES for command in commands(page))
OTHERS = [name for path in (ROOT / "runs").glob("*.sh") if f"runs/{(name := path.name)}" not in DOCUMENTED]


@pytest.mark.parametrize("recipe", sorted({*OTHERS} - {"common.sh"}))
def test_a_recipe_runs(recipe, paper, tmp_path):
    """Those that no page names as a whole command."""
    run(f"BASE=./gpt-neo-125m bash runs/{recipe}", shutil.copytree(paper, tmp_path / "here", symlinks=True))


def test_only_what_is_documented_is_excepted():
    assert ELSEWHERE.keys() | {*PAPER} <= {command for page in PAGES for command in commands(page)}
