"""Demonstrations in their usual forms: what is read, what is dropped and counted, what is refused."""

import pytest

from xlnb.common.errors import InputError, UnfitText
from xlnb.inputs.demonstrations import REASONS, demonstrations


def read(asked, answer):
    if "unreadable" in answer:
        raise UnfitText("it is not read back")
    return asked.split(), answer.split()


def turns(*texts):
    roles = ("user", "assistant", "user")
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def found(*rows, limit=0):
    numbered = [(f"f.jsonl, line {n}", row) for n, row in enumerate(rows, 1)]
    return demonstrations(numbered, limit, read)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": turns("Name a river.", "The Nile.")},
        {"prompt": "Name a river.", "completion": "The Nile."},
        {"prompt": turns("Name a river."), "completion": [turns("", "The Nile.")[1]]},
        {"instruction": "Name a river.", "output": "The Nile."},
        {"instruction": "Name a river.", "input": "", "output": "The Nile."},
        {"instruction": "Name a river.", "input": None, "output": "The Nile.", "lang": "en"},
    ],
)
def test_every_form_is_the_same_demonstration(row):
    given, report = found(row)
    assert given == [(["Name", "a", "river."], ["The", "Nile."])]
    assert report == {"rows": 1, "demonstrations": 1, "dropped": dict.fromkeys(REASONS, 0)}


def test_an_input_follows_its_instruction():
    given, _ = found({"instruction": "Translate.", "input": "ein Fluss", "output": "a river"})
    assert given[0].prompt == ["Translate.", "ein", "Fluss"]


def test_what_is_no_demonstration_is_dropped_and_counted():
    good = {"prompt": "a", "completion": "b"}
    given, report = found(
        good,
        {"messages": turns("a", "c", "d")},
        {"prompt": "a", "completion": " \u3000"},
        {"instruction": "a", "output": "b"},
        {"prompt": "a", "completion": "<think>d</think>e"},
        {"prompt": "a", "completion": "unreadable"},
        {"prompt": "a", "completion": "c"},
    )
    assert len(given) == 2
    assert list(report["dropped"].values()) == [1, 1, 1, 1, 1]
    assert report["rows"] == 7 == report["demonstrations"] + sum(report["dropped"].values())


def test_the_limit_counts_what_is_usable():
    rows = [{"prompt": "a", "completion": text} for text in (" ", "b", "c", "d")]
    given, report = found(*rows, limit=2)
    assert [one.response for one in given] == [["b"], ["c"]] and report["rows"] == 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a"}, "f.jsonl, line 1: key 'completion' is missing"),
        ({"text": "a"}, "f.jsonl, line 1: key 'prompt' is missing"),
        ({"prompt": "a", "completion": 3}, "line 1: completion is neither text nor a list"),
        ({"messages": [{"from": "human"}]}, "line 1: messages holds something else"),
        ({"instruction": 3, "output": "b"}, "line 1: instruction is"),
        ({"prompt": "", "completion": "b"}, "no usable one among 1 rows"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_line(row, said):
    with pytest.raises(InputError) as error:
        found(row)
    assert said in f"{error.value}" and "\n" not in f"{error.value}"
