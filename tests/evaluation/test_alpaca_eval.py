"""AlpacaEval's two forms of file: what is written is read again, in this package's names."""

import json

import pytest

from xlnb.common.errors import InputError
from xlnb.common.files import json_text, read_json, write_json
from xlnb.evaluation.alpaca_eval import (
    Annotation,
    Output,
    each_annotation,
    read_outputs,
    write_records,
)

ASKED = Annotation(
    prompt_id="a/1",
    lang="de",
    instruction="Wer?",
    output_1="ich",
    generator_1="sft",
    output_2="du",
    generator_2="dpo",
    annotator="j",
    in_language_2=True,
    preference=None,
)
FIRST = ["id", "lang", "instruction", "output_1", "generator_1", "output_2"]
FIRST += ["generator_2", "annotator"]


def test_outputs_have_alpacaevals_form(tmp_path):
    path = tmp_path / "model_outputs.json"
    outputs = [
        Output(generator="dpo", dataset="lab", prompt_id="a/1", instruction="Wer?", output="du")
    ]
    write_records(path, outputs)
    expected = {
        "generator": "dpo",
        "dataset": "lab",
        "id": "a/1",
        "instruction": "Wer?",
        "output": "du",
    }
    assert list(read_json(path)[0].items()) == list(expected.items())
    assert read_outputs(path) == outputs


def test_outputs_of_others_have_no_id_or_one_that_is_a_number(tmp_path):
    path = tmp_path / "gpt.json"
    write_json(path, [{"instruction": "?", "output": "x", "more": 1}])
    assert read_outputs(path) == [Output(instruction="?", output="x")]
    write_json(path, [{"instruction": "?", "output": "x", "id": 7}])
    assert read_outputs(path)[0].prompt_id == "7"
    write_json(path, {})
    with pytest.raises(InputError, match="expected a JSON list of records with instruction"):
        read_outputs(path)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        # what a detector says of the language stands before the preference, what a judge says,
        # behind
        (
            {"preference": 1.9, "verdict_from": "text"},
            ["in_language_2", "preference", "verdict_from"],
        ),
        (
            {"preference": 2.0, "score_2": 7.0, "in_language_2": False},
            ["preference", "score_2", "in_language_2"],
        ),
        ({"error": "HTTP 500"}, ["in_language_2", "preference", "error"]),
    ],
)
def test_annotations_have_alpacaevals_form_and_are_read_as_they_were_written(
    tmp_path, answer, names
):
    path = tmp_path / "annotations.json"
    annotation = ASKED.judged(answer)
    assert annotation.preference == answer.get("preference")
    assert annotation.in_language_2 == answer.get("in_language_2", True)
    write_records(path, [annotation])
    text = path.read_text()
    assert list(json.loads(text)[0]) == [*FIRST, *names]
    assert list(each_annotation(path)) == [annotation]
    write_records(path, list(each_annotation(path)))
    assert path.read_text() == text
    for times in (0, 1, 3):
        write_records(path, iter([annotation] * times))
        assert path.read_text() == json_text([annotation.to_json()] * times, indent=1) + "\n"
