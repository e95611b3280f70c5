"""A damaged adapter is refused with its file's name, and one is known by its base's content."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from families import checkpoint, fp32, save_adapter
from safetensors.torch import load_file, save_file

from xlnb.common.errors import InputError
from xlnb.common.files import write_json
from xlnb.models.adapters import check_adapter, load_model
from xlnb.models.checkpoint import checkpoint_files
from xlnb.presets import Models

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return save_adapter(fp32("llama3"), tmp_path_factory.mktemp("adapters") / "one", 0)


@pytest.fixture
def adapter(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "adapter")
    return tmp_path / "adapter"


def rewritten(path, change):
    """`change` gets the tensors by name, to change in place."""
    tensors = load_file(path)
    change(tensors, sorted(tensors))
    save_file(tensors, path)


def not_a_number(tensors, names):
    tensors[names[3]][0, 0] = float("nan")


def infinite(tensors, names):
    tensors[names[-1]][-1, -1] = float("inf")


def without_half(tensors, names):
    del tensors[names[2]]


def without_a_layer(tensors, names):
    for name in names[:2]:
        del tensors[name]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (not_a_number, r"tensor .*lora_.* is not finite"),
        (infinite, r"tensor .*lora_.* is not finite"),
        (without_half, r"1 tensors are missing, the first .*lora_"),
        (without_a_layer, r"2 tensors are missing, the first .*lora_"),
    ],
)
def test_an_adapter_with_a_bad_or_missing_tensor_is_refused(adapter, change, what):
    assert load_model(fp32("llama3"), {"dpo": adapter})
    rewritten(adapter / WEIGHTS, change)
    for names in ({"dpo": adapter}, {"sft": None, "other": adapter}):
        with pytest.raises(InputError, match=rf"adapter_model\.safetensors: {what}.*again$"):
            load_model(fp32("llama3"), names)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\xff" + data[1:],
        lambda data: data[:20] + b"\0" + data[21:],
    ],
)
def test_a_file_that_is_no_adapter_any_more_is_refused(adapter, damage):
    path = adapter / WEIGHTS
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: cannot be read"):
        load_model(fp32("llama3"), {"dpo": adapter})
    path.unlink()
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: cannot be read"):
        check_adapter(adapter, fp32("llama3").base)


def test_a_base_in_another_place_is_the_adapters_by_its_content(adapter, tmp_path):
    base = checkpoint("llama3")
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    (copy / "notes.txt").write_text("About it.")
    check_adapter(adapter, str(copy))
    other = tmp_path / "other"
    shutil.copytree(checkpoint("qwen2.5"), other)
    with pytest.raises(InputError, match="belongs to base"):
        check_adapter(adapter, str(other))
    # Where the base lay is no more; what training wrote down of it is.
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    write_json(adapter / "adapter_config.json", config)
    with pytest.raises(InputError, match="belongs to base"):
        check_adapter(adapter, str(copy))
    write_json(adapter / "training.json", {"base_files": checkpoint_files(str(base))})
    check_adapter(adapter, str(copy))
    model = load_model(
        Models(base=str(copy), quantization="none", dtype="float32"), {"dpo": adapter}
    )
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


class Harm:
    """Its pickle writes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickled_adapter_is_never_read(adapter, tmp_path):
    torch.save(Harm(tmp_path / "harm"), adapter / "adapter_model.bin")
    assert load_model(fp32("llama3"), {"dpo": adapter})
    (adapter / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: cannot be read"):
        load_model(fp32("llama3"), {"dpo": adapter})
    assert not (tmp_path / "harm").exists()
