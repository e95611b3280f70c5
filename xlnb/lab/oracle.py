"""The lab's ground-truth judge: scores any text from the facts alone, deterministically, and says
why.

| points | for |
|---|---|
| +4 | the right answer in the asked language (+2 in another); none beside a wrong one |
| +2 | the right answer, in the asked language, in a full sentence |
| +1 | every recognised sentence is in the asked language |
| +1 | an admission of not knowing, instead of a wrong answer |
| −0.5 | each padding sentence (at most −1.5) |
| −1 | each repeated sentence (at most −2) |
| −1 | words that are none of these |

The sum is clipped to [0, 7]. Training never sees it, but for the English preferences that stand for
UltraFeedback.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from xlnb.lab.world import Fact, load_world

# What a response is, best first.
KINDS = (
    "right, full sentence",
    "right, padded or repeated",
    "right, bare word",
    "right, other language",
    "refuses",
    "wrong",
    "off topic or garbled",
)


@dataclass(frozen=True)
class Verdict:
    # 0 to 7
    score: float
    # right, wrong or none
    answer: str
    in_language: bool
    reason: str
    # one of KINDS
    kind: str


def judge(fact: Fact, lang: str, text: str) -> Verdict:
    """Score the response `text` to a question about `fact` asked in `lang` (table above)."""
    units = [unit for unit in map(normalise, re.split(r"(?<=[.!?])\s+", text)) if unit]
    if not units:
        return Verdict(0.0, "none", False, "empty", "off topic or garbled")
    seen = [_classify(fact, lang, unit) for unit in dict.fromkeys(units)]
    repeats = len(units) - len(seen)

    right = [what for what in seen if what.role in ("sentence", "word", "mention") and what.right]
    wrong = [
        what for what in seen if what.role in ("sentence", "word", "mention") and not what.right
    ]
    refuses = any(what.role == "refusal" for what in seen)
    padding = sum(what.role == "padding" for what in seen)
    stray = any(what.role in ("mention", "unknown") for what in seen)
    langs = {what.lang for what in seen if what.lang}
    in_language = langs == {lang}

    score, why = 0.0, []
    kind = "off topic or garbled"
    if right and not wrong:
        answer = "right"
        native = any(what.lang == lang for what in right)
        score += 4.0 if native else 2.0
        why.append("right" if native else "right, in another language")
        kind = "right, bare word" if native else "right, other language"
        if any(what.lang == lang and what.role == "sentence" for what in right):
            score += 2.0
            why.append("full sentence")
            kind = "right, full sentence"
        elif any(what.role == "word" for what in right):
            why.append("bare word")
        if native and (padding or repeats or stray):
            kind = "right, padded or repeated"
    elif wrong:
        answer = kind = "wrong"
        why.append("contradicts itself" if right else "wrong")
    else:
        answer = "none"
        why.append("refuses" if refuses else "no answer")
        if refuses:
            score += 1.0
            kind = "refuses"
    if in_language:
        score += 1.0
    else:
        why.append("not in the asked language")
    if padding:
        score -= min(0.5 * padding, 1.5)
        why.append("padded")
    if repeats:
        score -= min(1.0 * repeats, 2.0)
        why.append("repeats itself")
    if stray:
        score -= 1.0
        why.append("stray words")
    return Verdict(max(score, 0.0), answer, in_language, ", ".join(why), kind)


def normalise(text: str) -> str:
    """Case, Unicode form, outer punctuation and runs of spaces carry no meaning in the lab."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()).strip(" .!?¿¡,;:\"'«»")


@dataclass(frozen=True)
class _Unit:
    # "sentence" | "word" | "mention" | "refusal" | "padding" | "unknown"
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
        known |= {(lang, normalise(text)): _Unit("refusal", lang) for text in world.refusals[lang]}
        known |= {(lang, normalise(text)): _Unit("padding", lang) for text in world.padding[lang]}
    return known


@cache
def _answers(kind: str, lang: str) -> frozenset[str]:
    return frozenset(normalise(fact.y[lang]) for fact in load_world().facts if fact.kind == kind)
