"""The world's own translator into English, with errors at a known rate: it shows what the
translated reward is worth by the quality of its translations."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from xlnb.lab.oracle import normalise, sentences
from xlnb.lab.world import Fact, load_world


# hashed by identity: phrases are made once a fact
@dataclass(frozen=True, eq=False)
class Phrase:
    """Something that a response may say."""

    # in every language
    said: dict[str, str]
    # what kind of thing; "word" and "sentence 1" … are answers
    role: str
    answers: bool


def translate(fact: Fact, lang: str, text: str, noise: float, rng: random.Random) -> str:
    """A response in `lang` to a question about `fact`, put into English sentence by sentence.

    Without noise a translation is judged as its original: what is in the asked language comes out
    in English, and what is in English, a foreign language there, in the asked one. With probability
    `noise` each sentence is dropped or falsified, as often the one as the other; falsified, it
    names another answer, or says something else of those that name none.
    """
    found = []
    for sentence in sentences(text):
        wrong = rng.random() < noise
        if wrong and rng.random() < 0.5:
            continue
        found.append(_translate(fact, lang, sentence, rng if wrong else None))
    return " ".join(found)


def _translate(fact: Fact, lang: str, sentence: str, falsify: random.Random | None) -> str:
    for source, target in ((lang, "en"), ("en", lang)):
        phrase = _index(fact)[source].get(normalise(sentence))
        if phrase is not None:
            if falsify:
                phrase = falsify.choice(_others(fact, phrase))
            return phrase.said[target]
    if any(normalise(sentence) in known for known in _index(fact).values()):
        # in a third language
        return sentence
    # A sentence of nobody's stays as it is, but for the answers that it names.
    words = [phrase for phrase in _phrases(fact) if phrase.role == "word"]
    said = normalise(sentence)
    for word in sorted(words, key=lambda phrase: -len(phrase.said[lang])):
        found = re.escape(normalise(word.said[lang]))
        said = re.sub(rf"(?<!\w){found}(?!\w)", word.said["en"], said)
    return sentence if said == normalise(sentence) else said


def _others(fact: Fact, phrase: Phrase) -> list[Phrase]:
    """What a phrase may be falsified to: another answer in the same words, or, of a phrase that
    names none, what is of another kind."""
    if phrase.answers:
        same = [other for other in _phrases(fact) if other.role == phrase.role]
        return [other for other in same if other is not phrase]
    return [other for other in _phrases(fact) if not other.answers and other.role != phrase.role]


@cache
def _index(fact: Fact) -> dict[str, dict[str, Phrase]]:
    """By language and normalised words; of phrases with the same words the first."""
    found: dict[str, dict[str, Phrase]] = {}
    for lang in load_world().langs:
        found[lang] = {}
        for phrase in _phrases(fact):
            found[lang].setdefault(normalise(phrase.said[lang]), phrase)
    return found


@cache
def _phrases(fact: Fact) -> tuple[Phrase, ...]:
    """The right answer first, so that it is found where two answers are one word in a language."""
    return (*_answers(fact), *_remarks(fact))


def _answers(fact: Fact) -> Iterator[Phrase]:
    world = load_world()
    same_kind = {other.y["en"]: other.y for other in world.facts if other.kind == fact.kind}
    for y in ({fact.y["en"]: fact.y} | same_kind).values():
        yield Phrase(y, "word", answers=True)
        for template in range(len(world.answers[fact.kind]["en"])):
            said = {lang: world.sentence(fact, lang, y[lang], template) for lang in world.langs}
            yield Phrase(said, f"sentence {template}", answers=True)


def _remarks(fact: Fact) -> Iterator[Phrase]:
    world = load_world()
    remarks = {
        "refusal": world.refusals,
        "reason": world.reasons[fact.kind],
        "padding": world.padding,
        **world.manners,
    }
    for role, said in remarks.items():
        for parallel in zip(*said.values(), strict=True):
            yield Phrase(dict(zip(said, parallel, strict=True)), role, answers=False)
