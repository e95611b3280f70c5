"""The lab's world: facts in six languages, the questions that ask for them and the sentences that
state them.

Everything is read from `data/lab`: `facts/<kind>.tsv` (a subject `x` and an answer `y` in each
language) and `templates.json` (questions, answer sentences, refusals and padding in each language).
"""

import csv
import json
import random
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from xlnb.common.files import ROOT
from xlnb.common.records import Prompt
from xlnb.common.text import wording

LAB = ROOT / "data" / "lab"

# The digest of the world of the first runs that are kept.
FIRST_WORLD = "d1f5e8e3f5e325d2"

# Share of the facts of each kind that a split receives. Splits are disjoint in facts, not only in
# wording.
SPLITS = {"train": 0.5, "reward": 0.15, "eval": 0.35}


# hashed by identity: facts are made once, by load_world
@dataclass(frozen=True, eq=False)
class Fact:
    kind: str
    id: str
    # lang -> subject
    x: dict[str, str]
    # lang -> answer
    y: dict[str, str]
    split: str


@dataclass(frozen=True, eq=False)
class World:
    facts: tuple[Fact, ...]
    langs: tuple[str, ...]
    # kind -> lang -> templates with {x}
    questions: dict[str, dict[str, list[str]]]
    # kind -> lang -> templates with {x} and {y}
    answers: dict[str, dict[str, list[str]]]
    refusals: dict[str, list[str]]
    padding: dict[str, list[str]]
    # "formal" or "familiar" -> lang -> sentences that open a response
    manners: dict[str, dict[str, list[str]]]
    # kind -> lang -> sentences that say why the answer holds
    reasons: dict[str, dict[str, list[str]]]

    def question(self, fact: Fact, lang: str, phrasing: int) -> str:
        return capitalise(self.questions[fact.kind][lang][phrasing].format(x=fact.x[lang]))

    def sentence(self, fact: Fact, lang: str, y: str, template: int) -> str:
        """The statement that the answer for `fact` is `y` (any text), by the template of that
        number."""
        return capitalise(self.answers[fact.kind][lang][template].format(x=fact.x[lang], y=y))

    def answer(self, fact: Fact, lang: str) -> str:
        """The right answer in a full sentence, and no more."""
        return self.sentence(fact, lang, fact.y[lang], 0)

    def prompts(self, lang: str) -> list[Prompt]:
        """Every question in `lang`; `prompt_id` is the same in every language."""
        found = []
        for fact in self.facts:
            for phrasing in range(len(self.questions[fact.kind][lang])):
                question = self.question(fact, lang, phrasing)
                found.append(Prompt(prompt_id(fact, phrasing), lang, question, fact.split))
        return found

    def fact(self, prompt_id: str) -> Fact:
        """The fact that a prompt asks for. Raises KeyError for a prompt that is not the lab's."""
        return self._by_id[prompt_id.rsplit("/", 1)[0]]

    @cached_property
    def _by_id(self) -> dict[str, Fact]:
        return {f"{fact.kind}/{fact.id}": fact for fact in self.facts}


def prompt_id(fact: Fact, phrasing: int) -> str:
    return f"{fact.kind}/{fact.id}/{phrasing}"


def capitalise(text: str) -> str:
    """First letter upper-case, the rest untouched (`str.capitalize` would lower the rest)."""
    return text[:1].upper() + text[1:]


@cache
def load_world(folder: Path = LAB) -> World:
    templates = json.loads((folder / "templates.json").read_text(encoding="utf-8"))
    langs = tuple(templates["languages"])
    facts = []
    for path in sorted((folder / "facts").glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        for row, split in zip(rows, _splits(path.stem, len(rows)), strict=True):
            facts.append(
                Fact(
                    kind=path.stem,
                    id=row["id"],
                    x={lang: row[f"x.{lang}"] for lang in langs},
                    y={lang: row[f"y.{lang}"] for lang in langs},
                    split=split,
                )
            )
    return World(
        tuple(facts),
        langs,
        templates["questions"],
        templates["answers"],
        templates["refusals"],
        templates["padding"],
        templates["manners"],
        templates["reasons"],
    )


def world_fields() -> dict[str, str]:
    """What depends on the world, or on what the oracle knows of it, depends on these files."""
    files = [LAB / "templates.json", *sorted((LAB / "facts").glob("*.tsv"))]
    text = "\0".join(path.read_text(encoding="utf-8") for path in files)
    return wording("world", text, FIRST_WORLD)


def _splits(kind: str, n: int) -> list[str]:
    """A split for each of the n facts of a kind, shuffled by the kind's name so that it never
    depends on a seed."""
    names = [split for split, share in SPLITS.items() for _ in range(round(share * n))]
    names = (names + ["eval"] * n)[:n]
    random.Random(kind).shuffle(names)
    return names
