"""Records and their forms in files."""

import pytest

from xlnb.common.errors import InputError
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
