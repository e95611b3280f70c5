"""Prompts from every kind of source: equal records whatever the layout, and one clear line for what
is wrong."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from datasets import Dataset
from datasets.exceptions import DatasetNotFoundError

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_jsonl
from xlnb.inputs import sources
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.inputs.reader import Reader
from xlnb.inputs.sources import parse_source, read_rows, source_versions
from xlnb.runs.run import open_run

PUBLISHED = (
    Path(os.environ.get("XLNB_PUBLISHED_DATA", ROOT.parent / "shared" / "data"))
    / "parallel_prompts"
)

# Commas, quotes, line ends of both kinds, a character that splitlines() would split at, and other
# scripts.
PROMPTS = {
    "en": {
        "a": 'Say "hi", twice.\nThen stop.',
        "b": "One\r\ntwo\u2028three",
        "c": " Keep the spaces. ",
    },
    "de": {
        "a": 'Sag „hi", zweimal.\nDann hör auf.',
        "b": "Eins\r\nzwei\u2028drei",
        "c": " Behalte, was leer ist. ",
    },
    "bn": {"a": "দুবার বলো।\nতারপর থামো।", "b": "এক\r\nদুই\u2028তিন", "c": " ফাঁকা রাখো। "},
}


def flat(prompts):
    """Rows of all languages in one table, one language after the other."""
    return [
        {"lang": lang, "instruction_id": i, "instruction": text}
        for lang, texts in prompts.items()
        for i, text in texts.items()
    ]


def wide(prompts):
    """A row an id, with a column a language."""
    return [
        {"key": i} | {f"prompt_{lang}": prompts[lang][i] for lang in prompts} for i in prompts["en"]
    ]


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path, rows):
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )


def save_dataset(folder, tables, *, splits=False):
    """A dataset as the Hub holds it, Parquet and a card: a configuration, or a split of one, for
    each table."""
    folder.mkdir(parents=True)
    files = {name: f"{name}/rows.parquet" for name in tables}
    for name, rows in tables.items():
        (folder / name).mkdir()
        Dataset.from_list(rows).to_parquet(folder / files[name])
    if splits:
        lines = ["- config_name: default", "  data_files:"]
        lines += [
            line for name in tables for line in (f"  - split: {name}", f"    path: {files[name]}")
        ]
    else:
        lines = [
            line
            for name in tables
            for line in (f"- config_name: {name}", f"  data_files: {files[name]}")
        ]
    (folder / "README.md").write_text("\n".join(["---", "configs:", *lines, "---", ""]))


def write_layout(folder, layout, prompts):
    """Prompts in one of the layouts that are read, below `folder`, the working directory; how a
    preset names them."""
    rows = {
        lang: [{k: v for k, v in row.items() if k != "lang"} for row in flat({lang: prompts[lang]})]
        for lang in prompts
    }
    if layout == "folder of CSV":
        for lang in prompts:
            write_csv(folder / f"prompts/{lang}.csv", rows[lang])
        return "prompts"
    if layout == "long CSV":
        write_csv(folder / "prompts.csv", flat(prompts))
        return "prompts.csv"
    if layout == "long JSONL":
        write_jsonl(folder / "prompts.jsonl", flat(prompts))
        return "prompts.jsonl"
    if layout == "long JSON, other names":
        called = {lang: f"language {lang}" for lang in prompts}
        rows_of_others = [{"lang": "Klingon", "instruction_id": "a", "instruction": "nuqneH"}]
        table = [
            {
                "l": called.get(r["lang"], r["lang"]),
                "key": r["instruction_id"],
                "text": r["instruction"],
            }
            for r in rows_of_others + flat(prompts)
        ]
        (folder / "prompts.json").write_text(json.dumps(table))
        return "prompts.json,lang=l,instruction_id=key,instruction=text" + "".join(
            f",{c}={n}" for c, n in called.items()
        )
    if layout == "wide CSV":
        write_csv(folder / "prompts.csv", wide(prompts))
        return "prompts.csv,instruction_id=key" + "".join(
            f",{lang}=prompt_{lang}" for lang in prompts
        )
    if layout == "dataset, a configuration a language":
        save_dataset(folder / "org/name", rows)
        return "hub:org/name/{lang}"
    if layout == "dataset, named configurations":
        save_dataset(folder / "org/name", {f"my_{lang}_Xy": rows[lang] for lang in prompts})
        return "hub:org/name/my_{lang}" + "".join(f",{lang}={lang}_Xy" for lang in prompts)
    if layout == "dataset, a split a language":
        save_dataset(folder / "org/name", rows, splits=True)
        return "hub:org/name:{lang}"
    if layout == "dataset, a language a row":
        save_dataset(folder / "org/name", {"all": flat(prompts)})
        return "hub:org/name/all:train"
    assert layout == "dataset, a column a language"
    save_dataset(folder / "org/name", {"all": wide(prompts)})
    return "hub:org/name,instruction_id=key" + "".join(f",{lang}=prompt_{lang}" for lang in prompts)


LAYOUTS = [
    "folder of CSV",
    "long CSV",
    "long JSONL",
    "long JSON, other names",
    "wide CSV",
    "dataset, a configuration a language",
    "dataset, named configurations",
    "dataset, a split a language",
    "dataset, a language a row",
    "dataset, a column a language",
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Datasets are found in the working directory, as load_dataset finds them there, and cached
    there too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    return tmp_path


def records(prompts, langs):
    return {
        lang: [
            {"prompt_id": i, "lang": lang, "instruction": text} for i, text in prompts[lang].items()
        ]
        for lang in langs
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_records(here, layout):
    source = write_layout(here, layout, PROMPTS)
    read = read_parallel(source)
    assert read == records(PROMPTS, PROMPTS) and next(iter(read)) == "en"
    assert read_parallel(source, "de, en") == records(PROMPTS, ["en", "de"])
    with pytest.raises(InputError, match=r"no prompts in 'sw'.*found: .*en") as error:
        read_parallel(source, "en,sw")
    assert "\n" not in str(error.value)


@pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="published prompts not there: set XLNB_PUBLISHED_DATA"
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_prompts_are_the_same_in_every_layout(here, layout):
    """The 20 longest and 20 shortest of the release's prompts, in its languages."""
    published = read_parallel(PUBLISHED)
    by_length = sorted(
        range(len(published["en"])), key=lambda i: len(published["en"][i]["instruction"])
    )
    kept = by_length[:20] + by_length[-20:]
    some = {lang: [published[lang][i] for i in kept] for lang in published}
    texts = {lang: {r["prompt_id"]: r["instruction"] for r in some[lang]} for lang in some}
    assert read_parallel(write_layout(here, layout, texts)) == some


