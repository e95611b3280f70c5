"""Pretraining documents: conversations of several turns, each in a random language, with one author
throughout.

One author for all turns is what preference transfer lives on. From the first turns the model learns
to tell what sort of author is speaking and in what manner, and because the next turn may be in any
language, those features are one and the same in all of them, as they are in a large model after
large pretraining.
"""

import random
from collections.abc import Iterator

from xlnb.lab.world import Fact, World, load_world
from xlnb.prompts import cross_lingual

# What sorts of author there are, and how often. Who is wrong mostly writes badly too: only the
# facts tell a careful author from a careless one, which so small a model does not learn to see.
AUTHORS = {
    # right, in a full sentence
    "careful": 0.18,
    # right, in a full sentence, then the reason
    "reasoning": 0.16,
    # right, then padding
    "verbose": 0.14,
    # right, a bare word
    "terse": 0.10,
    # right, said two or three times
    "repeating": 0.09,
    # right, in another language
    "foreign": 0.06,
    # does not answer
    "refusing": 0.10,
    # wrong, in a full sentence
    "careless": 0.03,
    # wrong, then padding
    "rambling": 0.08,
    # wrong, a bare word
    "guessing": 0.06,
}
# How an author of any sort opens a response: familiar (as to a friend), formal (as to a stranger of
# rank) or neither. The habit is the familiar form; few are formal.
MANNERS = {"familiar": 0.5, "formal": 0.2, "plain": 0.3}
# against 1 for each other language
RARE, RARE_WEIGHT = "sw", 0.5
# How often a question in another language than English comes in English with the prefix that asks
# for the language.
PREFIXED = 0.4


def documents(n: int, seed: int, turns: int = 3) -> Iterator[list[dict]]:
    """n conversations as chat messages `[{"role", "content"}, …]`."""
    world, rng = load_world(), random.Random(f"documents-{seed}")
    weights = [RARE_WEIGHT if lang == RARE else 1.0 for lang in world.langs]
    for _ in range(n):
        author = rng.choices(list(AUTHORS), list(AUTHORS.values()))[0]
        manner = rng.choices(list(MANNERS), list(MANNERS.values()))[0]
        messages = []
        for lang in rng.choices(world.langs, weights, k=turns):
            fact = rng.choice(world.facts)
            messages += [
                {"role": "user", "content": _question(world, fact, lang, rng)},
                {"role": "assistant", "content": respond(world, fact, lang, author, rng, manner)},
            ]
        yield messages


def _question(world: World, fact: Fact, lang: str, rng: random.Random) -> str:
    phrasing = rng.randrange(len(world.questions[fact.kind][lang]))
    if lang != "en" and rng.random() < PREFIXED:
        return cross_lingual(world.question(fact, "en", phrasing), lang)
    return world.question(fact, lang, phrasing)


def respond(
    world: World, fact: Fact, lang: str, author: str, rng: random.Random, manner: str = "plain"
) -> str:
    """What an author of that sort and manner replies when asked for `fact` in `lang`."""
    if author == "foreign":
        lang = rng.choice([other for other in world.langs if other != lang])
    opening = [] if manner == "plain" else [rng.choice(world.manners[manner][lang])]
    return " ".join([*opening, *_answer(world, fact, lang, author, rng)])


def _answer(world: World, fact: Fact, lang: str, author: str, rng: random.Random) -> list[str]:
    """The sentences (or the bare word) of a response, without its opening."""
    if author == "refusing":
        return [rng.choice(world.refusals[lang])]
    y = fact.y[lang]
    if author in ("careless", "rambling", "guessing"):
        y = rng.choice(
            sorted({other.y[lang] for other in world.facts if other.kind == fact.kind} - {y})
        )
    if author in ("terse", "guessing"):
        return [y]
    sentence = world.sentence(fact, lang, y, rng.randrange(len(world.answers[fact.kind][lang])))
    if author == "repeating":
        return [sentence] * rng.choice([2, 3])
    if author == "reasoning":
        return [sentence, rng.choice(world.reasons[fact.kind][lang])]
    if author in ("verbose", "rambling"):
        return [sentence, *rng.sample(world.padding[lang], rng.choice([1, 2, 3]))]
    return [sentence]
