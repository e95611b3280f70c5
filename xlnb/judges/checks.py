"""What a program can verify about a response: each kind of check is a pure function of the
response, its language and the check's value. Nothing here asks a model."""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.language_id import in_language

# languages whose words are not spaced: their characters are counted instead
UNSPACED = ("ja", "th", "zh")

ARTICLES = {
    "de": "der die das den dem des ein eine einen einem einer eines",
    "en": "a an the",
    "es": "el la los las un una unos unas",
    "fr": "le la les l un une des",
}

SENTENCE_END = re.compile(r"(?:[.!?;؟。！？।]+(?=\s|$)|[。！？।]+)")
POINT = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+\S", re.MULTILINE)


def normalised(text: str, lang: str) -> str:
    """As question-answering scorers compare: no case, punctuation, articles or extra spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = [" " if unicodedata.category(c).startswith("P") else c for c in folded]
    articles = ARTICLES.get(lang, "").split()
    return " ".join(word for word in "".join(kept).split() if word not in articles)


def holds(text: str, phrase: str, lang: str) -> bool:
    """Whether the phrase is in the text as whole words, or anywhere where words are not spaced."""
    whole, part = normalised(text, lang), normalised(phrase, lang)
    if lang in UNSPACED:
        return bool(part) and part.replace(" ", "") in whole.replace(" ", "")
    return bool(part) and f" {part} " in f" {whole} "


def n_words(text: str, lang: str) -> int:
    """Words, or characters other than spaces where words are not spaced."""
    return len("".join(text.split())) if lang in UNSPACED else len(text.split())


def n_sentences(text: str) -> int:
    """Ends of sentences, and one more for a rest without an end."""
    return sum(1 for part in SENTENCE_END.split(text) if part.strip())


def is_sentence(text: str, lang: str) -> bool:
    """Whether it has at least three words and, but in Thai, which writes none, a sentence's end."""
    ended = lang == "th" or bool(re.search(r"[.!?;؟。！？।]$", text.strip()))
    return ended and n_words(text, lang) >= 3


def is_in(text: str, lang: str) -> bool:
    """Whether the text is not surely in another language. Raises InputError for a language that
    the detector does not know."""
    found = in_language([text], lang)
    if found is None:
        raise InputError(f"check 'language': '{lang}' is not a language that the detector knows")
    return found[0]


def is_json(text: str) -> bool:
    """Whether the whole text is a JSON object or list."""
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


CHECKS: dict[str, Callable[[str, Any, str], bool]] = {
    "answer": lambda text, answers, lang: any(holds(text, answer, lang) for answer in answers),
    "language": lambda text, asked, lang: is_in(text, asked),
    "words_at_most": lambda text, n, lang: n_words(text, lang) <= n,
    "words_at_least": lambda text, n, lang: n_words(text, lang) >= n,
    "sentences_at_most": lambda text, n, lang: n_sentences(text) <= n,
    "sentences_at_least": lambda text, n, lang: n_sentences(text) >= n,
    "points": lambda text, n, lang: len(POINT.findall(text)) == n,
    "uses": lambda text, word, lang: holds(text, word, lang),
    "avoids": lambda text, word, lang: not holds(text, word, lang),
    "begins": lambda text, phrase, lang: text.strip().startswith(phrase),
    "ends": lambda text, phrase, lang: text.strip().endswith(phrase),
    "sentence": lambda text, _, lang: is_sentence(text, lang),
    "json": lambda text, _, lang: is_json(text),
}


def met(text: str, checks: Sequence[tuple[str, Any]], lang: str) -> list[bool]:
    """For each (kind, value) whether the response meets it."""
    unknown = [kind for kind, _ in checks if kind not in CHECKS]
    if unknown:
        raise InputError(f"unknown check '{unknown[0]}'; known: {', '.join(CHECKS)}")
    return [CHECKS[kind](text, value, lang) for kind, value in checks]
