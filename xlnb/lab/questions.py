"""The world's own translator of questions, with errors at a known rate: it shows what a check of
translations lets through."""

import random
from functools import cache

from xlnb.lab.oracle import normalise
from xlnb.lab.world import Fact, load_world, prompt_id

# What becomes of a text that is translated wrongly, one as often as the other: nothing, the text
# itself, the question in a third language, one about another subject, another question altogether.
MISTAKES = ("lost", "copied", "foreign", "subject", "question")


def translate_question(
    text: str, source: str, target: str, noise: float, rng: random.Random
) -> str:
    """A question of the world put into another language; with probability `noise` one of
    `MISTAKES`. What is no question in `source` stays as it is."""
    wrong = rng.random() < noise
    mistake = rng.choice(MISTAKES) if wrong else ""
    asked = _questions(source).get(normalise(text))
    if mistake == "lost":
        return ""
    if mistake == "copied" or asked is None:
        return text
    fact, phrasing = asked
    world = load_world()
    if mistake == "foreign":
        target = rng.choice([lang for lang in world.langs if lang not in (source, target)])
    if mistake in ("subject", "question"):
        alike = mistake == "subject"
        others = [one for one in world.facts if (one.kind == fact.kind) is alike]
        fact = rng.choice([one for one in others if one is not fact])
        phrasing = min(phrasing, len(world.questions[fact.kind][target]) - 1)
    return world.question(fact, target, phrasing)


def is_translation(text: str, question_id: str, lang: str) -> bool:
    """Whether a text is the world's own question of that prompt_id in a language."""
    found = _questions(lang).get(normalise(text))
    return found is not None and prompt_id(*found) == question_id


@cache
def _questions(lang: str) -> dict[str, tuple[Fact, int]]:
    """By normalised text; no two questions of a language are one text."""
    world = load_world()
    found = {}
    for fact in world.facts:
        for phrasing in range(len(world.questions[fact.kind][lang])):
            found[normalise(world.question(fact, lang, phrasing))] = (fact, phrasing)
    return found