def test_a_very_long_field_of_csv_is_read(here):
    long = {"en": {"a": "x" * 300_000}, "de": {"a": "y" * 300_000}}
    assert read_parallel(write_layout(here, "wide CSV", long)) == records(long, long)


@pytest.mark.parametrize(
    ("text", "works"),
    [
        ("en.json", "en.json,en=instruction"),
        ("en.json,instruction_id=id", "en.json,instruction_id=id,en=instruction"),
        ("en.json,instruction=text", "en.json,instruction=text,en=text"),
    ],
)
def test_a_file_of_english_prompts_only_says_how_to_name_it(here, text, works):
    (here / "en.json").write_text(json.dumps([{"id": "a", "instruction": "Ask.", "text": "Ask."}]))
    with pytest.raises(
        InputError, match=f"write {re.escape(works)} or name a folder that holds en.jsonl"
    ):
        read_parallel(text, "en")
    assert read_parallel(works, "en") == {
        "en": [{"prompt_id": "a", "lang": "en", "instruction": "Ask."}]
    }


@pytest.mark.parametrize(
    ("train", "held_out", "said"),
    [
        ("en,de", "en,de", []),
        (
            "en,de,sw",
            "en,bn",
            ["trained on but not evaluated: de, sw; evaluated but not trained on: bn"],
        ),
        ("en,de", "en", ["trained on but not evaluated: de"]),
        ("en,de", "", []),
        (
            "en",
            "en",
            ["the training prompts are in English only, so nothing in this run is cross-lingual"],
        ),
    ],
)
def test_languages_without_training_or_evaluation_are_named(here, capsys, train, held_out, said):
    overrides = {"prompts.langs": ""}
    for field, folder, langs in (("path", "train", train), ("eval_path", "eval", held_out)):
        if langs:
            overrides[f"prompts.{field}"] = folder
            (here / folder).mkdir()
        for lang in langs.split(",") if langs else []:
            asked = [{"id": folder, "instruction": f"Ask in {folder}."}]
            write_jsonl(here / folder / f"{lang}.jsonl", asked)
    stages.collect_prompts(open_run(here / "run", "lab-quick", overrides))
    assert capsys.readouterr().out.splitlines() == [f"NOTE: prompts: {line}" for line in said]


