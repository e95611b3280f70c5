"""Texts on the screen, and in the keys of stages."""

import hashlib


def shorten(text: str, most: int) -> str:
    """The text in at most so many characters, an ellipsis for the rest."""
    return text if len(text) <= most else text[: most - 1] + "…"


def wording(name: str, text: str, first: str) -> dict[str, str]:
    """{name: the digest of a text of the kit's} for what depends on it. Nothing where that is the
    `first` that there was, as of those who had no other."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {} if digest == first else {name: digest}
