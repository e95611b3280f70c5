"""Parallel prompts: the same instructions in several languages, joined by id."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xlnb.checks.kinds import given_checks
from xlnb.common.errors import InputError
from xlnb.common.given import given_id, given_text, is_blank
from xlnb.common.languages import split_langs
from xlnb.common.text import shorten
from xlnb.inputs.layouts import language_sources, parse_prompts, read_tables
from xlnb.inputs.reader import Row, Source, missing_key

Record = dict[str, Any]

# characters of an id in an error
SHOWN = 60


def read_parallel(
    source: str | Path, langs: str = "", *, references: bool = False
) -> dict[str, list[Record]]:
    """Read parallel prompts: {lang: [{"prompt_id", "lang", "instruction"}]}, English first and in
    its order.

    `source` (see `xlnb.inputs.sources`) holds them in one of four layouts:

    - a language in each file, FOLDER with <lang>.jsonl, <lang>.json or <lang>.csv (its sub-folders
      are not read);
    - a language in each configuration or split, hub:ORG/NAME/{lang} or hub:ORG/NAME:{lang};
    - a language in each row, FILE or hub:ORG/NAME with a column `lang`;
    - a language in each column, WHERE,en=COLUMN,de=COLUMN: codes name columns.

    In the second and third layout a code names what the source calls the language,
    `lang=language,de=German`, and only those named are read. Rows hold "instruction" and
    "instruction_id" (or "id"), and "checks" where a program can verify responses, which the record
    then holds as well, and so it does "reference" where `references` are asked for and a row has
    one; with a language in each column an id may be missing and is then FILE#ROW or SPLIT#ROW, and
    there are no references. Every language must hold the same ids once each; English, whose
    instructions the cross-lingual reward needs, must be there. `langs` ("en,es") picks languages,
    empty takes all. Raises InputError naming file and line, or id.
    """
    tables = read_tables(parse_prompts(str(source)), split_langs(langs))
    prompts = {lang: _prompts(table.rows, lang, references) for lang, table in tables.items()}
    return {
        lang: join(records, prompts["en"], tables[lang].where) for lang, records in prompts.items()
    }


def prompt_sources(source: str | Path, langs: str = "") -> list[Source]:
    """The files or datasets that `read_parallel` reads. Raises InputError for a language that is
    not there."""
    parsed = parse_prompts(str(source))
    by_language = language_sources(parsed, split_langs(langs))
    return [parsed] if by_language is None else list(by_language.values())


def join(records: list[Record], reference: list[Record], where: str) -> list[Record]:
    """`records` in the order of `reference`, matched by prompt_id. Raises InputError where the ids
    differ."""
    by_id = {record["prompt_id"]: record for record in records}
    ids = [record["prompt_id"] for record in reference]
    missing = set(ids) - by_id.keys()
    if missing:
        raise InputError(
            f"{where}: id {shorten(min(missing), SHOWN)} is missing; "
            "every language must hold the same ids as English"
        )
    extra = by_id.keys() - set(ids)
    if extra:
        raise InputError(
            f"{where}: id {shorten(min(extra), SHOWN)} has no English counterpart; "
            "add it to English or remove it here"
        )
    return [by_id[prompt_id] for prompt_id in ids]


def _prompts(rows: Sequence[Row], lang: str, references: bool) -> list[Record]:
    """Rows as prompt records. Raises InputError for an id that is there twice, and as `_prompt`
    and `given_checks`."""
    prompts: dict[str, Record] = {}
    for where, row in rows:
        prompt_id, instruction = _prompt(where, row)
        if prompt_id in prompts:
            raise InputError(
                f"{where}: id {shorten(prompt_id, SHOWN)} is there twice; "
                "ids must be unique in a language"
            )
        record = {"prompt_id": prompt_id, "lang": lang, "instruction": instruction}
        checks = given_checks(f"{where}: id {shorten(prompt_id, SHOWN)}", row.get("checks"), lang)
        prompts[prompt_id] = record | ({"checks": checks} if checks else {})
        reference = row.get("reference")
        if references and reference is not None and not is_blank(str(reference)):
            named = f"the reference of id {prompt_id}"
            prompts[prompt_id]["reference"] = given_text(where, named, reference)
    return list(prompts.values())


def _prompt(where: str, row: dict[str, Any]) -> tuple[str, str]:
    """The id and the instruction of a row. Raises InputError for one that is missing or empty, and
    for an instruction that is no text."""
    key = "instruction_id" if "instruction_id" in row else "id"
    for needed in (key, "instruction"):
        if needed not in row:
            raise missing_key(where, needed, row, "instruction and instruction_id (or id)")
    prompt_id = given_id(where, f"the {key}", row[key])
    if prompt_id is None:
        raise InputError(
            f"{where}: the {key} is empty; give the prompt one, the same in every language"
        )
    name = f"the instruction of id {shorten(prompt_id, SHOWN)}"
    instruction = row["instruction"]
    if instruction is None or (isinstance(instruction, str) and is_blank(instruction)):
        raise InputError(f"{where}: {name} is empty; fill it in or remove the id everywhere")
    return prompt_id, given_text(where, name, instruction)
