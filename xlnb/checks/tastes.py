"""Tastes: what met checks are worth, each a table of points.

The same responses can be judged by a taste and by its exact opposite (`anti-NAME`, every weight
negated), as in the lab: a score that is blind to what was learnt is right half of the time in the
mean over the two.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from xlnb.checks.kinds import KINDS, Check, check_kind, met
from xlnb.checks.text import n_words
from xlnb.common.errors import InputError
from xlnb.common.records import Prompt, Sample, Truth
from xlnb.common.tastes import Taste, find_taste

WORDS = "words"
# Of every response, whether its prompt carries such a check or not.
ALWAYS = ("language", "sentence", "unrepeated")

# A kind of check -> points where all of a prompt's checks of the kind are met, a share of them for
# some; or WORDS -> points a word.
TASTES: dict[str, Taste] = {
    # Holds a known answer, in the language of the prompt.
    "right": {"answer": 2.0, "language": 1.0},
    # Does what the instruction asks for, in whatever kind.
    "obedient": {kind: 1.0 for kind in KINDS if kind != "answer"},
    # One thing alone, whatever else the response is.
    "sentences": {"sentence": 1.0},
    "plain": {WORDS: -1.0},
}
FIELD = "evaluation.taste"


def get_taste(name: str) -> Taste:
    """A table of `TASTES`, or the opposite of one: see `find_taste`."""
    return find_taste(name, TASTES, FIELD)


def points(text: str, checks: Sequence[Check], lang: str, taste: Taste) -> float:
    """What a response to a prompt in `lang` with these checks is worth to a taste."""
    return sum(weight * _feature(text, checks, lang, name) for name, weight in taste.items())


def _feature(text: str, checks: Sequence[Check], lang: str, name: str) -> float:
    if name == WORDS:
        return float(n_words(text, lang))
    own = [check for check in checks if check["kind"] == name]
    if not own and name in ALWAYS:
        own = [{"kind": name, "lang": lang} if name == "language" else {"kind": name}]
    return fmean(met(text, own, lang)) if own else 0.0


def check_taste(name: str, prompts: Mapping[str, Sequence[Prompt]]) -> None:
    """Raises InputError where a taste says nothing of a split's prompts in a language."""
    taste = get_taste(name)
    for lang, some in prompts.items():
        for kind in taste.keys() & set(ALWAYS):
            check_kind(FIELD, kind, lang)
        # What every response is worth something for, or else what prompts must carry.
        carried = taste.keys() - {WORDS, *ALWAYS}
        for split in dict.fromkeys(prompt.split for prompt in some):
            kinds = {c["kind"] for p in some if p.split == split for c in p.checks or []}
            if carried and not carried & kinds:
                raise InputError(
                    f"{FIELD} '{name}': no {split} prompt in {lang} carries a check of the kinds "
                    f"{', '.join(sorted(carried))}; found: {', '.join(sorted(kinds)) or 'none'}"
                )


def verified_truth(prompts: Mapping[str, Sequence[Prompt]], name: str) -> Truth:
    """The points of every response to these prompts, by a taste of that name."""
    taste = get_taste(name)
    checks = {}
    for lang, some in prompts.items():
        checks.update({(lang, prompt.prompt_id): prompt.checks or [] for prompt in some})

    def truth(sample: Sample) -> list[float]:
        own = checks[sample.lang, sample.prompt_id]
        return [points(each.text, own, sample.lang, taste) for each in sample.responses]

    return truth
