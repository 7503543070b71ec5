"""An encoding of made-up dialogues, and its index, as stages 1 and 4 write them."""

from memorization.encoding.made_up import make_dialogues
from memorization.store.files import write_json
from support.command_line import run_script


def encode_and_index(path, single, held_out):
    """Write both to a directory. single: dialogues that stand once in the data; two stand four times. held_out: the
    share that is."""
    write_json(path / "d.json", make_dialogues(seed=2, single=single, fourfold=2, sixteenfold=0))
    encode = ["--data", path / "d.json", "--output-dir", path, "--test-size", held_out]
    assert run_script("encode_dialogue.py", *encode) == 0
    index = ["-dir", path, "-fn", "dialogue_prefix.json", "--index-xsuffix", "s", "--indexes", path / "indexes"]
    assert run_script("load_to_elastic.py", *index) == 0
