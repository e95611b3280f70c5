"""Instructions for checks: complete in every language, parallel, the same in every run."""

import random
import re
import string

import pytest

from xlnb.checks.instructions import ask_for, asked, load_instructions, split_kinds
from xlnb.checks.kinds import KINDS, given_checks, met
from xlnb.checks.text import UNMARKED
from xlnb.common.errors import InputError
from xlnb.common.language_id import in_language
from xlnb.common.records import Prompt
from xlnb.lab.world import load_world

# The lab's, X-AlpacaEval's and XQuAD's.
X_ALPACAEVAL = {"ar", "bn", "de", "en", "es", "fr", "it", "ja", "ko", "ru", "sw", "th", "zh"}
XQUAD = {"ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"}
LANGS = sorted({*load_world().langs, *X_ALPACAEVAL, *XQUAD})
TEMPLATES = load_instructions()["templates"]
VALUES = load_instructions()["values"]


def kinds_of(lang):
    return [kind for kind in TEMPLATES if not (KINDS[kind].by_sentences and lang in UNMARKED)]


def prompts(n=60):
    return {
        lang: [Prompt(f"p{i}", lang, f"{lang} {i}?", "train") for i in range(n)] for lang in LANGS
    }


def test_every_kind_but_answer_can_be_asked_for():
    assert set(TEMPLATES) == KINDS.keys() - {"answer"}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_language_has_every_kind_and_its_placeholder(kind):
    langs = [lang for lang in LANGS if kind in kinds_of(lang)]
    assert list(TEMPLATES[kind]) == langs
    name = KINDS[kind].needs.name
    wanted = {name} - {"", "lang"}
    for text in TEMPLATES[kind].values():
        assert {field for _, field, *_ in string.Formatter().parse(text) if field} == wanted
    assert bool(wanted) == (kind in VALUES)
    for value in VALUES.get(kind, []):
        if isinstance(value, dict):
            assert list(value) == langs


@pytest.mark.parametrize("lang", LANGS)
def test_every_instruction_is_in_its_language_and_its_check_is_one(lang):
    texts = []
    for kind in kinds_of(lang):
        for seed in range(20):
            check, text = asked(kind, lang, random.Random(seed))
            assert given_checks("here", [check], lang) == [check]
            assert "{" not in text
            texts.append(re.sub('["“「].*?["”」]', "", text))
    assert in_language([" ".join(dict.fromkeys(texts))], lang) == [True]
    assert len(set(texts)) > len(kinds_of(lang)) - 1


def test_kind_and_number_are_the_same_in_every_language_and_run():
    kinds = [kind for kind in TEMPLATES if all(kind in kinds_of(lang) for lang in LANGS)]
    found = ask_for(prompts(), kinds)
    assert found == ask_for(prompts(), kinds)
    assert {prompt.checks[0]["kind"] for prompt in found["en"]} == set(kinds)
    for lang, some in found.items():
        for prompt, english in zip(some, found["en"], strict=True):
            (mine,), (theirs,) = prompt.checks, english.checks
            assert mine["kind"] == theirs["kind"] and mine.get("n") == theirs.get("n")
            assert prompt.instruction.startswith(f"{lang} {prompt.prompt_id[1:]}?\n")
            value = mine.get(KINDS[mine["kind"]].needs.name)
            assert mine["kind"] == "language" or value is None or str(value) in prompt.instruction
    assert found["en"][0].instruction == (
        "en 0?\nAnswer as a list of exactly 5 points, each on a line of its own that begins with "
        '"- ".'
    )
    assert found["ja"][0].instruction.startswith("ja 0?\nちょうど5項目の")


@pytest.mark.parametrize("lang", LANGS)
def test_a_value_itself_meets_its_check(lang):
    for kind in ("uses", "begins", "ends"):
        for value in VALUES[kind]:
            check = {"kind": kind, KINDS[kind].needs.name: value[lang]}
            assert met(value[lang], [check], lang) == [True]


def test_own_checks_stay():
    prompt = Prompt("p", "en", "Why?", "train", checks=[{"kind": "answer", "answers": ["x"]}])
    (found,) = ask_for({"en": [prompt]}, ["json"])["en"]
    assert found.checks == [{"kind": "answer", "answers": ["x"]}, {"kind": "json"}]
    assert prompt.checks == [{"kind": "answer", "answers": ["x"]}]


def test_what_cannot_be_asked_for_is_one_clear_line():
    for name in ("answer", "rhyme"):
        with pytest.raises(InputError, match=f"prompts.checks: '{name}': expected kinds of langu"):
            split_kinds(f"json, {name}")
    with pytest.raises(InputError, match=r"prompts.checks: 'sentence' cannot be verified in th"):
        ask_for(prompts(), ["sentence"])
    with pytest.raises(InputError, match=r"prompts.checks: no instructions in 'pl'; in ar, bn"):
        ask_for({"pl": []}, ["json"])
    assert split_kinds(" json, points") == ["json", "points"]
