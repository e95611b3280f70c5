"""Parallel prompts: the same instructions in several languages, joined by id."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.languages import LANGUAGES, split_langs
from xlnb.inputs.sources import (
    SUFFIXES,
    Row,
    Source,
    missing_key,
    parse_source,
    read_rows,
    variants,
)

Record = dict[str, Any]

# the columns of a prompt
ROW = ("instruction", "instruction_id", "id")

FIELDS = (
    "instruction",
    "instruction_id",
    "lang",
)  # what a source's columns may be named for, beside languages


def read_parallel(source: str | Path, langs: str = "") -> dict[str, list[Record]]:
    """Read parallel prompts: {lang: [{"prompt_id", "lang", "instruction"}]}, English first and in
    its order.

    `source` (see `xlnb.sources`) holds them in one of four layouts:

    a language in each file, FOLDER with <lang>.jsonl, <lang>.json or <lang>.csv (its sub-folders
    are not read); a language in each configuration or split, hub:ORG/NAME/{lang} or
    hub:ORG/NAME:{lang}; a language in each row, FILE or hub:ORG/NAME with a column `lang`; a
    language in each column, WHERE,en=COLUMN,de=COLUMN: codes name columns.

    In the second and third layout a code names what the source calls the language,
    `lang=language,de=German`, and only those named are read. Rows hold "instruction" and
    "instruction_id" (or "id"); with a language in each column an id may be missing and is then
    FILE#ROW or SPLIT#ROW. Every language must hold the same ids once each; English, whose
    instructions the cross-lingual reward needs, must be there. `langs` ("en,es") picks languages,
    empty takes all. Raises InputError naming file and line, or id.
    """
    tables = _tables(str(source), split_langs(langs))
    prompts = {lang: _checked(rows, lang) for lang, (_, rows) in tables.items()}
    return {
        lang: join(records, prompts["en"], tables[lang][0]) for lang, records in prompts.items()
    }


def prompt_sources(source: str | Path, langs: str = "") -> list[Source]:
    """The files or datasets that `read_parallel` reads. Raises InputError for a language that is
    not there."""
    parsed = _parse(str(source))
    return list(_by_language(parsed, split_langs(langs)).values()) if _many(parsed) else [parsed]


def join(records: list[dict], reference: list[dict], where: str) -> list[dict]:
    """`records` in the order of `reference`, matched by prompt_id. Raises InputError where the ids
    differ."""
    by_id = {record["prompt_id"]: record for record in records}
    ids = [record["prompt_id"] for record in reference]
    for missing in sorted(set(ids) - by_id.keys())[:1]:
        raise InputError(
            f"{where}: id {missing} is missing; every language must hold the same ids as English"
        )
    for extra in sorted(by_id.keys() - set(ids))[:1]:
        raise InputError(
            f"{where}: id {extra} has no English counterpart; add it to English or remove it here"
        )
    return [by_id[prompt_id] for prompt_id in ids]


def _parse(text: str) -> Source:
    source = parse_source(text)
    for ours in source.columns:
        if ours not in FIELDS and ours not in LANGUAGES:
            raise InputError(
                f"{text}: '{ours}' is neither a language code nor one of {', '.join(FIELDS)}"
            )
    if "id" in source.columns and "instruction_id" not in source.columns:
        raise InputError(
            f"{text}: 'id' is Indonesian; name the column of ids as"
            f" instruction_id={source.columns['id']}"
        )
    return source


def _many(source: Source) -> bool:
    """Whether each language has a table of its own."""
    return "{lang}" in source.where or (not source.hub and Path(source.where).is_dir())


def _by_language(source: Source, langs: list[str]) -> dict[str, Source]:
    """The table of each language asked for, or of every one: English first."""
    plain, called = _split_columns(source)
    found: dict[str, Source] = {}
    if "{lang}" in source.where:
        names = variants(source)
        called = called or {lang: lang for lang in LANGUAGES}
        found = {lang: plain.in_lang(name) for lang, name in called.items() if name in names}
    else:
        for path in _language_files(Path(source.where), langs):
            if path.stem in found:
                other = Path(found[path.stem].where).name
                raise InputError(
                    f"{source.where}: both {other} and {path.name}; keep one file a language"
                )
            found[path.stem] = replace(plain, where=str(path))
    wanted = langs or list(found)
    for lang in wanted:
        if lang not in LANGUAGES:
            where, advice = source.where, ""
            if lang in found:
                where, advice = (
                    found[lang].where,
                    ", so no file of prompts; rename it or take it out of the folder",
                )
            raise InputError(
                f"{where}: unknown language code '{lang}'{advice}; known: {', '.join(LANGUAGES)}"
            )
        if lang not in found:
            named = f"'{lang}'" + (
                "" if source.hub else f" ({lang}.jsonl, {lang}.json or {lang}.csv)"
            )
            raise InputError(
                f"{source.where}: no prompts in {named}; found: {', '.join(found) or 'nothing'}"
            )
    return {lang: found[lang] for lang in _english_first(wanted, source.where)}


def _language_files(folder: Path, langs: list[str]) -> Iterator[Path]:
    """The files of prompts in a folder. Raises InputError for another that might be meant for one
    of `langs` (or any).

    Not meant so are sub-folders, hidden files and, under a name that is no language's, READMEs and
    other texts."""
    for path in sorted(folder.iterdir()):
        lang, suffix = path.name.partition(".")[0], path.suffix.lower()
        if path.is_dir() or not lang:
            continue
        text = lang not in LANGUAGES and (
            suffix in (".md", ".txt") or lang.upper() in ("README", "LICENSE")
        )
        if suffix in SUFFIXES:
            yield path
        elif not text and (not langs or lang in langs):
            raise InputError(
                f"{path}: not a form that is read (<lang>.jsonl, <lang>.json or <lang>.csv);"
                " convert it or take it out of the folder"
            )


def _tables(text: str, langs: list[str]) -> dict[str, tuple[str, list[Row]]]:
    """Where the rows of each language stand, and the rows; English first."""
    source = _parse(text)
    if _many(source):
        by_language = _by_language(source, langs)
        return {lang: (one.where, list(read_rows(one, ROW))) for lang, one in by_language.items()}
    plain, named = _split_columns(source)
    if "lang" in source.columns or not named:
        tables = _languages_in_rows(plain, named)
    else:
        tables = _languages_in_columns(source, named)
    for lang in langs:
        if lang not in tables:
            raise InputError(
                f"{text}: no prompts in '{lang}'; found: {', '.join(tables) or 'nothing'}"
            )
    wanted = _english_first(langs or list(tables), text)
    return {lang: (f"{source.where}, {lang}", tables[lang]) for lang in wanted}


def _split_columns(source: Source) -> tuple[Source, dict[str, str]]:
    """The source without its names of languages, and those: {lang: what the source calls it, or its
    column}."""
    named = {ours: theirs for ours, theirs in source.columns.items() if ours not in FIELDS}
    return (
        replace(
            source, columns={ours: source.columns[ours] for ours in source.columns.keys() - named}
        ),
        named,
    )


def _languages_in_rows(plain: Source, named: dict[str, str]) -> dict[str, list[Row]]:
    codes = {theirs: lang for lang, theirs in named.items()} or {lang: lang for lang in LANGUAGES}
    tables: dict[str, list[Row]] = {}
    for where, row in read_rows(plain, {"lang", *ROW}):
        if "lang" not in row:
            columns = plain.columns | {"en": plain.columns.get("instruction", "instruction")}
            english = ",".join(
                [plain.where, *(f"{ours}={theirs}" for ours, theirs in columns.items())]
            )
            raise missing_key(
                where,
                "lang",
                row,
                "lang, id and instruction with all languages in one table; or name the column of"
                " each language, such as en=prompt_en; where all prompts are English, write"
                f" {english} or name a folder that holds en.jsonl",
            )
        if row["lang"] in codes:
            tables.setdefault(codes[row["lang"]], []).append((where, row))
        elif not named:
            raise InputError(
                f"{where}: unknown language code '{row['lang']}'; name it, such as en={row['lang']}"
            )
    return tables


def _languages_in_columns(source: Source, named: dict[str, str]) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {lang: [] for lang in named}
    for number, (where, row) in enumerate(read_rows(source, ROW), 1):
        name = Path(source.where).name if not source.hub else source.where.rpartition(":")[2]
        prompt_id = row.get("instruction_id", row.get("id", f"{name}#{number}"))
        for lang, column in named.items():
            tables[lang].append(
                (f"{where}, column {column}", {"id": prompt_id, "instruction": row[lang]})
            )
    return tables


def _english_first(langs: list[str], where: str) -> list[str]:
    if "en" not in langs:
        raise InputError(
            f"{where}: no English prompts ('en'), whose instructions the cross-lingual reward needs"
        )
    return ["en", *(lang for lang in langs if lang != "en")]


def _checked(rows: list[Row], lang: str) -> list[Record]:
    """Rows as prompt records. Raises InputError for an id missing, empty or there twice, and for an
    instruction that is missing, empty or no text."""
    prompts: dict[str, Record] = {}
    for where, row in rows:
        key = "instruction_id" if "instruction_id" in row else "id"
        for needed in (key, "instruction"):
            if needed not in row:
                raise missing_key(where, needed, row, "instruction and instruction_id (or id)")
        if row[key] is None or not str(row[key]).strip():
            raise InputError(
                f"{where}: the {key} is empty; give the prompt one, the same in every language"
            )
        prompt_id, instruction = str(row[key]), row["instruction"]
        if not isinstance(instruction, str) or not instruction.strip():
            raise InputError(
                f"{where}: the instruction of id {prompt_id} is empty; fill it in or remove the id"
                " everywhere"
            )
        if any("\ud800" <= character <= "\udfff" for character in instruction):
            raise InputError(
                f"{where}: the instruction of id {prompt_id} holds half a character (a lone"
                " surrogate); mend it"
            )
        if prompt_id in prompts:
            raise InputError(
                f"{where}: id {prompt_id} is there twice; ids must be unique in a language"
            )
        prompts[prompt_id] = {"prompt_id": prompt_id, "lang": lang, "instruction": instruction}
    return list(prompts.values())
