"""What a program sees in a text of a language: words, sentences, phrases, points, JSON.

It knows no grammar: abbreviations can end a sentence, and an inflected word is another word.
"""

import itertools
import json
import re
import unicodedata
from typing import Any

from xlnb.common.language_id import in_language

# languages whose words are not spaced: their characters are counted instead
UNSPACED = ("ja", "th", "zh")
# languages that do not mark where a sentence ends
UNMARKED = ("th",)

# of a sentence; characters in languages that do not space words
LEAST_WORDS = 3

ARTICLES = {
    "de": "der die das den dem des ein eine einen einem einer eines",
    "el": "ο η το οι τα του της των τον την το τους τις ένας μια μία ένα",
    "en": "a an the",
    "es": "el la los las un una unos unas",
    "fr": "le la les l un une des",
    "it": "il lo la i gli le l un uno una",
}
# Scripts, as Unicode's names of letters begin, and the languages that are written in them; names
# in Latin letters stand in any language.
SCRIPTS = {
    "ARABIC": "ar fa ur",
    "BENGALI": "bn",
    "CJK": "ja ko zh",
    "CYRILLIC": "bg ru uk",
    "DEVANAGARI": "hi",
    "GREEK": "el",
    "HANGUL": "ko",
    "HEBREW": "he",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "th",
}
ALIKE = str.maketrans({"ё": "е", "’": "'"})
ARABIC_ARTICLE = "ال"

# 1,000 and 1.000 are 1000
THOUSANDS = re.compile(r"(?<=\d)[,.](?=\d{3}(?!\d))")
# U.S. is US
INITIALS = re.compile(r"(?<=\b[^\W\d_])\.(?=[^\W\d_]\b)")
# where numbers and Latin letters do not go on
EDGE = r"(?:(?<![a-z0-9])|(?![a-z0-9]))"
WORD = re.compile(r"\S*\w\S*")
FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL | re.IGNORECASE)
MARKER = r"^[^\S\n]*(?:(?:[-*•]|\d+[.)])[^\S\n]+|[•・])"
MARKERS = re.compile(MARKER, re.MULTILINE)
POINT = re.compile(MARKER + r"\S", re.MULTILINE)

CLOSING = r"[\"'»”’)\]」』）*_]*"
# Behind one letter a full stop is an initial's.
SPACED_END = r"(?:(?<!\b[^\W\d_])\.|[!?…؟۔।॥%s])[.!?…؟]*" + CLOSING + r"(?=\s|$)"
SENTENCE_END = rf"{SPACED_END}|[。！？｡]+{CLOSING}|\n+"


def normalised(text: str, lang: str) -> str:
    """As question-answering scorers compare: no case, punctuation, articles or extra spaces."""
    folded = _plain(unicodedata.normalize("NFKC", text))
    folded = INITIALS.sub("", THOUSANDS.sub("", folded))
    kept = [_kept(folded, place, lang) for place in range(len(folded))]
    words = "".join(kept).split()
    if lang == "ar":
        return " ".join(word.removeprefix(ARABIC_ARTICLE) or word for word in words)
    articles = ARTICLES.get(lang, "").split()
    return " ".join(word for word in words if word not in articles)


def _kept(text: str, place: int, lang: str) -> str:
    """What stays of a character: a mark between digits is a number's, others are spaces, and
    Arabic's vowel signs are left out."""
    character = text[place]
    kind = unicodedata.category(character)
    if lang == "ar" and kind == "Mn":
        return ""
    # currencies are told
    if kind[0] not in "PS" or kind == "Sc":
        return character
    in_number = text[place - 1 : place].isdigit() and text[place + 1 : place + 2].isdigit()
    return character if character in ".," and in_number else " "


