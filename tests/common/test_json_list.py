"""A long JSON list, read value by value: what `read_json` gives, or the same error."""

import json

import pytest
from damage import DAMAGED, damaged
from hypothesis import given
from hypothesis import strategies as st

from xlnb.common import json_list
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, write_json
from xlnb.common.json_list import each_value

VALUES = [{"a": "ü\u2028😀 ]", "b": [1, {"c": None}]}, 12345, "x,[", [], True, -0.5, {}, 67]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("lists") / "values.json"


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_is_read_value_by_value_wherever_its_pieces_end(path, monkeypatch, piece, indent):
    monkeypatch.setattr(json_list, "PIECE", piece)
    text = json.dumps(VALUES, ensure_ascii=False, indent=indent)
    path.write_text(f"\ufeff \n{text}\n\n")
    assert list(each_value(path, "things")) == VALUES


def test_no_more_is_read_than_is_taken(path, monkeypatch):
    monkeypatch.setattr(json_list, "PIECE", 10)
    path.write_text(f"[1, 2, {'7' * 100}, nonsense")
    values = each_value(path, "things")
    assert [next(values), next(values)] == [1, 2]


@pytest.mark.parametrize("text", ["{}", "7", "[]", " [ ] ", '"[1]"', "null"])
def test_what_is_no_list_or_empty_is_refused(path, text):
    path.write_text(text)
    with pytest.raises(InputError, match=r"values\.json: expected a JSON list of things$"):
        list(each_value(path, "things"))


def outcome(read):
    """What is read, or the line that says why it is not."""
    try:
        return read()
    except InputError as error:
        return f"{error}"


@DAMAGED
@given(data=st.data(), piece=st.integers(1, 50))
def test_a_damaged_list_gives_the_values_or_the_line_that_the_whole_file_gives(path, data, piece):
    write_json(path, VALUES)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_list, "PIECE", piece)
        by_value = outcome(lambda: list(each_value(path, "things")))
    whole = outcome(lambda: read_json(path))
    if (isinstance(whole, list) and not whole) or not isinstance(whole, list | str):
        whole = f"{path}: expected a JSON list of things"
    assert repr(by_value) == repr(whole)
