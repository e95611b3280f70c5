"""Texts on the screen."""


def shorten(text: str, most: int) -> str:
    """The text in at most so many characters, an ellipsis for the rest."""
    return text if len(text) <= most else text[: most - 1] + "…"
