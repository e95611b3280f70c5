"""A model's outputs beside a baseline's, as a judge is given them."""

from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import read_json
from xlnb.common.language_id import in_language


def read_comparisons(
    mine: Path, theirs: Path, lang: str, *, annotator: str
) -> list[dict[str, Any]]:
    """What a judge named `annotator` is given: a model's outputs beside a baseline's, both in
    AlpacaEval's form.

    Outputs are matched by id, or by instruction where a file has no ids. The records hold id, lang,
    instruction, output_1 and generator_1 (the baseline's), output_2 and generator_2, annotator and,
    but for the oracle, which tells it by itself, in_language_2 from the detector. Raises InputError
    naming file and record, the id without a match, or the id that stands for another instruction in
    the other file.
    """
    ours, base = _read_outputs(mine), _read_outputs(theirs)
    by = "id" if all("id" in record for record in (*ours, *base)) else "instruction"
    baseline = {str(record[by]): record for record in base}
    for record in ours:
        answered = baseline.get(str(record[by]))
        if answered is None:
            raise InputError(
                f"{theirs}: no output for {by} {record[by]!r}; a baseline must answer every prompt"
            )
        if answered["instruction"].strip() != record["instruction"].strip():
            raise InputError(
                f"{theirs}: id {record['id']!r} has another instruction than in {mine}; give both"
                " files the ids of the same prompts, or none to match them by instruction"
            )
    detected = (
        None if annotator == "oracle" else in_language([record["output"] for record in ours], lang)
    )
    return [
        {
            "id": str(record.get("id", number)),
            "lang": lang,
            "instruction": record["instruction"],
            "output_1": baseline[str(record[by])]["output"],
            "generator_1": baseline[str(record[by])].get("generator", theirs.stem),
            "output_2": record["output"],
            "generator_2": record.get("generator", mine.stem),
            "annotator": annotator,
        }
        | ({"in_language_2": detected[number]} if detected else {})
        for number, record in enumerate(ours)
    ]


def _read_outputs(path: Path) -> list[dict[str, Any]]:
    records = read_json(path)
    if not isinstance(records, list) or not records:
        raise InputError(f"{path}: expected a JSON list of records with instruction and output")
    for number, record in enumerate(records):
        if not isinstance(record, dict) or not all(
            isinstance(record.get(key), str) for key in ("instruction", "output")
        ):
            raise InputError(
                f"{path}, record {number}: expected a JSON object with instruction and output"
            )
    return records
