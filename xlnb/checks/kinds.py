"""The kinds of checks: what each needs beside its name, and whether a response meets it.

A check is an object with its kind and its value, such as {"kind": "words_at_most", "n": 50}, and a
prompt carries a list of them.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from xlnb.checks.text import (
    UNMARKED,
    begins,
    ends,
    holds,
    is_in,
    is_json,
    is_sentence,
    is_unrepeated,
    n_points,
    n_words,
    sentences,
)
from xlnb.common.errors import InputError
from xlnb.common.given import given_text, is_blank, shown
from xlnb.common.languages import LANGUAGES

Check = dict[str, Any]


class Value(NamedTuple):
    """What a check holds beside its kind; without a name nothing."""

    name: str
    # in words
    expected: str
    fits: Callable[[Any], bool]


class Kind(NamedTuple):
    needs: Value
    # of a response, the check's value and the prompt's language
    met: Callable[[str, Any, str], bool]
    # whether it goes by where sentences end
    by_sentences: bool = False


def _is_text(value: Any) -> bool:
    """Whether something of it is left without punctuation."""
    return isinstance(value, str) and any(character.isalnum() for character in value)


def _is_phrase(value: Any) -> bool:
    return isinstance(value, str) and not is_blank(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


NOTHING = Value("", "no value", lambda value: value is None)
ANSWERS = Value("answers", "a list of texts", _are_texts)
LANG = Value("lang", "a language code, such as de", lambda value: value in list(LANGUAGES))
COUNT = Value("n", "a whole number from 1", _is_count)
A_WORD = Value("word", "a text", _is_text)
PHRASE = Value("phrase", "a text", _is_phrase)

KINDS: dict[str, Kind] = {
    # holds one of the answers as whole words
    "answer": Kind(ANSWERS, lambda text, some, lang: any(holds(text, one, lang) for one in some)),
    # is not surely in another language
    "language": Kind(LANG, lambda text, asked, lang: is_in(text, asked)),
    # characters in languages that do not space words
    "words_at_most": Kind(COUNT, lambda text, n, lang: n_words(text, lang) <= n),
    "words_at_least": Kind(COUNT, lambda text, n, lang: n_words(text, lang) >= n),
    "sentences_at_most": Kind(COUNT, lambda text, n, lang: len(sentences(text, lang)) <= n, True),
    "sentences_at_least": Kind(COUNT, lambda text, n, lang: len(sentences(text, lang)) >= n, True),
    # of a list
    "points": Kind(COUNT, lambda text, n, lang: n_points(text) == n),
    "uses": Kind(A_WORD, lambda text, word, lang: holds(text, word, lang)),
    "avoids": Kind(A_WORD, lambda text, word, lang: not holds(text, word, lang)),
    "begins": Kind(PHRASE, lambda text, phrase, lang: begins(text, phrase, lang)),
    "ends": Kind(PHRASE, lambda text, phrase, lang: ends(text, phrase, lang)),
    "json": Kind(NOTHING, lambda text, _, lang: is_json(text)),
    # three words or more, and the end of a sentence
    "sentence": Kind(NOTHING, lambda text, _, lang: is_sentence(text, lang), True),
    # no sentence twice
    "unrepeated": Kind(NOTHING, lambda text, _, lang: is_unrepeated(text, lang), True),
}


def met(text: str, checks: Sequence[Check], lang: str) -> list[bool]:
    """For each check whether a response to a prompt in `lang` meets it. An empty one meets none."""
    if is_blank(text):
        return [False] * len(checks)
    found = []
    for check in checks:
        kind = KINDS[check["kind"]]
        found.append(bool(kind.met(text, check.get(kind.needs.name), lang)))
    return found


def check_kind(where: str, name: Any, lang: str) -> Kind:
    """The kind of that name. Raises InputError for an unknown one, and for one that a program
    cannot verify in the language."""
    if not isinstance(name, str) or name not in KINDS:
        raise InputError(f"{where}: unknown kind {shown(name)}; expected one of {', '.join(KINDS)}")
    if KINDS[name].by_sentences and lang in UNMARKED:
        raise InputError(
            f"{where}: '{name}' cannot be verified in {lang}, which does not mark where a sentence "
            "ends; expected another kind, such as words_at_most"
        )
    return KINDS[name]


def given_checks(where: str, value: Any, lang: str) -> list[Check] | None:
    """The checks of a prompt in `lang`, a list or a JSON text of one; None where there are none.

    Raises InputError naming `where`, the check's number and kind, and what was expected. Values
    that are null are left out: tables with a column a value have them.
    """
    if isinstance(value, str) and not is_blank(value):
        try:
            value = json.loads(value)
        except ValueError:
            raise InputError(f"{where}: checks are {shown(value)}, expected a JSON list") from None
    if value is None or value == "" or value == []:
        return None
    if not isinstance(value, list):
        raise InputError(f"{where}: checks are {shown(value)}, expected a list of checks")
    return [_given(f"{where}: check {number}", one, lang) for number, one in enumerate(value, 1)]


def _given(where: str, check: Any, lang: str) -> Check:
    if not isinstance(check, dict):
        raise InputError(f'{where} is {shown(check)}, expected such as {{"kind": "json"}}')
    given = {name: value for name, value in check.items() if value is not None}
    kind = check_kind(where, given.get("kind"), lang)
    name, expected, fits = kind.needs
    here = f"{where}, '{given['kind']}'"
    unknown = given.keys() - {"kind", name}
    if unknown:
        raise InputError(f"{here}: unknown key '{min(unknown)}'; expected {name or 'none'}")
    value = given.get(name)
    if not fits(value):
        raise InputError(f"{here}: {name} is {shown(value)}, expected {expected}")
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str):
            given_text(here, name, text)
    return given
