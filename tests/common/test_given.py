"""The gates for texts, ids and numbers that others give."""

import json

import pytest

from xlnb.common.errors import InputError
from xlnb.common.given import comparable, given_id, given_number, given_text, is_blank

TURNS = [{"role": "user", "content": "Ask."}, {"role": "assistant", "content": "Said."}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "\u00a0\u2003",
        "\u200b\u200d\ufeff",
        "\u2060\u00ad",
        "\u3164",
        "\u2800",
        "\ufe0f",
    ],
)
def test_a_text_of_which_nothing_is_seen_is_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", ".", "\u200ba", "🙂", "ก", "\u093f", "0"])
def test_a_text_of_which_something_is_seen_is_not(text):
    assert not is_blank(text)


def test_texts_are_the_same_whatever_their_normal_form_and_their_ends():
    assert comparable("cafe\u0301 \n") == comparable("caf\u00e9") == "caf\u00e9"
    assert comparable("a b") != comparable("ab") and comparable("A") != comparable("a")


@pytest.mark.parametrize(
    "value",
    [
        # pandas' CSV, of lists and of numpy's arrays; JSON in a text; a single message
        str(TURNS),
        str(TURNS).replace("}, {", "}\n {"),
        json.dumps(TURNS),
        json.dumps(TURNS, indent=1),
        json.dumps(TURNS[0]),
        '[{"from": "human", "value": "Ask."}]',
        "array([{'content': 'Ask.', 'role': 'user'}], dtype=object)",
    ],
)
def test_a_list_of_messages_as_text_is_refused(value):
    with pytest.raises(InputError, match=r"^row 3: chosen is a list of messages written as text"):
        given_text("row 3", "chosen", value)


@pytest.mark.parametrize(
    "value",
    [
        "[1, 2]",
        "A message is {'role': 'user', 'content': 'Ask.'}",
        '[{"name": "x"}]',
        '[{"role": "user"}] is how it begins.',
        "",
    ],
)
def test_a_text_that_is_no_list_of_messages_is_taken(value):
    assert given_text("row 3", "chosen", value) == value


@pytest.mark.parametrize("value", [None, 7, ["a"], True])
def test_what_is_no_text_is_named(value):
    with pytest.raises(InputError, match=r"^row 3: chosen is .*, expected text$"):
        given_text("row 3", "chosen", value)


def test_half_a_character_is_named():
    for text in ("a\ud83d", "\udc00"):
        with pytest.raises(InputError, match=r"^row 3: chosen holds half a character"):
            given_text("row 3", "chosen", text)
        with pytest.raises(InputError, match=r"^row 3: id holds half a character"):
            given_id("row 3", "id", text)
    assert given_text("row 3", "chosen", "\U0001f642") == "\U0001f642"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"), (7, "7"), (7.0, "7"), (7.5, "7.5"), (0, "0"), ("cafe\u0301", "caf\u00e9"),
        (None, None), (float("nan"), None), ("", None), (" \u200b", None),
    ],
)  # fmt: skip
def test_an_id_is_text_and_null_is_missing(value, expected):
    assert given_id("row 3", "id", value) == expected


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, float("inf")])
def test_what_is_no_id_is_named(value):
    with pytest.raises(InputError, match=r"^row 3: id is .*, expected text or a number$"):
        given_id("row 3", "id", value)


def test_a_number_is_finite_and_no_truth_value():
    assert [given_number("row 3", "n", value) for value in (1, 1.5, "2", " 3e2 ")] == [
        1,
        1.5,
        2,
        300,
    ]
    for value in (True, False, None, "", "x", "nan", "inf", "1e400", float("-inf"), 10**400, [1]):
        with pytest.raises(InputError, match=r"^row 3: n is .*, expected a number$") as error:
            given_number("row 3", "n", value)
        assert len(str(error.value)) < 120
