"""Records and journals in files that were damaged at random: what is whole, or one clear line."""

import json
from collections import Counter

import pytest
from damage import DAMAGED, check_line, damaged, lines_of
from hypothesis import given
from hypothesis import strategies as st

from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl, read_numbered_csv
from xlnb.common.journal import Journal, is_finished
from xlnb.common.records import (
    Logps,
    Pair,
    Prompt,
    Response,
    Sample,
    Score,
    read_records,
    write_records,
)

SAID = [Response("s\u00ed", [1, 2], "stop"), Response("", [3], "length")]
RECORDS = {
    Prompt: Prompt("p", "es", "\u00bf?", "train", [{"kind": "json"}]),
    Sample: Sample("p", "es", "train", "\u00bf?", SAID),
    Logps: Logps("p", "es", "reward", [-1.5, None], [-2.0, None], [2, None], ["x", None]),
    Score: Score("p", "es", "train", [2, 0], {"brevity": [-2.0, -0.0]}),
    Pair: Pair("p", "es", "\u00bf?", "s\u00ed", "no", 1.0, 0.5, 0.5, [1], [2]),
}


def refuse_twice(pairs):
    assert max(Counter(name for name, _ in pairs).values(), default=0) < 2
    return dict(pairs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@pytest.mark.parametrize("kind", RECORDS)
@DAMAGED
@given(data=st.data())
def test_damaged_records_are_read_as_they_stand_or_refused_in_one_line(folder, kind, data):
    path = folder / f"{kind.__name__}.jsonl"
    write_records(path, [RECORDS[kind]] * 3)
    some = data.draw(damaged(path.read_bytes()))
    path.write_bytes(some)
    try:
        records = read_records(path, kind)
    except InputError as error:
        check_line(error, path, ", line ")
        return
    assert len(records) == lines_of(some)
    for record, plain in zip(records, read_jsonl(path), strict=True):
        written = json.loads(json.dumps(record.to_json()), object_pairs_hook=refuse_twice)
        shared = written.keys() & plain.keys()
        assert {"prompt_id", "lang"} <= shared and isinstance(record.prompt_id, str)
        assert repr([written[name] for name in shared]) == repr([plain[name] for name in shared])


ROWS = ["index,text", '0,"a, ""b""\nc"', "1,d", "2,\u00e9"]


@DAMAGED
@given(data=st.data())
def test_a_damaged_table_is_read_as_it_stands_or_refused_in_one_line(folder, data):
    path = folder / "table.csv"
    some = data.draw(damaged("\n".join(ROWS).encode()))
    path.write_bytes(some)
    try:
        rows = read_numbered_csv(path, ["index"])
    except InputError as error:
        check_line(error, path)
        return
    # Everything that stands there is in a row or the header.
    text = "".join("".join(row.values()) for _, row in rows) + "".join(rows[0][1] if rows else "")
    for character in "abcd\u00e9":
        assert not rows or some.decode().count(character) == text.count(character)


@DAMAGED
@given(data=st.data())
def test_a_damaged_json_file_is_read_as_it_stands_or_refused_in_one_line(folder, data):
    path = folder / "values.json"
    some = data.draw(
        damaged(json.dumps({"a": [1, 2.5, None, "b"], "c": {"d": True}}, indent=1).encode())
    )
    path.write_bytes(some)
    try:
        value = read_json(path)
    except InputError as error:
        check_line(error, path)
        return
    again = json.loads(some.decode("utf-8-sig"), object_pairs_hook=refuse_twice)
    assert repr(value) == repr(again)


KEPT = [{"prompt_id": f"{i}", "text": f"\u00fcn\u0131 {i}", "n": i} for i in range(6)]


@DAMAGED
@given(data=st.data())
def test_a_damaged_journal_keeps_what_is_whole_and_makes_the_rest_again(folder, data):
    path = folder / "en.jsonl"
    path.unlink(missing_ok=True)
    journal = Journal(path)
    journal.part.unlink(missing_ok=True)
    Journal(path).append(KEPT)
    whole = journal.part.read_bytes()
    some = data.draw(damaged(whole))
    journal.part.write_bytes(some)
    again = Journal(path)
    # Lines that are there as they were written, be they damaged elsewhere, are kept.
    lines = some.split(b"\n")[:-1]
    kept = [KEPT[i] for i, line in enumerate(whole.splitlines()) if line in lines]
    assert [record for record in KEPT if record in again.records()] == kept
    assert all(record in KEPT for record in again.records())
    again.append([record for record in KEPT if record["prompt_id"] not in again.done])
    order = [record["prompt_id"] for record in KEPT]
    again.finish(order)
    assert read_jsonl(path) == KEPT and is_finished(path, order)


@DAMAGED
@given(data=st.data())
def test_a_damaged_finished_journal_is_whole_or_made_again(folder, data):
    path = folder / "de.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in KEPT))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    order = [record["prompt_id"] for record in KEPT]
    if is_finished(path, order):
        assert [record["prompt_id"] for record in read_jsonl(path)] == order
    else:
        assert not path.exists()
