"""A GGUF file as a base. transformers dequantises it once into a folder of safetensors in the Hub's
cache, which is loaded, quantised and trained on as any other. The file's own rounding stays in the
weights: they are not those of the checkpoint that it was made from."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from filelock import FileLock
from huggingface_hub.constants import HF_HOME
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from xlnb.common.errors import InputError
from xlnb.models.checkpoint import WITH_FAULTS, check_whole, fingerprint
from xlnb.models.gguf_header import check_header

# characters of a library's words that are shown
SHOWN = 300


def unpacked(path: Path) -> Path:
    """The folder of a GGUF file's weights in float32, its tokenizer and, where it has one, its chat
    template; made where it is not there yet. The file counts by its content.

    Raises InputError where the file is missing or cannot be read, or the package `gguf` is not
    installed.
    """
    if not path.is_file():
        raise InputError(f"model {path}: no such file")
    name = f"{fingerprint(path)[:16]}-transformers-{transformers.__version__}"
    folder = Path(HF_HOME) / "xlnb-gguf" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _unpack(path, folder)
    return folder


def _unpack(path: Path, folder: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise InputError(f"model {path}: a GGUF file needs the package gguf; pip install gguf")
    check_header(path)
    half = folder.with_name(f"{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    try:
        tokenizer, plain, loading = _read(path)
    # Of a damaged file the libraries raise whatever they come to, tokenizers a bare Exception.
    except Exception as error:
        said = " ".join(str(error).split())[:SHOWN] or type(error).__name__
        raise InputError(
            f"model {path}: could not be read as GGUF ({said}); fetch the file again"
        ) from None
    check_whole(f"model {path}", loading)
    for name, weight in plain.state_dict().items():
        if not weight.isfinite().all():
            raise InputError(
                f"model {path}: {name} holds values that are not finite; fetch the file again"
            )
    plain.save_pretrained(half)
    tokenizer.save_pretrained(half)
    os.rename(half, folder)
    print(
        f"NOTE: model {path}: a GGUF file, dequantised to float32 in {folder}; its weights keep "
        "the file's rounding",
        flush=True,
    )


def _read(path: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel, dict[str, Any]]:
    """The file's tokenizer and its weights in float32, as of no quantized model; and what is said
    of its loading."""
    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
    found: Any = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, trust_remote_code=False, **WITH_FAULTS
    )
    model, loading = found
    plain = AutoModelForCausalLM.from_config(_without_quantization(model.config))
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return tokenizer, plain, loading


def _without_quantization(config: transformers.PretrainedConfig) -> transformers.PretrainedConfig:
    values = config.to_dict()
    values.pop("quantization_config", None)
    return type(config).from_dict(values)
