"""Reading JSON object by object gives what reading it whole gives, and names the line of a mistake."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.encoding import json_objects
from memorization.encoding.json_objects import read_objects
from memorization.shell.cli import UserError


def read(path):
    return (row for _, row in read_objects(path))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "d.json"


@pytest.fixture(params=[3, 1 << 20], autouse=True)
def chunk(request, monkeypatch):
    monkeypatch.setattr(json_objects, "CHUNK", request.param)


@pytest.mark.parametrize("layout", [{}, {"indent": 2, "ensure_ascii": False}])
def test_objects_come_one_by_one(tmp_path_factory, layout):
    path = tmp_path_factory.mktemp("json") / "d.json"

    @given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=5))
    def check(objects):
        path.write_text(json.dumps(objects, **layout), encoding="utf-8")
        assert list(read(path)) == objects

    check()


@pytest.mark.parametrize("layout", [{}, {"indent": 2, "ensure_ascii": False}])
def test_objects_without_a_list_come_with_the_line_they_begin_in(tmp_path_factory, layout):
    path = tmp_path_factory.mktemp("json") / "d.json"

    @given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), min_size=1, max_size=5))
    def check(objects):
        texts = [json.dumps(each, **layout) for each in objects]
        path.write_text("\n\r\n\ufeff".join(texts), encoding="utf-8", newline="")
        lines = [1 + sum(text.count("\n") + 2 for text in texts[:n]) for n in range(len(texts))]
        assert list(read_objects(path)) == [(f"line {n}", each) for n, each in zip(lines, objects, strict=True)]

    check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n\n{broken\n', "not valid JSON at line 3: "),
        ('{"a": 1}\n{"a": "no end}\n{"a": 2}\n', "not valid JSON at line 2: Invalid control character"),
        ('{"a": 1}\n{"a": 2', "not valid JSON at line 2: "),
        ('{"a": 1},\n{"a": 2}', "not valid JSON at line 1: "),
        ('{"a": 1}\n3\n', "line 2 is not a JSON object"),
        ('{"a": 1}\n[{"a": 2}]\n', "line 2 is not a JSON object"),
    ],
)
def test_the_line_of_a_mistake_among_json_lines(path, text, message):
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        list(read(path))


@pytest.mark.parametrize("text", ["[]", " [ ]\n", '\ufeff[{"a": "\\ud83d"}]', '\r\n[\r\n{"a": 1.5e3}\r\n,{}]\r\n'])
def test_blanks_marks_and_lone_surrogates(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    assert list(read(path)) == json.loads(text.removeprefix("\ufeff"))


BAD = [
    "",
    "\n",
    "[",
    '[{"a": 1}',
    '[{"a": 1},',
    '[{"a": 1},]',
    '[{"a": 1}\n{"b": 2}]',
    '[{"a": 1},\n{"b": }]',
    '[{"a": 1},\n\n{"b": "no end}]',
    '[{"a": 1},\n{"b": "tab\t"}]',
    '[{"a": 1},\n{"b": "\\x"}]',
    '[{"a": 1},\n{"b": tru}]',
    '[{"a": 1}]\n]',
    '[{"a": 1}] [{"a": 1}]',
    '[,{"a": 1}]',
]


@pytest.mark.parametrize("text", BAD)
def test_the_line_of_a_mistake_is_the_one_json_names(path, text):
    path.write_text(text)
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    with pytest.raises(UserError, match=f"not valid JSON at line {expected.value.lineno}: "):
        list(read(path))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("NaN", "NaN is no number"),
        ("-Infinity", "-Infinity is no number"),
        ("1e999", "1e999 is no finite number"),
        ("9" * 5000, "a number of too many digits"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ('{"a": 1, "a": 1}', "'a' stands twice"),
    ],
)
def test_what_json_takes_and_no_data_has(path, value, message):
    path.write_text('[{"a": 1},\n{"b": %s}]' % value)  # noqa: UP031
    with pytest.raises(UserError, match=f"not valid JSON at line 2: {message}"):
        list(read(path))


@pytest.mark.parametrize("text", ['"a"', "3", '["a"]', '[{"a": 1}, 2]', "[[{}]]"])
def test_what_is_no_list_of_objects(path, text):
    path.write_text(text)
    with pytest.raises(UserError, match="not a list of objects"):
        list(read(path))


def test_objects_before_a_mistake_are_read_before_it_is_told(path):
    path.write_text('[{"a": 1}, {"a": 2},\n{"a"}]')
    reader = read(path)
    assert [next(reader), next(reader)] == [{"a": 1}, {"a": 2}]
    with pytest.raises(UserError, match="line 2"):
        next(reader)
