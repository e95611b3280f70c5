"""The world's own translator of questions."""

import random

import pytest

from xlnb.lab.questions import MISTAKES, is_translation, translate_question
from xlnb.lab.world import load_world

WORLD = load_world()
GERMAN = {prompt.instruction for prompt in WORLD.prompts("de")}


@pytest.mark.parametrize("lang", [lang for lang in WORLD.langs if lang != "en"])
def test_without_noise_a_question_goes_there_and_back(lang):
    rng = random.Random(0)
    english = {prompt.prompt_id: prompt.instruction for prompt in WORLD.prompts("en")}
    for prompt in WORLD.prompts(lang):
        text = english[prompt.prompt_id]
        assert translate_question(text, "en", lang, 0.0, rng) == prompt.instruction
        assert translate_question(prompt.instruction, lang, "en", 0.0, rng) == text
        assert is_translation(prompt.instruction, prompt.prompt_id, lang)
    assert translate_question("Qui êtes-vous ?", "fr", lang, 0.0, rng) == "Qui êtes-vous ?"


def kind_of(found):
    if found == "":
        return "lost"
    if found == "What is the capital of Peru?":
        return "copied"
    if found.startswith("Was ist die Hauptstadt von"):
        return "right" if found.endswith("Peru?") else "subject"
    if is_translation(found, "capital/peru/0", "fr"):
        return "foreign"
    return "question" if found in GERMAN else "foreign"


def test_mistakes_come_at_their_rate():
    rng = random.Random(0)
    counts = dict.fromkeys(["right", *MISTAKES], 0)
    for _ in range(4000):
        found = translate_question("What is the capital of Peru?", "en", "de", 0.4, rng)
        counts[kind_of(found)] += 1
        assert is_translation(found, "capital/peru/0", "de") == (kind_of(found) == "right")
    # Standard deviations are 31 and 17.
    assert counts["right"] == pytest.approx(2400, abs=100)
    for mistake in MISTAKES:
        assert counts[mistake] == pytest.approx(320, abs=60), mistake