def holds(text: str, phrase: str, lang: str) -> bool:
    """Whether the phrase is in the text as whole words, or anywhere where words are not spaced:
    there only numbers and Latin letters must stand alone."""
    whole, part = normalised(text, lang), normalised(phrase, lang)
    if not part:
        return False
    if lang not in UNSPACED:
        return f" {part} " in f" {whole} "
    spelt = " ?".join(map(re.escape, part.replace(" ", "")))
    return re.search(rf"{EDGE}{spelt}{EDGE}", whole) is not None


def is_in(text: str, lang: str) -> bool:
    """Whether the text is not surely in another language: by the detector, which is seldom sure of
    a few words, and by letters, most of which no language of another script has.

    Of XQuAD's known answers, often a bare name, it takes at most 1% for another language's, and of
    its questions it lets at most 11% pass as of another language.
    """
    letters = [unicodedata.name(c, "").partition(" ")[0] for c in text if c.isalpha()]
    others = [name for name in letters if lang not in SCRIPTS.get(name, lang).split()]
    return 2 * len(others) <= len(letters) and in_language([text], lang) == [True]


def n_words(text: str, lang: str) -> int:
    """Words, or letters, digits and signs on them where words are not spaced."""
    if lang not in UNSPACED:
        return len(WORD.findall(text))
    return sum(unicodedata.category(character)[0] in "LMN" for character in text)


def sentences(text: str, lang: str) -> list[str]:
    """The text cut where sentences and lines end, without the marks of lists and of ends."""
    # in Greek ; asks, elsewhere it is a pause
    end = SENTENCE_END % (";" if lang == "el" else "")
    parts = [part.strip() for part in re.split(end, MARKERS.sub("", text))]
    return [part for part in parts if WORD.search(part)]


def pieces(text: str, lang: str) -> list[str]:
    """The text cut behind the ends of its sentences and lines; joined they are the text."""
    end = SENTENCE_END % (";" if lang == "el" else "")
    cuts = [0, *(found.end() for found in re.finditer(end, text)), len(text)]
    return [text[start:stop] for start, stop in itertools.pairwise(cuts) if start < stop]


def is_sentence(text: str, lang: str) -> bool:
    """Whether it has `LEAST_WORDS` or more and ends as a sentence does."""
    end = (SPACED_END % (";" if lang == "el" else "")) + rf"\Z|[。！？｡]+{CLOSING}\Z"
    return n_words(text, lang) >= LEAST_WORDS and re.search(end, text.strip()) is not None


def is_unrepeated(text: str, lang: str) -> bool:
    """Whether no sentence is said twice; headings and the like are shorter than one."""
    some = [part for part in sentences(text, lang) if n_words(part, lang) >= LEAST_WORDS]
    said = [normalised(sentence, lang) for sentence in some]
    return len(said) == len(set(said))


def n_points(text: str) -> int:
    """Lines that begin as a list's do: -, *, • or a number."""
    return len(POINT.findall(text))


def begins(text: str, phrase: str, lang: str) -> bool:
    """Whether the text begins with the phrase, whatever its case, and not with a longer word."""
    whole, part = _plain(text), _plain(phrase)
    rest = whole.removeprefix(part)
    return rest != whole and not _one_word(part[-1:], rest[:1], lang)


def ends(text: str, phrase: str, lang: str) -> bool:
    """Whether the text ends with the phrase, whatever its case, and not with a longer word."""
    whole, part = _plain(text), _plain(phrase)
    rest = whole.removesuffix(part)
    return rest != whole and not _one_word(rest[-1:], part[:1], lang)


def _one_word(left: str, right: str, lang: str) -> bool:
    return lang not in UNSPACED and left.isalnum() and right.isalnum()


def _plain(text: str) -> str:
    """Without case and outer spaces; what is often typed in another way is alike."""
    return unicodedata.normalize("NFC", text).casefold().strip().translate(ALIKE)


def is_json(text: str) -> bool:
    """Whether the whole text, or what a fence around it holds, is a JSON object or list."""
    fenced = FENCE.fullmatch(text.strip())
    try:
        found = json.loads(fenced[1] if fenced else text, parse_constant=_refuse, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict | list)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
