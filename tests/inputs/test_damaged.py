"""Prompts, preferences and responses in files that were damaged at random: all of their rows, or
one clear line."""

import csv
import io
import json

import pytest
from damage import DAMAGED, check_line, damaged, lines_of
from hypothesis import given
from hypothesis import strategies as st

from xlnb.common.errors import InputError, UnfitText
from xlnb.inputs import demonstrations
from xlnb.inputs.given_responses import read_pairs, read_responses
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.inputs.preferences import COLUMNS, preference_pairs
from xlnb.inputs.sources import parse_source, read_rows

ASKED = [
    {"id": f"q{i}", "lang": lang, "instruction": f"Question {i}, {lang}?"}
    for i in range(3)
    for lang in ("en", "de")
]
PAIRS = [
    {"id": i, "prompt": f"Ask {i}.", "chosen": f"Good {i}.", "rejected": f"Bad {i}.", "score_chosen": 2.5, "score_rejected": 1}
    for i in range(3)
]  # fmt: skip
TURNS = [
    {
        "prompt_id": f"t{i}",
        "chosen": [{"role": "user", "content": f"Ask {i}."}, {"role": "assistant", "content": "Good."}],
        "rejected": [{"role": "user", "content": f"Ask {i}."}, {"role": "assistant", "content": "Bad."}],
    }
    for i in range(3)
]  # fmt: skip
GIVEN = [
    {"prompt_id": f"g{i}", "lang": "de", "instruction": f"Frage {i}?", "responses": ["Ja.", "Nein."]}
    for i in range(3)
]  # fmt: skip
REFERRED = [
    {"id": f"r{i}", "lang": "en", "instruction": f"Question {i}?", "reference": f"Answer {i}."}
    for i in range(3)
]
TOLD = [{"prompt": f"Ask {i}.", "completion": f"Answer {i}."} for i in range(3)]
TURNED = [
    {
        "messages": [
            {"role": "user", "content": f"Ask {i}."},
            {"role": "assistant", "content": "So."},
        ]
    }
    for i in range(3)
]
ALPACA = [{"instruction": f"Ask {i}.", "input": "this", "output": f"So {i}."} for i in range(3)]
SUFFIXES = (".jsonl", ".json", ".csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def as_file(rows, suffix):
    if suffix == ".json":
        return json.dumps(rows, indent=1, ensure_ascii=False).encode()
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def n_rows(data, suffix):
    """By other means than the kit's."""
    text = data.decode("utf-8-sig")
    if suffix == ".jsonl":
        return lines_of(data)
    if suffix == ".json":
        return len(json.loads(text))
    return sum(bool(row) for row in csv.reader(io.StringIO(text, newline=""))) - 1


def read_damaged(data, path, rows, read):
    """What `read` makes of a file of these rows once it is damaged, and its rows; or nothing, where
    it is refused as it should be."""
    some = data.draw(damaged(as_file(rows, path.suffix)))
    path.write_bytes(some)
    try:
        return read(path), n_rows(some, path.suffix)
    except InputError as error:
        check_line(error, path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@DAMAGED
@given(data=st.data())
def test_damaged_prompts_are_all_read_or_refused_in_one_line(folder, suffix, data):
    found = read_damaged(data, folder / f"prompts{suffix}", ASKED, read_parallel)
    if found:
        by_lang, n = found
        assert sum(map(len, by_lang.values())) == n
        for lang, records in by_lang.items():
            for record in records:
                assert record["lang"] == lang and isinstance(record["prompt_id"], str)
                record["instruction"].encode()


def preferences(path):
    try:
        return preference_pairs(read_rows(parse_source(str(path)), COLUMNS))
    except InputError as error:
        # It is told of the whole source by its preset's field.
        raise InputError(f"{error}".replace("preferences.path", f"{path}")) from None


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rows", [PAIRS, TURNS], ids=["texts", "messages"])
@DAMAGED
@given(data=st.data())
def test_damaged_preferences_are_all_read_or_refused_in_one_line(folder, suffix, rows, data):
    found = read_damaged(data, folder / f"preferences{suffix}", rows, preferences)
    if found:
        (pairs, report), n = found
        assert report["rows"] == n == len(pairs) + sum(report["dropped"].values())
        for pair in pairs:
            assert isinstance(pair.prompt_id, str)
            for text in (pair.prompt_id, pair.instruction, pair.chosen, pair.rejected):
                text.encode()
            for score in (pair.score_chosen, pair.score_rejected):
                assert score is None or abs(score) < float("inf")


@DAMAGED
@given(data=st.data())
def test_damaged_lists_of_responses_are_all_read_or_refused_in_one_line(folder, data):
    found = read_damaged(data, folder / "responses.jsonl", GIVEN, read_responses)
    if found:
        read, n = found
        assert len(read) == n
        assert all(isinstance(text, str) for one in read for text in one.texts)


@DAMAGED
@given(data=st.data())
def test_damaged_pairs_of_several_languages_are_all_read_or_refused_in_one_line(folder, data):
    rows = [row | {"lang": "de", "category": "a"} for row in PAIRS]
    found = read_damaged(
        data, folder / "pairs.jsonl", rows, lambda path: read_pairs(str(path), "", None)
    )
    if found:
        (pairs, report), n = found
        assert sum(counts["rows"] for counts in report.values()) == n
        assert len(pairs) == sum(counts["pairs"] for counts in report.values())


def read_turns(asked, answer):
    """Characters as ids; what a template cannot be given is none."""
    if "7" in answer:
        raise UnfitText("seven")
    return list(map(ord, asked)), list(map(ord, answer))


def told(path):
    try:
        rows = read_rows(parse_source(str(path)), demonstrations.COLUMNS)
        return demonstrations.demonstrations(rows, 0, read_turns)
    except InputError as error:
        raise InputError(f"{error}".replace("sft.path", f"{path}")) from None


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rows", [TOLD, TURNED, ALPACA], ids=["trl", "messages", "alpaca"])
@DAMAGED
@given(data=st.data())
def test_damaged_demonstrations_are_all_read_or_refused_in_one_line(folder, suffix, rows, data):
    found = read_damaged(data, folder / f"told{suffix}", rows, told)
    if found:
        (read, report), n = found
        assert report["rows"] == n == len(read) + sum(report["dropped"].values())
        assert all(one.prompt and one.response for one in read)


@pytest.mark.parametrize("suffix", SUFFIXES)
@DAMAGED
@given(data=st.data())
def test_damaged_references_are_all_read_or_refused_in_one_line(folder, suffix, data):
    found = read_damaged(
        data,
        folder / f"referred{suffix}",
        REFERRED,
        lambda path: read_parallel(path, references=True),
    )
    if found:
        by_lang, n = found
        assert sum(map(len, by_lang.values())) == n
        for record in by_lang["en"]:
            record.get("reference", "").encode()


@DAMAGED
@given(data=st.data())
def test_a_damaged_folder_of_xquad_is_all_read_or_refused_in_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "xquad"
    folder.mkdir(exist_ok=True)
    for lang in ("en", "de"):
        asked = [
            {"id": f"q{k}", "question": f"{lang} {k}?", "answers": [{"text": "So"}]} for k in (1, 2)
        ]
        content = {"data": [{"paragraphs": [{"context": f"{lang}.", "qas": asked}]}]}
        whole = json.dumps(content, ensure_ascii=False).encode()
        (folder / f"{lang}.json").write_bytes(whole)
    path = folder / data.draw(st.sampled_from(["en.json", "de.json"]))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        by_lang = read_parallel(f"xquad:{folder}")
    except InputError as error:
        check_line(error, folder)
        return
    assert {lang: len(records) for lang, records in by_lang.items()} == {"en": 2, "de": 2}
    for records in by_lang.values():
        for record in records:
            f"{record['prompt_id']}{record['instruction']}{record['checks']}".encode()


@pytest.mark.parametrize(
    "lang", [["en"], {"en": 1}, 7, None, True, "../../up", "/tmp/up", "en/../up"]
)
def test_a_language_that_is_no_code_is_named(folder, lang):
    path = folder / "odd.jsonl"
    path.write_text(json.dumps({"id": "a", "lang": lang, "instruction": "Ask."}) + "\n")
    with pytest.raises(InputError, match=r"odd\.jsonl, (line|row) 1"):
        read_parallel(path)
