"""Parallel prompts: both published layouts, the join by id, and every way in which a folder can be
wrong."""

import json
import os
import re
from pathlib import Path

import pytest

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.common.languages import LANGUAGES, language_name, split_langs
from xlnb.inputs.parallel_prompts import join, read_parallel
from xlnb.prompts import cross_lingual
from xlnb.runs.run import open_run

PUBLISHED = Path(os.environ.get("XLNB_PUBLISHED_DATA", ROOT.parent / "shared" / "data"))

EN = [{"id": 1, "instruction": "Name a colour."}, {"id": 2, "instruction": "Name a river."}]
ES = [{"id": 2, "instruction": "Nombra un río."}, {"id": 1, "instruction": "Nombra un color."}]


def write(folder: Path, layout: str, **languages: list[dict]) -> Path:
    """Files of a layout: `jsonl` is UltraFeedback's in the ICR release, `json` X-AlpacaEval's."""
    folder.mkdir(exist_ok=True)
    for lang, records in languages.items():
        if layout == "jsonl":
            lines = [{"instruction": r["instruction"], "instruction_id": r["id"]} for r in records]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        else:
            text = json.dumps(
                [r | {"dataset": "helpful_base"} for r in records], ensure_ascii=False, indent=4
            )
        (folder / f"{lang}.{layout}").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("layout", ["jsonl", "json"])
def test_both_layouts_are_joined_by_id_in_the_order_of_english(tmp_path, layout):
    # Spanish is in the opposite order: by position, the river would stand beside the colour.
    assert read_parallel(write(tmp_path, layout, es=ES, en=EN)) == {
        "en": [
            {"prompt_id": "1", "lang": "en", "instruction": "Name a colour."},
            {"prompt_id": "2", "lang": "en", "instruction": "Name a river."},
        ],
        "es": [
            {"prompt_id": "1", "lang": "es", "instruction": "Nombra un color."},
            {"prompt_id": "2", "lang": "es", "instruction": "Nombra un río."},
        ],
    }


def test_the_two_layouts_can_stand_beside_each_other(tmp_path):
    write(tmp_path, "jsonl", en=EN)
    write(tmp_path, "json", es=ES)
    assert [r["instruction"] for r in read_parallel(tmp_path)["es"]] == [
        "Nombra un color.",
        "Nombra un río.",
    ]


@pytest.mark.parametrize(
    ("langs", "expected"),
    [
        ("", ["en", "de", "es"]),
        ("en,es", ["en", "es"]),
        (" es , en ", ["en", "es"]),
        ("en", ["en"]),
    ],
)
def test_langs_picks_languages_english_first(tmp_path, langs, expected):
    # German lacks an id, which matters only where German is wanted.
    write(tmp_path, "jsonl", de=EN if not langs else EN[:1], es=ES, en=EN)
    assert list(read_parallel(tmp_path, langs)) == expected


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x1c"])
def test_separators_that_splitlines_would_split_at_survive(tmp_path, separator):
    text = f"First{separator}second"
    # It escapes control characters alone.
    line = json.dumps({"id": 1, "instruction": text}, ensure_ascii=False)
    (tmp_path / "en.jsonl").write_text(line + "\n", encoding="utf-8")
    assert read_parallel(tmp_path)["en"][0]["instruction"] == text


@pytest.mark.parametrize("layout", ["jsonl", "json"])
def test_a_byte_order_mark_windows_line_ends_and_empty_lines_are_accepted(tmp_path, layout):
    path = write(tmp_path, layout, en=EN) / f"en.{layout}"
    text = path.read_text(encoding="utf-8").replace("\n", "\r\n") + "\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [r["prompt_id"] for r in read_parallel(tmp_path)["en"]] == ["1", "2"]


GOOD = '{"instruction_id": "a", "instruction": "Ask."}\n'


