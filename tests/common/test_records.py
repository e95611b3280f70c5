"""Records and their forms in files."""

import re

import pytest

from xlnb.common.errors import InputError
from xlnb.common.files import write_jsonl
from xlnb.common.records import Logps, Pair, Response, Sample, Score, read_records, write_records

RECORDS = [
    Sample("p", "es", "train", "¿?", [Response("sí", [1, 2], "stop"), Response("", [3], "length")]),
    Logps("p", "es", "reward", [-1.0, None], [-2.0, None], [2, None], ["x", None]),
    Score("p", "es", "train", [2, 0], {"cross_lingual": [0.1, None], "brevity": [-2.0, -0.0]}),
    Pair("p", "es", "¿?", "sí", "no", 1.0, 0.5, 0.5, [1], [2]),
    Pair("p", "es", "¿?", "sí", "no"),
]


@pytest.mark.parametrize("record", RECORDS)
def test_what_is_written_is_read(record, tmp_path):
    path = tmp_path / "records.jsonl"
    write_records(path, [record, record])
    assert read_records(path, type(record)) == [record, record]


def test_writing_copies_no_tokens():
    response = RECORDS[0].responses[0]
    assert RECORDS[0].to_json()["responses"][0]["token_ids"] is response.token_ids


@pytest.mark.parametrize("kind", [Sample, Logps, Score, Pair])
def test_a_missing_key_is_named_with_file_and_line(kind, tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('\n{"lang": "es"}\n')
    with pytest.raises(InputError, match=rf"{path.name}, line 2: .*; make the file again"):
        read_records(path, kind)


@pytest.mark.parametrize(
    ("record", "key", "value", "message"),
    [
        (0, "prompt_id", 7, "key 'prompt_id' of Sample: Input should be a valid string, got 7"),
        (0, "responses", [{"text": "a", "token_ids": [1, "2"], "finish_reason": "stop"}], "key 'token_ids' of Response: [1]: Input should be a valid integer, got '2'"),
        (1, "policy_logps", None, "key 'policy_logps' of Logps: Input should be a valid list, got None"),
        (1, "n_tokens", [True, None], "key 'n_tokens' of Logps: [0]: Input should be a valid integer"),
        (2, "scores", {"brevity": ["x"]}, "key 'scores' of Score: [0]: Input should be a valid number"),
        (3, "margin", "1", "key 'margin' of Pair: Input should be a valid number, got '1'"),
        (3, "chosen", [{"role": "user", "content": "s\u00ed"}], "key 'chosen' of Pair: expected one message of role assistant"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_named_with_file_and_line(record, key, value, message, tmp_path):
    path = tmp_path / "records.jsonl"
    values = RECORDS[record].to_json()
    write_jsonl(path, [values, {**values, key: value}])
    with pytest.raises(InputError, match=re.escape(f"{path}, line 2: {message}")):
        read_records(path, type(RECORDS[record]))
