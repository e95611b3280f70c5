"""A JSON file that is one long list, read value by value: it may be more than memory holds."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from xlnb.common.errors import InputError
from xlnb.common.files import named_errors, next_value, read_json

# Bytes that are read at a time.
PIECE = 2**18

# What a value ends at.
BEHIND = tuple(" \t\n\r,]")

SPACE = re.compile(r"[ \t\n\r]*")


def each_value(path: Path, what: str) -> Iterator[Any]:
    """The values of a JSON list of `what`, one after the other.

    Raises as `read_json`, once it has come there, and InputError naming the file for another value
    than a list, and for an empty one.
    """
    found = False
    try:
        with named_errors(path), path.open("rb") as file:
            for value in _values(_Text(file)):
                found = True
                yield value
    except ValueError:
        # Where it is no JSON, this says where.
        read_json(path)
        found = False
    if not found:
        raise InputError(f"{path}: expected a JSON list of {what}")


def _values(text: "_Text") -> Iterator[Any]:
    """Raises ValueError for what is no list."""
    mark = text.mark("[")
    if text.next() == "]":
        mark = text.mark("]")
    while mark != "]":
        yield text.value()
        mark = text.mark(",]")
    if text.next():
        raise ValueError("there is more behind the list")


class _Text:
    """A file's text, of which a piece is held."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._held = ""
        # What of it was taken.
        self._at = 0
        self._at_end = False

    def next(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            space = SPACE.match(self._held, self._at)
            assert space
            self._at = space.end()
            if self._at < len(self._held) or self._at_end:
                return self._held[self._at : self._at + 1]
            self._read_on(PIECE)

    def mark(self, known: str) -> str:
        """Take the next of these characters. Raises ValueError where something else stands."""
        found = self.next()
        if not found or found not in known:
            raise ValueError(f"expected one of {known}")
        self._at += 1
        return found

    def value(self) -> Any:
        """Take the next value. Raises ValueError where none stands."""
        self.next()
        more = PIECE
        while True:
            try:
                value, end = next_value(self._held, self._at)
            except ValueError:
                if self._at_end:
                    raise
            else:
                # Else a number may go on.
                if self._held[end : end + 1] in BEHIND or self._at_end:
                    self._at = end
                    return value
            self._read_on(more)
            # So that a long value is not tried too often.
            more *= 2

    def _read_on(self, size: int) -> None:
        data = self._file.read(size)
        self._at_end = not data
        self._held = self._held[self._at :] + self._decoder.decode(data, self._at_end)
        self._at = 0
