"""Files damaged at random, and what must hold of the error that tells of it."""

import re
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st

from xlnb.common.errors import InputError

# The same examples in every run; a file is written for each.
DAMAGED = settings(max_examples=150, deadline=None, derandomize=True)

# What stands in files and should not: instead of a value, a key, or anywhere.
ODD = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 100,
    b"9" * 5000,
    b"[" * 30_000,
    b'{"a":' * 30_000,
    b"null",
    b"true",
    b"7",
    b"7.5",
    b'""',
    b'"x"',
    b"[]",
    b"[null]",
    b"{}",
    b'{"x": 1}',
    b'"\\ud83d"',
    b'"\xe2\x80\x8b"',
    b"\\ud83d",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\x00",
    b"\xff",
    b'"',
    b"'",
    b",",
    b";",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n  \n",
]

# Strings and keys, numbers, words.
VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|\b(?:null|true|false)\b')
KEY = re.compile(rb'"(?:[^"\\]|\\.)*"\s*:')


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with one to three damages."""
    for _ in range(draw(st.integers(1, 3))):
        data = draw(st.sampled_from(KINDS))(draw, data)
    return data


def _flip(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, max(0, len(data) - 1)))
    return (
        data[:at]
        + bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in data[at : at + 1])
        + data[at + 1 :]
    )


def _put(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from(ODD) | st.binary(max_size=3)) + data[at:]


def _cut(draw: st.DrawFn, data: bytes) -> bytes:
    start = draw(st.integers(0, len(data)))
    return data[:start] + data[start + draw(st.sampled_from([1, 5, 80, 10**6])) :]


def _change_value(draw: st.DrawFn, data: bytes) -> bytes:
    found = list(VALUE.finditer(data))
    if not found:
        return data
    value = draw(st.sampled_from(found))
    other = draw(st.sampled_from(ODD) | st.sampled_from([one[0] for one in found]))
    return data[: value.start()] + other + data[value.end() :]


def _double_key(draw: st.DrawFn, data: bytes) -> bytes:
    found = list(KEY.finditer(data))
    if not found:
        return data
    key = draw(st.sampled_from(found))
    return data[: key.start()] + key[0] + b" 1, " + data[key.start() :]


def _move_lines(draw: st.DrawFn, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    line = draw(st.sampled_from(lines))
    at = draw(st.integers(0, len(lines)))
    kind = draw(st.sampled_from(["double", "move", "drop"]))
    if kind != "double":
        lines.remove(line)
    if kind != "drop":
        lines.insert(at, line)
    return b"".join(lines)


def _encode(draw: st.DrawFn, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(draw(st.sampled_from(["utf-16", "utf-8-sig", "cp1252"])), "replace")


KINDS = [_flip, _put, _put, _cut, _change_value, _change_value, _double_key, _move_lines, _encode]


def check_line(error: InputError, path: Path, place: str = "") -> None:
    """One clear line that names the file and, where asked for, the place in it."""
    line = f"{error}"
    assert (
        str(path) in line
        and place in line
        and "\n" not in line
        and len(line) < 500 + 2 * len(str(path))
    ), line


def lines_of(data: bytes) -> int:
    """How many lines of JSON a file holds."""
    return sum(bool(line.strip()) for line in data.decode("utf-8-sig").split("\n"))
