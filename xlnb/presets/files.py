"""A preset as YAML: sections and values, each under its comment."""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from xlnb.common.errors import InputError
from xlnb.common.files import read_text


def dotted(values: Mapping[str, object]) -> dict[str, object]:
    """{"seed": 1, "training": {"lr": 5e-5}} as {"seed": 1, "training.lr": 5e-5}."""
    found: dict[str, object] = {}
    for key, value in values.items():
        inside = {str(key): value}
        if isinstance(value, dict):
            inside = {f"{key}.{name}": item for name, item in value.items()}
        for twice in found.keys() & inside.keys():
            raise InputError(f"preset key '{twice}' is given twice")
        found |= inside
    return found


def read_yaml(path: Path) -> dict[str, object]:
    """A YAML file of sections and values, every value as the text that stands there.

    Raises InputError where it is missing or no such file.
    """
    try:
        values = yaml.load(read_text(path), _Loader) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}, line {line}: not valid YAML ({error.problem})") from None
    except RecursionError:
        raise InputError(f"{path}: its YAML is nested too deeply") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected keys and values, such as seed: 1")
    return values


def yaml_lines(page: Any, *, without: Sequence[str] = (), indent: str = "") -> list[str]:
    """A page as YAML, which `read_yaml` reads: every value under its comment in the source."""
    lines = []
    comments = _comments(type(page))
    for field in fields(page):
        if field.name in without:
            continue
        value = getattr(page, field.name)
        comment = comments[field.name]
        if is_dataclass(value):
            comment = comment or (inspect.getdoc(type(value)) or "").splitlines()
            lines.append("")
        lines += [f"{indent}# {line}" for line in comment]
        if is_dataclass(value):
            lines += [f"{indent}{field.name}:", *yaml_lines(value, indent=indent + "  ")]
        else:
            lines.append(f"{indent}{field.name}: {json.dumps(value, ensure_ascii=False)}")
    return lines


class _Loader(yaml.BaseLoader):
    """Reads every value as text; what a mapping says twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                problem = f"'{key.value}' is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _comments(page: type) -> dict[str, list[str]]:
    """The comment lines that stand above each field of a page."""
    found: dict[str, list[str]] = {}
    above: list[str] = []
    for line in inspect.getsource(page).splitlines():
        text = line.strip()
        if text.startswith("#"):
            above.append(text.removeprefix("# "))
            continue
        if field := re.match(r"(\w+):", text):
            found[field[1]] = above
        above = []
    return found
