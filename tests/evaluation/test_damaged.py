"""Annotations and outputs in files that were damaged at random: all of their rows, or one clear
line."""

import csv
import io
import json

import pytest
from damage import DAMAGED, check_line, damaged
from hypothesis import given
from hypothesis import strategies as st

from xlnb.common.errors import InputError
from xlnb.evaluation.alpaca_eval import read_outputs
from xlnb.evaluation.annotations import read_annotations
from xlnb.evaluation.tables import win_rates

RECORDS = [
    {
        "index": i,
        "id": f"q{i}",
        "lang": "de",
        "instruction": f"Frage {i}?",
        "output_1": "Ja.",
        "generator_1": "base",
        "output_2": "Nein, nein.",
        "generator_2": "mine",
        "annotator": "judge",
        "preference": 1.0 + i / 4,
        "score_2": 0.5,
    }
    for i in range(4)
]
TABLE = "index,len_output,len_baseline,preference\n0,3,11,1.5\n1,4,9,2\n2,7,7,\n3,1,2,1.25\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def judged(path):
    return read_annotations([path], model="mine", lang="de", detect=False)["mine"]["de"]


@pytest.mark.parametrize("name", ["annotations.json", "mine.csv"])
@DAMAGED
@given(data=st.data())
def test_damaged_annotations_are_all_read_or_refused_in_one_line(folder, name, data):
    path = folder / name
    plain = json.dumps(RECORDS, indent=1) if path.suffix == ".json" else TABLE
    some = data.draw(damaged(plain.encode()))
    path.write_bytes(some)
    try:
        rows = judged(path)
        rates = win_rates({"mine": {"de": rows}})["mine"]["de"]
    except InputError as error:
        check_line(error, path)
        return
    text = some.decode("utf-8-sig")
    n = (
        len(json.loads(text))
        if path.suffix == ".json"
        else (sum(bool(row) for row in csv.reader(io.StringIO(text, newline=""))) - 1)
    )
    assert len(rows.preference) == len(rows.prompt) == len(set(rows.prompt)) == n
    assert 0 < rates["n"] <= n and 0 <= rates["wr"] <= 100
    assert all(one != one or 1 <= one <= 2 for one in rows.preference)


@DAMAGED
@given(data=st.data())
def test_damaged_outputs_are_all_read_or_refused_in_one_line(folder, data):
    path = folder / "outputs.json"
    records = [
        {"id": i, "instruction": f"Ask {i}.", "output": "Said.", "generator": "mine"}
        for i in range(3)
    ]
    some = data.draw(damaged(json.dumps(records, indent=1).encode()))
    path.write_bytes(some)
    try:
        outputs = read_outputs(path)
    except InputError as error:
        check_line(error, path)
        return
    assert len(outputs) == len(json.loads(some.decode("utf-8-sig")))
    assert all(isinstance(one.output, str) for one in outputs)
