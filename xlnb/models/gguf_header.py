"""What must hold of a GGUF file before it is read: the readers that there are do not come to an end
where a damaged header says that there is more than the file holds."""

import struct
from pathlib import Path
from typing import Any, BinaryIO

from xlnb.common.errors import InputError
from xlnb.common.files import named_errors

MAGIC = b"GGUF"

# Of each kind of number how it is read; by the form's own codes, as are those of texts and lists.
NUMBERS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
TEXT, LIST = 8, 9

# Dimensions that a tensor has at most.
DIMENSIONS = 4


def check_header(path: Path) -> None:
    """Raises InputError where the file is no GGUF, is cut off within its header, or its header says
    what cannot be."""
    with named_errors(path), path.open("rb") as file:
        try:
            _Header(file, path.stat().st_size).check()
        except ValueError as error:
            raise InputError(
                f"model {path}: could not be read as GGUF ({error}); fetch the file again"
            ) from None


class _Header:
    """Raises ValueError for whatever is not as it must be."""

    def __init__(self, file: BinaryIO, size: int):
        self._file = file
        self._size = size
        self._order = "<"

    def check(self) -> None:
        if self._take(4) != MAGIC:
            raise ValueError("it does not begin as one")
        (version,) = struct.unpack("<I", self._take(4))
        if not version & 0xFFFF:
            # Of a machine that writes the highest byte first.
            self._order = ">"
        tensors = self._number("Q")
        values = {}
        for _ in range(self._number("Q")):
            name = self._text()
            values[name] = self._value(self._number("I"))
        for _ in range(tensors):
            self._tensor()
        for name, value in values.items():
            # Each block has tensors of its own.
            if name.endswith(".block_count") and not 0 < value <= tensors:
                raise ValueError(f"{name} is {value}, of {tensors} tensors")

    def _tensor(self) -> None:
        name = self._text()
        dimensions = self._number("I")
        if dimensions > DIMENSIONS:
            raise ValueError(f"tensor {name!a} has {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self._number("Q")
        self._number("I")
        start = self._number("Q")
        # The narrowest kinds take more than a bit an element.
        if start > self._size or elements > 8 * self._size:
            raise ValueError(f"tensor {name!a} has no place in {self._size} bytes")

    def _value(self, kind: int) -> Any:
        """A value; of a list nothing but that it is there."""
        if kind in NUMBERS:
            return self._number(NUMBERS[kind])
        if kind == TEXT:
            return self._text()
        if kind != LIST:
            raise ValueError(f"a value of kind {kind}, which there is not")
        of = self._number("I")
        count = self._number("Q")
        if of in NUMBERS:
            self._take(count * struct.calcsize(NUMBERS[of]))
        else:
            for _ in range(count):
                self._value(of)
        return None

    def _number(self, kind: str) -> Any:
        (value,) = struct.unpack(self._order + kind, self._take(struct.calcsize(kind)))
        return value

    def _text(self) -> str:
        try:
            return self._take(self._number("Q")).decode()
        except UnicodeDecodeError:
            raise ValueError("a text in its header is not UTF-8") from None

    def _take(self, count: int) -> bytes:
        if count > self._size - self._file.tell():
            raise ValueError("it is cut off within its header")
        return self._file.read(count)
