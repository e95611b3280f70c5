"""What others give is checked here, by one rule each for texts, ids and numbers, wherever it comes
in: prompts, preferences, outputs, annotations, drafts, of JSON and CSV alike.

`where` says where a value stands ("prompts.csv, line 7"), `name` what it is called there.
"""

import math
import re
import unicodedata
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.text import shorten

# Unicode calls these letters, symbols or marks, though nothing is seen of them by themselves.
INVISIBLE = set("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")

# White space, controls, format characters (zero-width ones among them), halves of characters.
UNSEEN = {"Zs", "Zl", "Zp", "Cc", "Cf", "Cs"}

# How a list of messages begins that pandas or JSON has made a text of, and how it ends.
MESSAGES = re.compile(
    r"""\s*(array\()?\[?\s*\{\s*(['"])(role|content|from|value)\2\s*:.*[\]})]\s*""", re.DOTALL
)


def is_blank(text: str) -> bool:
    """Whether nothing of the text is seen: white space in Unicode's sense, zero-width characters,
    fillers, variation selectors."""
    return all(_is_unseen(character) for character in text)


def _is_unseen(character: str) -> bool:
    if unicodedata.category(character) in UNSEEN or character in INVISIBLE:
        return True
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def is_broken(text: str) -> bool:
    """Whether it holds half a character (a lone surrogate), which no tokenizer reads."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def comparable(text: str) -> str:
    """The text in the form in which two are the same: composed (NFC), without white space at its
    ends."""
    return unicodedata.normalize("NFC", text).strip()


def given_text(where: str, name: str, value: Any) -> str:
    """A text. Raises InputError for anything else, for half a character, and for a list of messages
    that is written as text."""
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {shown(value)}, expected text")
    if is_broken(value):
        raise InputError(f"{where}: {name} holds half a character (a lone surrogate); mend it")
    if MESSAGES.fullmatch(value):
        raise InputError(
            f"{where}: {name} is a list of messages written as text ({shown(value)}); give it as a "
            "JSON list, or the message's content alone"
        )
    return value


def given_id(where: str, name: str, value: Any) -> str | None:
    """An id as text, 7 for 7.0, composed (NFC); None for one that is missing: null, NaN or blank.
    Raises InputError for what is neither text nor a number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    infinite = isinstance(value, float) and math.isinf(value)
    if infinite or isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{where}: {name} is {shown(value)}, expected text or a number")
    text = str(value)
    if is_broken(text):
        raise InputError(f"{where}: {name} holds half a character (a lone surrogate); mend it")
    return None if is_blank(text) else unicodedata.normalize("NFC", text)


def given_number(where: str, name: str, value: Any) -> float:
    """A finite number, or a text of one. Raises InputError for anything else; true is none."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: {name} is {shown(value)}, expected a number")
    return number


def shown(value: Any) -> str:
    """A value of others in a line of ours."""
    return shorten(ascii(value) if isinstance(value, str) and is_broken(value) else repr(value), 60)
