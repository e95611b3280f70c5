"""Which language a response is in, offline (py3langid, naive Bayes on byte n-grams)."""

import copy
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from xlnb.common.languages import LANGUAGES

# Another language counts where it is so many times as likely as the one that was asked for,
# whatever else shares the verdict;
ODDS = 99
# of few words, which can belong to several languages, or to all, as names do, where it is sure too.
FEW = 2
CONFIDENCE = 0.9

# characters that tell the language of a response; what follows costs time and changes little
BEGINNING = 300


def wrong_language(lang: str, langs: Sequence[str]) -> Callable[[str], bool]:
    """A test for texts that should be in `lang`: True where the detector is sure that another of
    `langs` fits better.

    On the lab's texts it flags 1 of 1,704 bare words and no sentence in the asked language; of
    XQuAD's, in 12 languages, no paragraph, 4 of 14,280 questions and 0.7% of the bare answers,
    which are names. A language that the detector does not know is never flagged, nor mistaken for
    another.
    """
    known = [code for code in langs if code in _identifier().labels]
    if lang not in known or len(known) < 2:
        return lambda text: False
    identifier = copy.copy(_identifier())
    identifier.set_languages(known)

    def wrong(text: str) -> bool:
        likely = dict(identifier.rank(text))
        best = max(likely.values())
        sure = best >= CONFIDENCE or len(text.split()) > FEW
        return sure and best >= ODDS * likely[lang]

    return wrong


def in_language(texts: Sequence[str], lang: str) -> list[bool] | None:
    """For each response whether it is in `lang`, as far as its beginning tells: not surely in
    another of `LANGUAGES`.

    None for a language that the detector does not know. A response in another language that the
    instruction asked for counts as False.
    """
    if lang not in _identifier().labels:
        return None
    wrong = _among_all(lang)
    return [not wrong(text[:BEGINNING]) for text in texts]


@cache
def _among_all(lang: str) -> Callable[[str], bool]:
    # A text is judged by several scores, checks and tables.
    return lru_cache(maxsize=2**16)(wrong_language(lang, list(LANGUAGES)))


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