def test_evaluation_prompts_that_are_trained_on_under_other_ids_are_counted(here, capsys):
    train = {"en": ["Name a river.", "Caf\u00e9?", "Who?"], "es": ["Di un r\u00edo.", "a", "b"]}
    held_out = {"en": ["name a  river. ", "Cafe\u0301?", "Where?"], "es": ["Di.", "c", "d"]}
    for folder, by_lang in (("train", train), ("eval", held_out)):
        (here / folder).mkdir()
        for lang, texts in by_lang.items():
            rows = [{"id": f"{folder}{i}", "instruction": text} for i, text in enumerate(texts)]
            write_jsonl(here / folder / f"{lang}.jsonl", rows)
    overrides = {"prompts.langs": "", "prompts.path": "train", "prompts.eval_path": "eval"}
    run = open_run(here / "run", "lab-quick", overrides)
    stages.collect_prompts(run)
    assert capsys.readouterr().out.splitlines() == [
        "NOTE: prompts: evaluation prompts are training prompts too, under other ids: en 2 of 3, "
        "es 0 of 3; win rates on them say nothing of new prompts"
    ]
    assert len(read_jsonl(run.prompts / "en.jsonl")) == 6


def test_an_empty_file_is_refused_by_the_stage(here):
    write_jsonl(here / "p.jsonl", [])
    with pytest.raises(InputError, match=r"p\.jsonl holds no prompts"):
        stages.collect_prompts(open_run(here / "run", "lab-quick", {"prompts.path": "p.jsonl"}))


def test_a_table_without_ids_takes_the_row_for_one(here):
    write_csv(here / "mine.csv", [{"q": "One?", "f": "Eins?"}, {"q": "Two?", "f": "Zwei?"}])
    read = read_parallel("mine.csv,en=q,de=f")
    assert (
        [r["prompt_id"] for r in read["en"]]
        == [r["prompt_id"] for r in read["de"]]
        == ["mine.csv#1", "mine.csv#2"]
    )


def test_indonesian_has_the_code_of_an_id(here):
    write_csv(here / "mine.csv", [{"k": "1", "e": "One?", "i": "Satu?"}])
    assert read_parallel("mine.csv,instruction_id=k,en=e,id=i")["id"] == [
        {"prompt_id": "1", "lang": "id", "instruction": "Satu?"}
    ]
    with pytest.raises(
        InputError, match="'id' is Indonesian; name the column of ids as instruction_id=k"
    ):
        read_parallel("mine.csv,id=k,en=e")


HEADER = "lang,id,instruction\n"


