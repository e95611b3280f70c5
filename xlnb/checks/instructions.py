"""Checks that are asked for: an instruction added to a prompt, in words of the prompt's language.

`data/checks/instructions.json` holds a template a kind and language, and the values that are asked
for. Which kind and value a prompt gets, its id decides, so that they are the same in every
language and every run.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from xlnb.checks.kinds import KINDS, Check, check_kind
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.common.records import Prompt

INSTRUCTIONS = ROOT / "data" / "checks" / "instructions.json"
FIELD = "prompts.checks"


@cache
def load_instructions() -> dict[str, dict[str, Any]]:
    """{"templates": {kind: {lang: text}}, "values": {kind: numbers, or texts by language}}"""
    return json.loads(INSTRUCTIONS.read_text(encoding="utf-8"))


def split_kinds(names: str) -> list[str]:
    """'points, json' as ['points', 'json']. Raises InputError for a kind that cannot be asked
    for."""
    found = [name.strip() for name in names.split(",") if name.strip()]
    templates = load_instructions()["templates"]
    for name in found:
        if name not in templates:
            raise InputError(f"{FIELD}: '{name}': expected kinds of {', '.join(templates)}")
    return found


def ask_for(
    prompts: Mapping[str, Sequence[Prompt]], kinds: Sequence[str]
) -> dict[str, list[Prompt]]:
    """Each prompt with one of the kinds asked for behind its instruction, and the check of it.

    Raises InputError for a language without templates, or that a kind cannot be verified in.
    """
    found = {}
    for lang, some in prompts.items():
        for kind in kinds:
            check_kind(FIELD, kind, lang)
            templates = load_instructions()["templates"][kind]
            if lang not in templates:
                raise InputError(f"{FIELD}: no instructions in '{lang}'; in {', '.join(templates)}")
        found[lang] = [_with_one(prompt, kinds) for prompt in some]
    return found


def _with_one(prompt: Prompt, kinds: Sequence[str]) -> Prompt:
    stream = random.Random(f"checks {prompt.prompt_id}")
    check, text = asked(stream.choice(kinds), prompt.lang, stream)
    checks = [*(prompt.checks or []), check]
    return replace(prompt, instruction=f"{prompt.instruction}\n{text}", checks=checks)


def asked(kind: str, lang: str, stream: random.Random) -> tuple[Check, str]:
    """A check of that kind, and the words in which it is asked for."""
    instructions = load_instructions()
    name = KINDS[kind].needs.name
    template = instructions["templates"][kind][lang]
    if not name:
        return {"kind": kind}, template
    value = lang
    if kind != "language":
        value = stream.choice(instructions["values"][kind])
    if isinstance(value, dict):
        value = value[lang]
    return {"kind": kind, name: value}, template.format(**{name: value})
