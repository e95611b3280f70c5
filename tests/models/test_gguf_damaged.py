"""GGUF files damaged at random: one clear line, or a base that is whole.

The header is looked at without the package gguf; what the file goes on to is read where it is
installed.
"""

import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlnb.common.errors import InputError
from xlnb.models.gguf_header import check_header

NUMBER, TEXT, LIST = 4, 8, 9


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def listed(kind, values):
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


def gguf(*, blocks=2, tensors=3, order="<"):
    """A header with numbers, texts and lists of both, and tensors of 8 values."""
    entries = [
        entry("general.architecture", TEXT, text("llama")),
        entry("llama.block_count", NUMBER, struct.pack("<I", blocks)),
        entry("tokenizer.ggml.tokens", LIST, listed(TEXT, [text(word) for word in ("a", "ü", "")])),
        entry("tokenizer.ggml.token_type", LIST, listed(5, [struct.pack("<i", 1)] * 3)),
    ]
    found = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(entries)) + b"".join(entries)
    for place in range(tensors):
        found += text(f"blk.{place}.weight") + struct.pack("<IQIQ", 1, 8, 0, 32 * place)
    return found + bytes(-len(found) % 32) + bytes(32 * tensors)


WHOLE = gguf()
HEADER = len(WHOLE) - 32 * 3 - 31


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("gguf") / "mine.gguf"


def outcome(path, data):
    """The line that says what is wrong with a header; empty where nothing is."""
    path.write_bytes(data)
    try:
        check_header(path)
    except InputError as error:
        line = f"{error}"
        assert line.startswith(f"model {path}: could not be read as GGUF (") and "\n" not in line
        assert line.endswith("; fetch the file again") and len(line) < len(f"{path}") + 200
        return line
    return ""


def test_a_whole_header_is_one(path):
    assert outcome(path, WHOLE) == ""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is cut off within its header"),
        (b"GGML" + WHOLE[4:], "it does not begin as one"),
        (WHOLE[:8] + struct.pack("<Q", 2**60) + WHOLE[16:], "cut off|kind|place|UTF-8"),
        (WHOLE[:16] + struct.pack("<Q", 2**60) + WHOLE[24:], "cut off|kind|place|UTF-8"),
        (gguf(blocks=2**30), "llama.block_count is 1073741824, of 3 tensors"),
        (gguf(blocks=0), "llama.block_count is 0, of 3 tensors"),
    ],
)
def test_what_a_header_cannot_say_is_told(path, data, said):
    assert re.search(said, outcome(path, data))


@given(end=st.integers(0, HEADER))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_header_that_is_cut_off_is_told(path, end):
    assert "it is cut off within its header" in outcome(path, WHOLE[:end])


@given(data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_header_damaged_at_random_is_told_or_can_be_read_to_its_end(path, data):
    some = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, HEADER))
        some[at] = data.draw(st.sampled_from([0, 1, 127, 255]) | st.integers(0, 255))
    outcome(path, bytes(some))


def test_a_list_that_says_it_is_longer_than_the_file_ends_at_once(path):
    """The package's own reader goes through all that a list says it holds, past the file's end."""
    place = WHOLE.index(struct.pack("<IQ", 5, 3))
    some = WHOLE[:place] + struct.pack("<IQ", 5, 2**50) + WHOLE[place + 12 :]
    assert "it is cut off within its header" in outcome(path, some)