@pytest.mark.parametrize(
    ("name", "text", "source", "message"),
    [
        (
            "p.csv",
            HEADER + 'en,1,"a\nb"\nen,2\n',
            "p.csv",
            r"p\.csv, line 4: 2 columns, expected 3 \(lang,id,instruction",
        ),
        ("p.csv", HEADER + 'en,1,"a"b\n', "p.csv", r"p\.csv, line 2: not valid CSV"),
        ("p.csv", HEADER + 'en,1,"a\n', "p.csv", r"p\.csv, line 2: not valid CSV"),
        (
            "p.csv",
            HEADER + 'en,1,"a\nb"\n\nen,2,\n',
            "p.csv",
            r"p\.csv, line 5: the instruction of id 2 is empty",
        ),
        ("p.csv", HEADER + "en,1,a\nen,1,b\n", "p.csv", r"p\.csv, line 3: id 1 is there twice"),
        (
            "p.csv",
            HEADER + "en,1,a\nxx,1,b\n",
            "p.csv",
            r"p\.csv, line 3: unknown language code 'xx'; name it",
        ),
        ("p.csv", HEADER + "en,1,a\nde,2,b\n", "p.csv", r"p\.csv, de: id 1 is missing"),
        (
            "p.csv",
            HEADER + "en,1,a\nde,1,b\nde,2,b\n",
            "p.csv",
            r"p\.csv, de: id 2 has no English counterpart",
        ),
        ("p.csv", HEADER + "de,1,b\n", "p.csv", r"p\.csv: no English prompts"),
        ("p.csv", "", "p.csv", r"p\.csv holds no prompts"),
        ("p.csv", "id,e\n", "p.csv,en=e", r"p\.csv holds no prompts"),
        ("p.csv", "id,e\n,a\n", "p.csv,en=e", r"p\.csv, line 2, column e: the id is empty"),
        (
            "p.csv",
            "id,instruction\n1,a\n",
            "p.csv",
            r"p\.csv, line 2: key 'lang' is missing.*such as en=prompt_en",
        ),
        ("p.csv", "id,e\n1,a\n", "p.csv,en=e,de=d", r"p\.csv, line 2: no column 'd'; found: id, e"),
        (
            "p.csv",
            "id,e,d\n1,a,\n",
            "p.csv,en=e,de=d",
            r"p\.csv, line 2, column d: the instruction of id 1 is empty",
        ),
        (
            "p.csv",
            "id,e\n1,a\n",
            "p.csv,en=e,xx=e",
            "'xx' is neither a language code nor one of instruction, ",
        ),
        ("p.csv", "id,e\n1,a\n", "p.csv,en=e,en=e", "a column is named twice"),
        (
            "p.jsonl",
            '{"lang": "en", "id": 1}\n',
            "p.jsonl",
            r"p\.jsonl, line 1: key 'instruction' is missing",
        ),
        ("p.txt", "x", "p.txt", r"p\.txt: expected a \.jsonl, \.json, \.csv file"),
        ("p.csv", "x", "q.csv", r"q\.csv: no such file or folder"),
        ("p.csv", "x", "hub:name", r"'hub:name': expected hub:ORG/NAME"),
        ("p.csv", "x", "hub:org/my-{lang}", r"\{lang\} may stand once"),
    ],
)
def test_a_bad_table_is_one_clear_line(here, name, text, source, message):
    (here / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as error:
        read_parallel(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "hub:org/name/fr",
            r"hub:org/name/fr: BuilderConfig 'fr' not found. Available: \['de', 'en'\]",
        ),
        ("hub:org/name", r"hub:org/name: Config name is missing. Please pick one"),
        ("hub:org/name/en:dev", r"hub:org/name/en:dev: Unknown split \"dev\""),
        ("hub:org/name/de,en=text", r"no column 'text'; found: instruction_id, instruction"),
        ("hub:org/name/de", r"hub:org/name/de, row 1: key 'lang' is missing"),
        (
            "hub:org/absent",
            r"hub:org/absent: the Hub cannot be reached and the cache has no copy.*or name a file",
        ),
    ],
)
def test_a_dataset_that_cannot_be_read_is_one_clear_line(here, source, message):
    rows = {lang: [{"instruction_id": "a", "instruction": "Ask."}] for lang in ("de", "en")}
    save_dataset(here / "org/name", rows)
    with pytest.raises(InputError, match=message) as error:
        read_parallel(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            DatasetNotFoundError(
                "Dataset 'o/n' is a gated dataset on the Hub. You must be authenticated to"
                " access it."
            ),
            (
                r"hub:o/n: .*gated.* accept its terms at https://huggingface\.co/datasets/o/n and"
                r" log in .*HF_TOKEN"
            ),
        ),
        (
            DatasetNotFoundError("Dataset 'o/n' doesn't exist on the Hub or cannot be accessed."),
            r"hub:o/n: .*doesn't exist.* check the name, and for a private dataset log in",
        ),
        (
            RuntimeError("Dataset scripts are no longer supported, but found n.py"),
            r"scripts.*@refs/convert/parquet",
        ),
    ],
)
def test_what_the_hub_refuses_says_what_to_do(monkeypatch, raised, message):
    def refuse(*_, **__):
        raise raised

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(InputError, match=message):
        list(read_rows(parse_source("hub:o/n"), ()))


