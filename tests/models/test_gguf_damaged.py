"""GGUF files damaged at random: one clear line, or a base that is whole.

The header is looked at without the package gguf; what the file goes on to is read where it is
installed.
"""

import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xlnb.models.gguf
from xlnb.common.errors import InputError
from xlnb.models.gguf import unpacked
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


WORDS = ["a", "b", "c", "ab", "<s>", "</s>"]
WIDTH = 32


def write_tiny(path, without=""):
    """A Llama of one layer and six tokens."""
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
    writer = gguf.GGUFWriter(f"{path}", "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(4)
    writer.add_eos_token_id(5)
    stream = np.random.default_rng(0)
    shapes = {"token_embd": (len(WORDS), WIDTH), "output": (len(WORDS), WIDTH)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        shapes[f"blk.0.{name}"] = (WIDTH, WIDTH)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        shapes[name] = (WIDTH,)
    for name, shape in shapes.items():
        values = stream.standard_normal(shape).astype(np.float32)
        if name != without:
            writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_damaged_file_is_a_whole_base_or_one_line(tmp_path, monkeypatch):
    path = tmp_path / "mine.gguf"
    write_tiny(path)
    whole = path.read_bytes()
    monkeypatch.setattr(xlnb.models.gguf, "HF_HOME", tmp_path / "home")
    assert (unpacked(path) / "model.safetensors").exists()

    @given(data=st.data())
    @settings(max_examples=30, deadline=None, derandomize=True)
    def holds(data):
        some = bytearray(whole)
        # Most of it is numbers, of which any are as good as others.
        at = data.draw(st.integers(0, len(whole) // 4))
        some[at] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(some[: data.draw(st.sampled_from([len(some)] * 3 + [len(some) - 100]))])
        try:
            folder = unpacked(path)
        except InputError as error:
            line = f"{error}"
            assert line.startswith(f"model {path}: ") and "\n" not in line and len(line) < 600
        else:
            assert (folder / "model.safetensors").exists()

    holds()


def test_weights_that_are_not_finite_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "mine.gguf"
    write_tiny(path)
    data = path.read_bytes()
    path.write_bytes(data[:-4] + struct.pack("<f", float("nan")))
    monkeypatch.setattr(xlnb.models.gguf, "HF_HOME", tmp_path / "home")
    with pytest.raises(InputError, match=r"weight holds values that are not finite; fetch"):
        unpacked(path)


def test_a_file_without_all_tensors_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "mine.gguf"
    write_tiny(path, without="blk.0.ffn_up")
    monkeypatch.setattr(xlnb.models.gguf, "HF_HOME", tmp_path / "home")
    with pytest.raises(InputError, match=r"mine\.gguf: 1 of its tensors are missing, .*up_proj"):
        unpacked(path)
