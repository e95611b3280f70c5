"""Texts on the screen, and in the keys of stages."""

import hashlib
import unicodedata

# Line ends, and what a terminal obeys.
CONTROL = {"Cc", "Zl", "Zp"}


def shorten(text: str, most: int) -> str:
    """The text in at most so many characters, an ellipsis for the rest."""
    return text if len(text) <= most else text[: most - 1] + "…"


def in_one_line(text: str) -> str:
    """The text as it is shown in a line or a cell, control characters as escapes."""
    if not any(unicodedata.category(character) in CONTROL for character in text):
        return text
    shown = [repr(each)[1:-1] if unicodedata.category(each) in CONTROL else each for each in text]
    return "".join(shown)


def wording(name: str, text: str, first: str) -> dict[str, str]:
    """{name: the digest of a text of the kit's} for what depends on it. Nothing where that is the
    `first` that there was, as of those who had no other."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {} if digest == first else {name: digest}
