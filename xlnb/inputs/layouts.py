"""How a source holds prompts in several languages: a reader a layout.

    a language in each table    FOLDER, hub:ORG/NAME/{lang} or hub:ORG/NAME:{lang}
    a language in each row      WHERE with a column `lang`
    a language in each column   WHERE,en=COLUMN,de=COLUMN

A layout is read as {lang: Table}, of the languages that are there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from xlnb.common.errors import InputError
from xlnb.common.given import shown
from xlnb.common.languages import LANGUAGES
from xlnb.inputs.reader import Row, Source, missing_key
from xlnb.inputs.sources import parse_source, read_rows

# the columns of a prompt
ROW = ("instruction", "instruction_id", "id", "checks", "reference")

# what a source's columns may be named for, beside languages
FIELDS = ("instruction", "instruction_id", "lang", "checks", "reference")

T = TypeVar("T")


class Form(NamedTuple):
    """What the rows of a source are: the columns that are read of them, and what of these a source
    may name its columns for, beside languages."""

    columns: Sequence[str]
    fields: Sequence[str]
    # whether English must be there
    english: bool


PROMPTS = Form(ROW, FIELDS, english=True)


class Table(NamedTuple):
    """The prompts of one language."""

    # names it in an error
    where: str
    rows: list[Row]


def parse_form(text: str, form: Form) -> Source:
    """As `parse_source`. Raises InputError too for a column that the form has not."""
    source = parse_source(text)
    for ours in source.columns:
        if ours not in form.fields and ours not in LANGUAGES:
            fields = ", ".join(form.fields)
            raise InputError(f"{text}: '{ours}' is neither a language code nor one of {fields}")
    return source


def parse_prompts(text: str) -> Source:
    """As `parse_form`, of prompts."""
    source = parse_form(text, PROMPTS)
    if "id" in source.columns and "instruction_id" not in source.columns:
        raise InputError(
            f"{text}: 'id' is Indonesian; "
            f"name the column of ids as instruction_id={source.columns['id']}"
        )
    return source


def language_sources(
    source: Source, langs: Sequence[str], form: Form = PROMPTS
) -> dict[str, Source] | None:
    """The source of each language asked for (none: of every one), English first, where each has a
    table of its own; else None."""
    found = source.reader.languages(_plain(source, form), _called(source, form), langs)
    if found is None:
        return None
    for lang in langs:
        if lang not in LANGUAGES:
            known = ", ".join(LANGUAGES)
            raise InputError(f"{source.where}: unknown language code '{lang}'; known: {known}")
    return pick(found, langs, source.where, expected=source.reader.expected, english=form.english)


def read_tables(source: Source, langs: Sequence[str], form: Form = PROMPTS) -> dict[str, Table]:
    """The table of each language asked for (none: of every one), English first."""
    by_language = language_sources(source, langs, form)
    if by_language is not None:
        return {
            lang: Table(one.where, list(read_rows(one, form.columns)))
            for lang, one in by_language.items()
        }
    in_columns = form is PROMPTS and _called(source, form) and "lang" not in source.columns
    tables = languages_in_columns(source) if in_columns else languages_in_rows(source, form)
    return pick(tables, langs, source.text, english=form.english)


def languages_in_rows(source: Source, form: Form = PROMPTS) -> dict[str, Table]:
    """A row names its language, by its code or as the source calls it."""
    called = _called(source, form)
    plain = _plain(source, form)
    codes = {name: lang for lang, name in called.items()} or {lang: lang for lang in LANGUAGES}
    tables: dict[str, Table] = {}
    for where, row in read_rows(plain, {"lang", *form.columns}):
        if "lang" not in row and form is not PROMPTS:
            raise missing_key(where, "lang", row, ", ".join(form.fields))
        if "lang" not in row:
            raise _no_language(plain, where, row)
        name = row["lang"]
        # a list has no place among keys
        if isinstance(name, str) and name in codes:
            lang = codes[name]
            table = tables.setdefault(lang, Table(f"{source.where}, {lang}", []))
            table.rows.append((where, row))
        elif not called:
            raise InputError(
                f"{where}: unknown language code {shown(name)}; name it, such as en=ENGLISH"
            )
    return tables


def languages_in_columns(source: Source) -> dict[str, Table]:
    """A row has a column a language. A row without an id takes its number, TABLE#ROW."""
    called = _called(source, PROMPTS)
    tables = {lang: Table(f"{source.where}, {lang}", []) for lang in called}
    for number, (where, row) in enumerate(read_rows(source, ROW), 1):
        numbered = f"{source.reader.table(source.where)}#{number}"
        prompt_id = row.get("instruction_id", row.get("id", numbered))
        for lang, column in called.items():
            prompt = {"id": prompt_id, "instruction": row[lang], "checks": row.get("checks")}
            tables[lang].rows.append((f"{where}, column {column}", prompt))
    return tables


def pick(
    found: Mapping[str, T],
    langs: Sequence[str],
    where: str,
    *,
    expected: str = "",
    english: bool = True,
) -> dict[str, T]:
    """What was found of the languages asked for (none: of every one), English first; `english`:
    which must be there."""
    wanted = list(langs or found)
    for lang in wanted:
        if lang not in found:
            there = ", ".join(found) or "nothing"
            named = f"'{lang}'{expected.format(lang=lang)}"
            raise InputError(f"{where}: no prompts in {named}; found: {there}")
    if english and "en" not in wanted:
        raise InputError(
            f"{where}: no English prompts ('en'), whose instructions the cross-lingual reward needs"
        )
    return {lang: found[lang] for lang in sorted(wanted, key=lambda lang: lang != "en")}


def _called(source: Source, form: Form) -> dict[str, str]:
    """What the source calls languages, or the columns that it has them in."""
    return {ours: theirs for ours, theirs in source.columns.items() if ours not in form.fields}


def _plain(source: Source, form: Form) -> Source:
    """The source without its names of languages."""
    columns = {ours: theirs for ours, theirs in source.columns.items() if ours in form.fields}
    return replace(source, columns=columns)


def _no_language(source: Source, where: str, row: Mapping[str, object]) -> InputError:
    """The error of a row that does not name its language, with what to write instead."""
    instruction = source.columns.get("instruction", "instruction")
    english = replace(source, columns={**source.columns, "en": instruction})
    return missing_key(
        where,
        "lang",
        row,
        "lang, id and instruction with all languages in one table; or name the column of each "
        "language, such as en=prompt_en; where all prompts are English, write "
        f"{english.text} or name a folder that holds en.jsonl",
    )
