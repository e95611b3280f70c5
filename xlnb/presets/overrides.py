"""Changing a preset by dotted keys, as `training.lr`.

Text is read by the type of the field, so that the command line and a YAML file say the same. What
the pages refuse becomes an InputError of one line here.
"""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from xlnb.common.errors import InputError

Page = TypeVar("Page", bound=Any)

LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def override(page: Page, overrides: Mapping[str, object]) -> Page:
    """A copy with dotted keys changed, as {"training.lr": "5e-5"}.

    Text is read by the type of the field. All are changed before any is checked. Raises InputError
    for an unknown key and for a value that the page refuses.
    """
    changes: dict[str, dict[str, object]] = {}
    for key, value in overrides.items():
        section, name = _place(page, key)
        old = getattr(getattr(page, section) if section else page, name)
        changes.setdefault(section, {})[name] = _read(value, type(old))
    own = changes.pop("", {})
    for section, values in changes.items():
        own[section] = _changed(getattr(page, section), values, f"{section}.")
    return _changed(page, own, "")


def parse_overrides(items: str | Sequence[str]) -> dict[str, str]:
    """["seed=1", "training.lr=5e-5"] as a dict, or the same as one text with spaces between (quoted
    as in a shell)."""
    overrides = {}
    for item in shlex.split(items) if isinstance(items, str) else items:
        key, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"override '{item}': expected key=value, such as training.lr=5e-5")
        overrides[key] = value
    return overrides


def _place(page: Any, key: str) -> tuple[str, str]:
    """A dotted key's section, empty for the page's own values, and the name there."""
    first, dot, name = key.partition(".")
    _check_known(page, first, key)
    section = getattr(page, first)
    if is_dataclass(section) != bool(dot):
        known = first
        if is_dataclass(section):
            known = ", ".join(f"{first}.{field.name}" for field in fields(section))
        raise InputError(f"preset key '{key}' does not name a value; try: {known}")
    if not dot:
        return "", first
    _check_known(section, name, key)
    return first, name


def _check_known(page: Any, name: str, key: str) -> None:
    names = [field.name for field in fields(page)]
    if name not in names:
        guess = get_close_matches(name, names, n=1)
        hint = f"did you mean '{guess[0]}'?" if guess else f"known here: {', '.join(names)}"
        raise InputError(f"unknown preset key '{key}': {hint}")


def _read(value: object, kind: type) -> object:
    """A value by its field's type; what cannot be read so is left for the page to refuse."""
    if kind is bool and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    is_text_of_number = kind in (int, float) and isinstance(value, str)
    if is_text_of_number or (kind is float and type(value) is int):
        with suppress(ValueError, OverflowError):
            return kind(value)
    return value


def _changed(page: Any, values: dict[str, object], prefix: str) -> Any:
    try:
        return replace(page, **values)
    except ValidationError as error:
        raise InputError(_explained(type(page), error, prefix)) from None


def _explained(page: Any, error: ValidationError, prefix: str) -> str:
    """The first thing that a page refuses, as one line."""
    first = error.errors()[0]
    if not first["loc"]:
        # A rule between values names them itself.
        return f"{prefix}{first['ctx']['error']}"
    name = str(first["loc"][0])
    kind = page.__pydantic_fields__[name]
    if first["type"].endswith("_type"):
        expected = f"expected {kind.annotation.__name__}, got {first['input']!r}"
        return f"preset key '{prefix}{name}': {expected}"
    if first["type"] == "literal_error":
        expected = f"one of {', '.join(get_args(kind.annotation))}"
    elif first["type"] == "finite_number":
        expected = "a finite number"
    elif first["type"] == "value_error":
        expected = str(first["ctx"]["error"])
    else:
        bounds = []
        for rule in kind.metadata:
            found = {words: getattr(rule, limit, None) for limit, words in LIMITS.items()}
            bounds += [f"{words} {bound}" for words, bound in found.items() if bound is not None]
        expected = ", ".join(bounds)
    return f"{prefix}{name} '{first['input']}': expected {expected}"