def test_a_dataset_on_the_hub_is_known_by_its_commit(monkeypatch):
    asked = []

    class Builder:
        hash = "abc123"

    def builder(repo, config, *, revision):
        asked.append((repo, config, revision))
        return Builder

    monkeypatch.setattr("datasets.load_dataset_builder", builder)
    found = [
        parse_source(text) for text in ("hub:o/n/de:test@refs/convert/parquet,en=q", "hub:o/m")
    ]
    assert source_versions(found) == {
        "datasets": {"hub:o/n/de:test@refs/convert/parquet": "abc123", "hub:o/m": "abc123"}
    }
    assert asked == [("o/n", "de", "refs/convert/parquet"), ("o/m", None, None)]
    assert source_versions([parse_source("prompts.csv")]) == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_stage_notices_a_changed_source(here, layout, capsys):
    source = write_layout(here, layout, PROMPTS)
    overrides = {"prompts.path": source, "prompts.langs": "en,de"}
    run = open_run(here / "run", "lab-quick", overrides)
    stages.collect_prompts(run)
    first = read_jsonl(run.path / "prompts/de.jsonl")
    assert [r["instruction"] for r in first] == list(PROMPTS["de"].values()) and first[0][
        "split"
    ] == "train"
    stages.collect_prompts(run)
    assert capsys.readouterr().out == ""
    shutil.rmtree(here / "org", ignore_errors=True)
    write_layout(here, layout, PROMPTS | {"de": PROMPTS["de"] | {"a": "Neu."}})
    stages.collect_prompts(run)
    assert re.search("prompts: redone, because .* changed", capsys.readouterr().out)
    assert read_jsonl(run.path / "prompts/de.jsonl")[0]["instruction"] == "Neu."


class Memory(Reader):
    """Prompts in a dictionary of tables, memory:NAME."""

    def __init__(self, tables):
        self.tables = tables

    def handles(self, where):
        return where.startswith("memory:")

    def rows(self, source, needed):
        for number, row in enumerate(self.tables[source.where.removeprefix("memory:")], 1):
            yield f"{source.where}, row {number}", row


@pytest.fixture
def memory(monkeypatch):
    """The tables of a source of one's own: a reader, and its place among the others."""
    tables = {}
    monkeypatch.setattr("xlnb.inputs.sources.READERS", [Memory(tables), *sources.READERS])
    return tables


def test_a_source_of_one_s_own_is_read_in_every_layout_of_a_table(memory):
    memory |= {"flat": flat(PROMPTS), "wide": wide(PROMPTS), "no ids": [{"e": "One?"}]}
    columns = "".join(f",{lang}=prompt_{lang}" for lang in PROMPTS)
    assert read_parallel("memory:flat") == records(PROMPTS, PROMPTS)
    assert read_parallel("memory:flat", "en,de") == records(PROMPTS, ["en", "de"])
    assert read_parallel(f"memory:wide,instruction_id=key{columns}") == records(PROMPTS, PROMPTS)
    assert read_parallel("memory:no ids,en=e")["en"][0]["prompt_id"] == "no ids#1"
    assert parse_source("memory:flat,en=e").name == "flat"


def test_a_source_of_one_s_own_has_the_others_errors(memory):
    memory |= {"flat": flat(PROMPTS), "bad": [{"lang": "en", "id": 1}], "empty": []}
    for text, message in (
        ("memory:flat,en=x", "memory:flat, row 1: no column 'x'; found: lang, instruction_id"),
        ("memory:bad", "memory:bad, row 1: key 'instruction' is missing"),
        ("memory:empty", "memory:empty holds no prompts"),
    ):
        with pytest.raises(InputError, match=message):
            read_parallel(text)


def test_a_source_of_one_s_own_gives_prompts_and_preferences_to_a_run(memory, here):
    memory["train"] = flat(PROMPTS)
    memory["pairs"] = [{"prompt": "Name a colour.", "chosen": "Blue.", "rejected": "No."}]
    overrides = {"prompts.path": "memory:train", "preferences.path": "memory:pairs"}
    run = open_run(here / "run", "lab-quick", overrides | {"prompts.langs": "en,de"})
    stages.collect_prompts(run)
    texts = [r["instruction"] for r in read_jsonl(run.path / "prompts/de.jsonl")]
    assert texts == list(PROMPTS["de"].values())
    stages.prefer(run)
    assert read_jsonl(run.path / "dpo/pairs/en.jsonl")[0]["chosen"][0]["content"] == "Blue."


def test_names_of_sources():
    assert parse_source("hub:o/n/{lang}:test,en=q").name == "o/n"
    assert parse_source("data/x.csv,en=q").name == "x.csv"
    # No column: a path.
    assert parse_source("a,b/c=d").columns == {} and parse_source("a,b/c=d").where == "a,b/c=d"
