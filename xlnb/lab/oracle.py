"""The lab's ground truth: sees what a response is from the facts alone, deterministically, and what
that is worth to a taste (`xlnb.lab.tastes`).

| feature | is |
|---|---|
| right | 1: the right answer in the asked language, .5: in another; 0 beside a wrong one |
| wrong | 1: a wrong answer, or one beside a right one |
| sentence | 1: the right answer stands in a full sentence of the asked language |
| language | 1: every recognised sentence is in the asked language |
| refuses | 1: an admission of not knowing, and no answer |
| reasons | 1: a sentence that says why, fit for the question |
| formal, familiar | 1: a polite opening, as to a stranger; a familiar one, as to a friend |
| padding | sentences that say nothing, at most 3 |
| repeats | sentences said before, at most 2 |
| stray | 1: words that are none of these |

Training never sees it, but for the English preferences that stand for UltraFeedback, and in runs
that are ceilings by name (score `oracle_ceiling`).
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

from xlnb.lab.tastes import get_taste, points
from xlnb.lab.world import Fact, load_world

FEATURES = (
    "right",
    "wrong",
    "sentence",
    "language",
    "refuses",
    "reasons",
    "formal",
    "familiar",
    "padding",
    "repeats",
    "stray",
)
# What a response is in a word, best first in the eyes of taste "polite".
KINDS = (
    "right, polite",
    "right, neither",
    "right, familiar",
    "right, other language",
    "refuses",
    "wrong",
    "off topic or garbled",
)
# More of a kind of sentence says nothing new.
MOST_PADDING = 3
MOST_REPEATS = 2


@dataclass(frozen=True)
class Verdict:
    # of FEATURES: how much of each
    features: dict[str, float]
    # right, wrong or none
    answer: str
    in_language: bool
    # what there is, in words
    reason: str
    # one of KINDS
    kind: str

    def points(self, taste: str) -> float:
        """What the response is worth to the taste of that name."""
        return points(self.features, get_taste(taste))


# A text is looked at once for all scores, tastes and tables that it stands in.
@lru_cache(maxsize=2**16)
def judge(fact: Fact, lang: str, text: str) -> Verdict:
    """What `text` is, as a response to a question about `fact` asked in `lang` (table above)."""
    units = [unit for unit in map(normalise, sentences(text)) if unit]
    seen = [_classify(fact, lang, unit) for unit in dict.fromkeys(units)]
    answers = [what for what in seen if what.role in ("sentence", "word", "mention")]
    right = [what for what in answers if what.right]
    wrong = len(right) < len(answers)
    native = any(what.lang == lang for what in right)

    def count(*roles: str) -> int:
        return sum(what.role in roles for what in seen)

    features = dict.fromkeys(FEATURES, 0.0)
    if right and not wrong:
        features["right"] = 1.0 if native else 0.5
        features["sentence"] = float(
            any(what.lang == lang and what.role == "sentence" for what in right)
        )
    features["wrong"] = float(wrong)
    features["language"] = float({what.lang for what in seen if what.lang} == {lang})
    features["refuses"] = float(not answers and count("refusal") > 0)
    features["reasons"] = float(count("reason") > 0)
    features["formal"] = float(count("formal") > 0)
    features["familiar"] = float(count("familiar") > 0)
    features["padding"] = float(min(count("padding"), MOST_PADDING))
    features["repeats"] = float(min(len(units) - len(seen), MOST_REPEATS))
    features["stray"] = float(not units or count("mention", "unknown") > 0)
    answer = "wrong" if wrong else "right" if right else "none"
    bare = not features["sentence"] and any(what.role == "word" for what in right)
    words = _in_words(features, answer, bare=bare, contradicts=bool(right)) if units else "empty"
    return Verdict(features, answer, features["language"] > 0, words, _kind(features, answer))


def _in_words(features: dict[str, float], answer: str, *, bare: bool, contradicts: bool) -> str:
    if answer == "right":
        first = "right" if features["right"] == 1 else "right, in another language"
    elif answer == "wrong":
        first = "contradicts itself" if contradicts else "wrong"
    else:
        first = "refuses" if features["refuses"] else "no answer"
    said = {
        "full sentence": features["sentence"],
        "bare word": answer == "right" and bare,
        "with a reason": features["reasons"],
        "polite": features["formal"],
        "familiar": features["familiar"],
        "not in the asked language": not features["language"],
        "padded": features["padding"],
        "repeats itself": features["repeats"],
        "stray words": features["stray"],
    }
    return ", ".join([first, *(words for words, there in said.items() if there)])


def _kind(features: dict[str, float], answer: str) -> str:
    if answer == "wrong":
        return "wrong"
    if answer == "none":
        return "refuses" if features["refuses"] else "off topic or garbled"
    if features["right"] < 1:
        return "right, other language"
    if features["formal"] > features["familiar"]:
        return "right, polite"
    if features["familiar"] > features["formal"]:
        return "right, familiar"
    return "right, neither"


def sentences(text: str) -> list[str]:
    """The text cut behind full stops, exclamation and question marks."""
    return re.split(r"(?<=[.!?])\s+", text)


def normalise(text: str) -> str:
    """Case, Unicode form, outer punctuation and runs of spaces carry no meaning in the lab."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()).strip(" .!?¿¡,;:\"'«»")


@dataclass(frozen=True)
class _Unit:
    # sentence, word, mention, refusal, reason, formal, familiar, padding or unknown
    role: str
    lang: str = ""
    right: bool = False


def _classify(fact: Fact, lang: str, unit: str) -> _Unit:
    known = _known_units(fact)
    # A word can belong to several languages ("Paris"): the asked one has the first claim.
    for candidate in (lang, *(other for other in load_world().langs if other != lang)):
        if found := known.get((candidate, unit)):
            return found
    # The subject of the question may be repeated ("After Sunday comes Monday"): it is no answer.
    named = {
        answer
        for answer in _answers(fact.kind, lang)
        if re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", unit)
    }
    named -= {normalise(fact.x[lang])}
    return _Unit("mention", lang, named == {normalise(fact.y[lang])}) if named else _Unit("unknown")


@cache
def _known_units(fact_: Fact) -> dict[tuple[str, str], _Unit]:
    """Every sentence or word that has a meaning as a response to a question about this fact."""
    world, known = load_world(), {}
    for lang in world.langs:
        for answer in _answers(fact_.kind, lang):
            right = answer == normalise(fact_.y[lang])
            known[lang, answer] = _Unit("word", lang, right)
            for template in range(len(world.answers[fact_.kind][lang])):
                known[lang, normalise(world.sentence(fact_, lang, answer, template))] = _Unit(
                    "sentence", lang, right
                )
        fixed = {
            "refusal": world.refusals[lang],
            "reason": world.reasons[fact_.kind][lang],
            "formal": world.manners["formal"][lang],
            "familiar": world.manners["familiar"][lang],
            "padding": world.padding[lang],
        }
        for role, texts in fixed.items():
            known |= {(lang, normalise(text)): _Unit(role, lang) for text in texts}
    return known


@cache
def _answers(kind: str, lang: str) -> frozenset[str]:
    return frozenset(normalise(fact.y[lang]) for fact in load_world().facts if fact.kind == kind)
