"""Prompts with checks: from XQuAD's form, and from rows of one's own."""

import csv
import json
import os
from pathlib import Path

import pytest
from datasets import Dataset

from xlnb.checks.kinds import met
from xlnb.checks.text import is_in
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.evaluation.clusters import fact_of
from xlnb.inputs.parallel_prompts import prompt_sources, read_parallel
from xlnb.inputs.sources import parse_source, source_files
from xlnb.stages.keys import source_fields

XQUAD = Path(os.environ.get("XLNB_PUBLISHED_DATA", ROOT.parent / "shared" / "data")) / "xquad"
LANGS = ["en", "ar", "de", "el", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"]
# Answers that their own paragraphs do not hold as whole words, at most: the paragraphs lack a space
# there, or the answer is cut inside of a word or number.
LOST = {"ar": 22, "hi": 6, "el": 3, "ru": 3, "tr": 3, "es": 2, "vi": 2, "de": 1, "en": 1, "th": 1}
real = pytest.mark.skipif(not XQUAD.is_dir(), reason="XQuAD not there: set XLNB_PUBLISHED_DATA")


def paragraph(lang, number):
    answers = [{"text": f"{lang}{number}"}, {"text": f"{lang}{number}"}]
    asked = [{"id": f"q{number}{k}", "question": f"Q{k}?", "answers": answers} for k in (1, 2)]
    return {"context": f"\ufeffIt is {lang}{number}.", "qas": asked}


def write(folder, langs=("en", "de"), n=40):
    folder.mkdir()
    for lang in langs:
        content = {"data": [{"paragraphs": [paragraph(lang, i) for i in range(n)]}]}
        (folder / f"{lang}.json").write_text(json.dumps(content))
    (folder / "LICENCE.txt").write_text("CC")
    return folder


def test_a_paragraph_and_a_question_are_a_prompt(tmp_path):
    found = read_parallel(f"xquad:{write(tmp_path / 'x')}")
    assert list(found) == ["en", "de"]
    assert found["de"][1] == {
        "prompt_id": "xquad/1.1/q02",
        "lang": "de",
        "instruction": "It is de0.\n\nQ2?",
        "checks": [{"kind": "answer", "answers": ["de0"]}],
    }
    named = read_parallel(f"xquad:{tmp_path / 'x'},en=en,sw=de")
    assert [record["lang"] for record in named["sw"][:1]] == ["sw"]


def test_parts_share_no_paragraph_and_are_the_same_whatever_else_is_there(tmp_path):
    where = f"xquad:{write(tmp_path / 'x')}"
    every = read_parallel(where)["en"]
    parts = {part: read_parallel(f"{where}:{part}") for part in ("tune", "train", "eval")}
    ids = {part: [record["prompt_id"] for record in parts[part]["de"]] for part in parts}
    every_id = sorted(record["prompt_id"] for record in every)
    assert sorted(ids["tune"] + ids["train"] + ids["eval"]) == every_id
    of = {part: {fact_of(prompt_id) for prompt_id in ids[part]} for part in ids}
    assert sum(map(len, of.values())) == len(of["tune"] | of["train"] | of["eval"]) == 40
    assert {part: len(some) for part, some in of.items()} == {"tune": 9, "train": 21, "eval": 10}
    fewer = read_parallel(f"xquad:{write(tmp_path / 'y', n=12)}:eval")["en"]
    assert [record["prompt_id"] for record in fewer] == [
        prompt_id for prompt_id in ids["eval"] if int(prompt_id.split("/")[1][2:]) <= 12
    ]


def test_its_place_is_no_part_of_a_stage_s_key(tmp_path):
    keys = []
    for folder in ("x", "y"):
        text = f"xquad:{write(tmp_path / folder)}:train"
        sources = prompt_sources(text)
        assert [path.name for path in source_files(sources[1])] == ["de.json"]
        keys.append(source_fields([text], sources))
    assert keys[0] == keys[1] == {"sources": [{"where": "xquad:(files):train", "columns": {}}]}
    assert parse_source(text).name == "xquad"


BAD = [
    ("{}", "en.json: expected an object with a list 'data'"),
    ('{"data": [{}]}', "en.json, article 1: expected an object with a list 'paragraphs'"),
    ('{"data": [{"paragraphs": [{"context": "c", "qas": []}]}]}', "paragraph 1: .*list 'qas'"),
    (
        '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "i", "question": "q", '
        '"answers": [{"text": 7}]}]}]}]}',
        "question 1: expected an object with a text 'text'",
    ),
    (
        '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "i", "question": "q", '
        '"answers": [{"text": "?"}]}]}]}]}',
        "article 1, paragraph 1, question 1: id xquad/1.1/i: check 1, 'answer': answers is",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_another_form_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "en.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_parallel(f"xquad:{tmp_path}")


def test_a_folder_or_language_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"xquad:nowhere:train: no such folder"):
        read_parallel("xquad:nowhere:train")
    with pytest.raises(InputError, match=r"no prompts in 'sw' \(sw.json\); found: de, en"):
        read_parallel(f"xquad:{write(tmp_path / 'x')}", "en,sw")


@real
def test_real_questions_are_parallel_and_their_paragraphs_hold_the_answers():
    found = read_parallel(f"xquad:{XQUAD}")
    assert list(found) == LANGS
    ids = [record["prompt_id"] for record in found["en"]]
    assert len(set(ids)) == 1190 and len(set(map(fact_of, ids))) == 240
    for lang, records in found.items():
        assert [record["prompt_id"] for record in records] == ids
        lost = 0
        swapped = 0
        for record, other in zip(records, records[::-1], strict=True):
            context = record["instruction"].rpartition("\n\n")[0]
            lost += met(context, record["checks"], lang) == [False]
            swapped += met(context, other["checks"], lang) == [True]
        assert lost <= LOST.get(lang, 0)
        # Another paragraph's answer is seldom there: a name or a number that both have.
        assert swapped < 0.1 * len(records)


@real
@pytest.mark.parametrize("lang", LANGS)
def test_real_names_are_in_every_language_and_real_sentences_in_their_own(lang):
    records = read_parallel(f"xquad:{XQUAD}")[lang]
    answers = [record["checks"][0]["answers"][0] for record in records]
    questions = [record["instruction"].rpartition("\n\n")[2] for record in records[::6]]
    other = "de" if lang == "en" else "en"
    assert sum(is_in(text, lang) for text in answers) >= 0.985 * len(answers)
    assert all(is_in(text, lang) for text in questions)
    assert sum(is_in(text, other) for text in questions) < 0.12 * len(questions)


@real
def test_real_parts_share_no_paragraph():
    parts = {}
    for part in ("tune", "train", "eval"):
        parts[part] = read_parallel(f"xquad:{XQUAD}:{part}", "en")["en"]
    of = {part: {fact_of(r["prompt_id"]) for r in parts[part]} for part in parts}
    assert sum(map(len, of.values())) == len(of["tune"] | of["train"] | of["eval"])
    assert {part: (len(of[part]), len(parts[part])) for part in of} == {
        "tune": (61, 287),
        "train": (102, 537),
        "eval": (77, 366),
    }


ROWS = [
    {"instruction_id": "a", "instruction": "Ask.", "checks": [{"kind": "points", "n": 3}]},
    {"instruction_id": "b", "instruction": "Ask again.", "checks": [{"kind": "json"}]},
    {"instruction_id": "c", "instruction": "Ask once more.", "checks": None},
]


def write_rows(folder, form):
    if form == "jsonl":
        (folder / "en.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        return str(folder)
    rows = [{**row, "lang": "en"} for row in ROWS]
    if form == "csv":
        with (folder / "all.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            for row in rows:
                text = json.dumps(row["checks"]) if row["checks"] else ""
                writer.writerow({**row, "checks": text})
        return str(folder / "all.csv")
    if form == "wide":
        (folder / "all.json").write_text(json.dumps(rows))
        return f"{folder / 'all.json'},en=instruction"
    (folder / "org" / "name").mkdir(parents=True)
    Dataset.from_list(rows).to_parquet(folder / "org" / "name" / "train.parquet")
    return "hub:org/name"


@pytest.mark.parametrize("form", ["jsonl", "csv", "wide", "dataset"])
def test_checks_of_one_s_own_are_read_in_every_form(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    found = read_parallel(write_rows(tmp_path, form))["en"]
    assert [record.get("checks") for record in found] == [row["checks"] for row in ROWS]
    assert "checks" not in found[2]


def test_a_bad_check_names_its_line_and_id(tmp_path):
    row = {**ROWS[0], "checks": [{"kind": "points", "n": "three"}]}
    (tmp_path / "en.jsonl").write_text(json.dumps(ROWS[1]) + "\n" + json.dumps(row) + "\n")
    message = r"en.jsonl, line 2: id a: check 1, 'points': n is 'three', expected a whole number"
    with pytest.raises(InputError, match=message):
        read_parallel(tmp_path)


def test_a_column_of_checks_can_have_another_name(tmp_path):
    (tmp_path / "en.jsonl").write_text(
        json.dumps({"id": 1, "instruction": "Ask.", "c": [{"kind": "json"}]})
    )
    assert read_parallel(f"{tmp_path},checks=c")["en"][0]["checks"] == [{"kind": "json"}]