@pytest.mark.parametrize(
    ("name", "text", "where", "what"),
    [
        (
            "es.jsonl",
            GOOD + '{"instruction_id": "b", "instr\n',
            "es.jsonl, line 2",
            "not valid JSON",
        ),
        ("es.jsonl", "\n" + GOOD + "{'id': 1}\n", "es.jsonl, line 3", "not valid JSON"),
        ("es.json", '[\n{"id": "a",\n"instruction": }\n]', "es.json, line 3", "not valid JSON"),
        ("es.jsonl", '"Ask."\n', "es.jsonl, line 1", "expected a JSON object, found str"),
        (
            "es.json",
            '{"id": "a", "instruction": "Ask."}',
            "es.json",
            "expected a JSON list of prompts, found dict",
        ),
        ("es.json", '[{"id": "a", "instruction": "Ask."}, 7]', "es.json, record 2", "object"),
        ("es.json", '["Ask."]', "es.json, record 1", "object"),
        (
            "es.jsonl",
            GOOD + '{"instruction_id": "b"}\n',
            "es.jsonl, line 2",
            "key 'instruction' is missing",
        ),
        ("es.jsonl", '{"instruction": "Ask."}\n', "es.jsonl, line 1", "key 'id' is missing"),
        ("es.json", '[{"instruction": "Ask."}]', "es.json, record 1", "key 'id' is missing"),
        ("es.jsonl", GOOD + GOOD, "es.jsonl, line 2", "id a is there twice"),
        (
            "es.jsonl",
            '{"id": "a", "instruction": ""}\n',
            "es.jsonl, line 1",
            "the instruction of id a is empty",
        ),
        (
            "es.jsonl",
            '{"id": "a", "instruction": " \\n"}\n',
            "es.jsonl, line 1",
            "the instruction of id a is empty",
        ),
        (
            "es.jsonl",
            '{"id": "a", "instruction": null}\n',
            "es.jsonl, line 1",
            "the instruction of id a is empty",
        ),
        (
            "es.jsonl",
            '{"id": "a", "instruction": "\\u200b"}\n',
            "es.jsonl, line 1",
            "the instruction of id a is empty",
        ),
        (
            "es.jsonl",
            '{"id": "a", "instruction": 7}\n',
            "es.jsonl, line 1",
            "the instruction of id a is 7, expected text",
        ),
        (
            "es.csv",
            "id,instruction\na,\"[{'role': 'user', 'content': 'Ask.'}]\"\n",
            "es.csv, line 2",
            "the instruction of id a is a list of messages written as text",
        ),
        ("es.jsonl", '{"id": NaN, "instruction": "A."}\n', "line 1", "the id is empty"),
        ("es.jsonl", '{"id": true, "instruction": "A."}\n', "line 1", "the id is True, expected"),
        # Half an emoji, which JSON lets through and no UTF-8 file can hold.
        ("es.jsonl", '{"id": "a", "instruction": "\\ud83d"}\n', "es.jsonl, line 1", "id a"),
        ("es.jsonl", "", "es.jsonl", "holds no prompts"),
        ("es.json", "[]", "es.json", "holds no prompts"),
        ("es.csv", "id,instruction\n", "es.csv", "holds no prompts"),
        (
            "es.jsonl",
            GOOD + '{"instruction_id": null, "instruction": "A."}\n',
            "line 2",
            "the instruction_id is empty",
        ),
        ("es.csv", "id,instruction\n ,Ask.\n", "es.csv, line 2", "the id is empty"),
        (
            "es.csv",
            "id;instruction\na;Ask.\n",
            "es.csv, line 2: key 'id' is missing",
            "found: id;instruction",
        ),
        ("es.tsv", "id\tinstruction\n", "es.tsv", "<lang>.jsonl, <lang>.json or <lang>.csv"),
        ("es.jsonl.gz", "", "es.jsonl.gz", "convert it or take it out"),
        ("es.txt", "Ask.", "es.txt", "convert it or take it out"),
        ("prompts.parquet", "", "prompts.parquet", "convert it or take it out"),
        ("es", "", "es: not a form that is read", "convert it or take it out"),
        (
            "preset.json",
            "{}",
            "preset.json: unknown language code 'preset', so no file of prompts",
            "take it out",
        ),
        ("es.jsonl", GOOD.replace('"a"', '"b"'), "es.jsonl", "id a is missing"),
        (
            "es.jsonl",
            GOOD + GOOD.replace('"a"', '"b"'),
            "es.jsonl",
            "id b has no English counterpart",
        ),
        ("xx.jsonl", GOOD, "xx.jsonl", "unknown language code 'xx'"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_line_or_id(tmp_path, name, text, where, what):
    (tmp_path / "en.jsonl").write_text(GOOD)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_parallel(tmp_path)
    assert where in str(error.value)
    assert what in str(error.value)
    assert "\n" not in str(error.value)


def test_suffixes_are_read_in_any_case_and_what_is_no_language_s_file_is_left(tmp_path):
    write(tmp_path, "jsonl", en=EN, es=ES, ru=EN)
    (tmp_path / "es.jsonl").rename(tmp_path / "es.JSONL")
    (tmp_path / "ru.jsonl").unlink()
    (tmp_path / "ru.Csv").write_text("id,instruction\n1,Один\n2,Два\n", encoding="utf-8")
    for name in ("README.md", "README", "LICENSE", "sources.txt", ".DS_Store", ".en.jsonl.swp"):
        (tmp_path / name).write_text("no prompts")
    # folders
    for name in ("run", "de", "runs.json"):
        (tmp_path / name / "prompts").mkdir(parents=True)
        (tmp_path / name / "preset.json").write_text("{}")
    assert list(read_parallel(tmp_path)) == ["en", "es", "ru"]
    (tmp_path / "sw.tsv").write_text("")
    # Swahili is not wanted
    assert list(read_parallel(tmp_path, "en,ru")) == ["en", "ru"]
    with pytest.raises(InputError, match=r"sw\.tsv: not a form that is read"):
        read_parallel(tmp_path, "en,sw")


def test_blank_lines_count_in_the_line_of_a_record(tmp_path):
    (tmp_path / "en.jsonl").write_text(GOOD + "\n\n" + '{"instruction_id": "b"}\n')
    with pytest.raises(InputError, match=r"en\.jsonl, line 4"):
        read_parallel(tmp_path)


@pytest.mark.parametrize("layout", ["jsonl", "json"])
def test_another_encoding_is_refused_with_its_line(tmp_path, layout):
    path = write(tmp_path, layout, en=EN, es=ES) / f"es.{layout}"
    before, _ = path.read_text(encoding="utf-8").split("río")
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    with pytest.raises(
        InputError, match=rf"es\.{layout}, line {before.count(chr(10)) + 1}: not UTF-8"
    ):
        read_parallel(tmp_path)


def test_folders_that_lack_what_is_needed(tmp_path):
    with pytest.raises(InputError, match="absent: no such file or folder"):
        read_parallel(tmp_path / "absent")
    with pytest.raises(InputError, match=re.escape(str(tmp_path)) + ".*English"):
        read_parallel(write(tmp_path, "jsonl", es=ES))
    write(tmp_path, "jsonl", en=EN)
    with pytest.raises(
        InputError, match=r"no prompts in 'de' \(de\.jsonl, de\.json or de\.csv\); found: en, es"
    ):
        read_parallel(tmp_path, "en,de")
    with pytest.raises(InputError, match="English"):
        read_parallel(tmp_path, "es")
    with pytest.raises(InputError, match="unknown language code 'qq'"):
        read_parallel(tmp_path, "en,qq")


def test_two_files_of_one_language_are_refused(tmp_path):
    write(tmp_path, "json", en=EN)
    write(tmp_path, "jsonl", en=EN[:1])
    with pytest.raises(InputError, match="en"):
        read_parallel(tmp_path)


def test_join_names_the_first_id_that_differs():
    reference = [{"prompt_id": "1"}, {"prompt_id": "2"}]
    assert join([{"prompt_id": "2", "n": 2}, {"prompt_id": "1", "n": 1}], reference, "file") == [
        {"prompt_id": "1", "n": 1},
        {"prompt_id": "2", "n": 2},
    ]
    with pytest.raises(InputError, match="file: id 2 is missing"):
        join([{"prompt_id": "1"}], reference, "file")
    with pytest.raises(InputError, match="file: id 3 has no English counterpart"):
        join([*reference, {"prompt_id": "3"}], reference, "file")


def test_split_langs():
    assert split_langs("en, es,,de ") == ["en", "es", "de"]
    assert split_langs("") == []


def test_the_cross_lingual_prefix_is_the_papers():
    assert (
        cross_lingual("Name a river.", "sw")
        == "Please answer the following instruction using only Swahili, unless explicitly"
        " instructed to respond in a different language.\n\nName a river."
    )
    assert cross_lingual("Name a river.", "en") == "Name a river."
    with pytest.raises(InputError, match="unknown language code 'xx'"):
        cross_lingual("Name a river.", "xx")


def test_every_language_has_a_name_of_its_own():
    assert len(set(LANGUAGES.values())) == len(LANGUAGES)
    assert [language_name(lang) for lang in ("en", "es", "ru", "de", "fr", "bn", "sw", "th", "zh")] == [
        "English", "Spanish", "Russian", "German", "French", "Bengali", "Swahili", "Thai", "Chinese",
    ]  # fmt: skip


@pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"no published data (XLNB_PUBLISHED_DATA: {PUBLISHED.name})"
)
@pytest.mark.parametrize(
    ("folder", "langs", "n"), [("parallel_prompts", 9, 1000), ("x_alpacaeval/prompts", 13, 805)]
)
def test_the_published_prompts_are_parallel(folder, langs, n):
    prompts = read_parallel(PUBLISHED / folder)
    assert len(prompts) == langs
    assert {lang: len(records) for lang, records in prompts.items()} == dict.fromkeys(prompts, n)
    ids = [record["prompt_id"] for record in prompts["en"]]
    assert len(set(ids)) == n
    assert all([record["prompt_id"] for record in records] == ids for records in prompts.values())
    # Rows of one id mean the same, as far as that can be seen without reading: years survive
    # translation.
    rows = zip(prompts["en"], prompts["es"], strict=True)
    years = [
        [set(re.findall(r"\b\d{4}\b", record["instruction"])) for record in row] for row in rows
    ]
    kept = [english <= spanish for english, spanish in years if english]
    assert sum(kept) > 0.9 * len(kept) > 0


def test_references_are_read_where_they_are_asked_for(tmp_path):
    rows = [
        {"id": 1, "instruction": "Name a colour.", "reference": "Red."},
        {"id": 2, "instruction": "Name a river.", "reference": " "},
        {"id": 3, "instruction": "Name a tree."},
    ]
    path = tmp_path / "en.json"
    path.write_text(json.dumps(rows))
    found = read_parallel(tmp_path, references=True)["en"]
    assert [record.get("reference") for record in found] == ["Red.", None, None]
    assert all("reference" not in record for record in read_parallel(tmp_path)["en"])
    path.write_text(json.dumps([rows[0] | {"reference": 7}]))
    with pytest.raises(InputError, match=r"the reference of id 1 is 7, expected text"):
        read_parallel(tmp_path, references=True)


def test_references_go_with_prompts_that_can_have_some(tmp_path):
    write(tmp_path / "prompts", "jsonl", en=EN, es=ES)
    asked = {"prompts.references": "true", "prompts.langs": ""}
    path = {"prompts.path": str(tmp_path / "prompts")}
    with pytest.raises(InputError, match=r"prompts\.references: translated prompts have none"):
        open_run(tmp_path / "run", "lab-quick", {**asked, **path, "localise.langs": "de"})
    run = open_run(tmp_path / "run", "lab-quick", {**asked, **path})
    with pytest.raises(InputError, match=r"references: no prompt of .* has a `reference`"):
        stages.collect_prompts(run)
