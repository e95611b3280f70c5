"""Responses of one's own, in any languages: preference pairs, and lists of responses to score.

A pair's row holds `prompt`, in the language, `chosen` and `rejected` in any form of
`xlnb.inputs.preferences`, a `prompt_id` that is the same in every language, and if it has one a
`category`; its language stands in the table's name or in a column `lang`. A list's row holds
`prompt_id`, `lang`, `instruction` and `responses`, a list of texts.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from xlnb.common.errors import InputError
from xlnb.common.given import given_id, given_text, is_blank
from xlnb.common.languages import language_name, split_langs
from xlnb.common.records import Pair
from xlnb.inputs.layouts import Form, parse_form, read_tables
from xlnb.inputs.preferences import COLUMNS, Read, row_pair
from xlnb.inputs.reader import missing_key
from xlnb.inputs.sources import parse_source, read_rows

PAIRS = Form(
    (*COLUMNS, "category"),
    ("lang", "prompt_id", "prompt", "chosen", "rejected", "category"),
    english=False,
)
LIST = ("prompt_id", "lang", "instruction", "responses")


class GivenPair(NamedTuple):
    """A pair, and what kind it is of; empty where the source does not say."""

    pair: Pair
    category: str


class GivenResponses(NamedTuple):
    """Responses to a prompt."""

    prompt_id: str
    lang: str
    instruction: str
    texts: list[str]


def read_pairs(
    text: str, langs: str, read: Read
) -> tuple[list[GivenPair], dict[str, dict[str, Any]]]:
    """The usable pairs of a source, and a report of counts a language, in which rows = pairs +
    Σ dropped.

    `langs` ("de,es") picks languages, empty takes all. `read`: as for `preference_pairs`, by whose
    rules pairs are dropped. Raises InputError naming the row for anything else, such as a row
    without a prompt_id, or two prompts of one id in a language.
    """
    tables = read_tables(parse_form(text, PAIRS), split_langs(langs), PAIRS)
    pairs = []
    report = {}
    for lang, table in tables.items():
        seen: set[tuple[str, str, str]] = set()
        dropped: Counter[str] = Counter()
        asked: dict[str, str] = {}
        for number, (where, row) in enumerate(table.rows, 1):
            _check_id(where, row)
            pair, reason = row_pair(where, row, number, seen, read)
            if reason:
                dropped[reason] += 1
                continue
            _check_one_prompt(where, pair.prompt_id, lang, pair.instruction, asked)
            category = given_id(where, "category", row.get("category")) or ""
            pairs.append(GivenPair(replace(pair, lang=lang), category))
        rows = len(table.rows)
        kept = rows - dropped.total()
        report[lang] = {"rows": rows, "pairs": kept, "dropped": dict(dropped)}
    if not pairs:
        raise InputError(f"{text}: no usable pair; by language: {report}")
    return pairs, report


def read_responses(path: Path) -> list[GivenResponses]:
    """The rows of a file. Raises InputError naming the row for what is missing or none of the
    kind."""
    found = []
    asked: dict[str, dict[str, str]] = {}
    for where, row in read_rows(parse_source(str(path)), LIST):
        for name in LIST:
            if name not in row:
                raise missing_key(where, name, row, ", ".join(LIST))
        prompt_id = _check_id(where, row)
        lang = given_text(where, "lang", row["lang"])
        try:
            language_name(lang)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        instruction = given_text(where, "instruction", row["instruction"])
        if is_blank(instruction):
            raise InputError(f"{where}: the instruction of id {prompt_id} is empty")
        by_id = asked.setdefault(lang, {})
        if prompt_id in by_id:
            raise InputError(
                f"{where}: id {prompt_id} ({lang}) is there twice; put its responses in one row"
            )
        by_id[prompt_id] = instruction
        texts = row["responses"]
        if not isinstance(texts, list) or not texts:
            raise InputError(f"{where}: responses is no list of texts")
        texts = [given_text(where, "a response", text) for text in texts]
        found.append(GivenResponses(prompt_id, lang, instruction, texts))
    return found


def by_prompt(pairs: list[GivenPair]) -> list[GivenResponses]:
    """The responses of pairs, those to one prompt together: chosen, rejected, chosen, rejected …"""
    found: dict[tuple[str, str], GivenResponses] = {}
    for pair, _ in pairs:
        new = GivenResponses(pair.prompt_id, pair.lang, pair.instruction, [])
        given = found.setdefault((pair.lang, pair.prompt_id), new)
        given.texts.extend([pair.chosen, pair.rejected])
    return list(found.values())


def _check_id(where: str, row: Mapping[str, Any]) -> str:
    """The row's prompt_id (or id)."""
    name = "prompt_id" if "prompt_id" in row else "id"
    prompt_id = given_id(where, name, row.get(name))
    if prompt_id is None:
        raise InputError(
            f"{where}: no prompt_id; give each row one, the same in every language (a column of "
            "another name as prompt_id=NAME)"
        )
    return prompt_id


def _check_one_prompt(
    where: str, prompt_id: str, lang: str, instruction: str, asked: dict[str, str]
) -> None:
    if asked.setdefault(prompt_id, instruction) != instruction:
        raise InputError(f"{where}: id {prompt_id} ({lang}) has two prompts; an id is one prompt's")
