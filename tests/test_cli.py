"""Flags at the shell: each in the documented spelling and in the published one."""

import pytest

from memorization.cli import Parser


@pytest.mark.parametrize(
    "args",
    [
        ["--output-name", "a_b", "--top-k", "3"],
        ["--output_name", "a_b", "--top_k=3"],
        ["--output_name=a_b", "--top-k=3"],
        ["--output_n", "a_b", "--top_k", "3"],
    ],
)
def test_every_flag_has_the_documented_and_the_published_spelling(args):
    parser = Parser("")
    parser.add_argument("--output-name")
    parser.add_argument_group("sampling").add_argument("--top-k", type=int)
    assert vars(parser.parse_args(args)) == {"output_name": "a_b", "top_k": 3}


def test_a_value_keeps_its_underscores_and_an_unknown_flag_gets_one_line(capsys):
    parser = Parser("")
    parser.add_argument("--output-name")
    assert parser.parse_args(["--output_name=a_b=c_d"]).output_name == "a_b=c_d"
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--no_such_flag"])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
