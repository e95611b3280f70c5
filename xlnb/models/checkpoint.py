"""What a checkpoint in a folder or a GGUF file is, by the content of the files that it is loaded
from: the same wherever it lies and whatever else is in the folder."""

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import sha256
from xlnb.models.places import base_path, is_here
from xlnb.presets import Models

# What weights, configs, tokenizer and chat template are read from.
LOADED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "*.jinja",
    "*.model",
    "*.spm",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
# How transformers tells what `check_whole` looks at.
WITH_FAULTS: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
# Bytes, but for the number of blocks.
READ_WHOLE = 64 * 2**20
BLOCKS = 64
BLOCK = 256 * 2**10


def checkpoint_files(name: str) -> dict[str, str]:
    """The files of a checkpoint that a preset names, with their fingerprints; none where it is not
    here."""
    if not is_here(name):
        return {}
    folder = Path(base_path(name))
    if folder.is_file():
        return {"gguf": fingerprint(folder)}
    found = {}
    for path in sorted(folder.glob("*")):
        if path.is_file() and any(fnmatch(path.name, form) for form in LOADED):
            found[path.name] = fingerprint(path)
    return found


def check_two(models: Models) -> None:
    """Raises InputError where π^0 is a checkpoint of π_I's own weights, whatever it is called."""
    if not models.dpo:
        return
    base, dpo = _weights(models.base), _weights(models.dpo)
    if models.base == models.dpo or (base and base == dpo):
        raise InputError(
            f"models.base {models.base} and models.dpo {models.dpo} are the same weights: every "
            "reward would be 0"
        )


def _weights(name: str) -> dict[str, str]:
    """Of `checkpoint_files` those that hold weights."""
    files = checkpoint_files(name)
    return {file: files[file] for file in files if file.endswith(("safetensors", "gguf"))}


def check_whole(named: str, loading: Mapping[str, Any]) -> None:
    """Raises InputError where a checkpoint lacks tensors, or has them in another shape: they would
    be drawn at random. `loading`: what transformers says of it."""
    faults = {
        "are missing": loading["missing_keys"],
        "have another shape than its config's": {name for name, *_ in loading["mismatched_keys"]},
    }
    for fault, names in faults.items():
        if names:
            raise InputError(
                f"{named}: {len(names)} of its tensors {fault}, the first {min(names)}; download "
                "or make it again"
            )


def fingerprint(path: Path) -> str:
    """Hex digest of a file's content, or, from 64 MiB on, which takes long to read, of its size and
    of 64 blocks of 256 KiB, evenly spaced from its start (safetensors' header) to its end. Between
    two blocks lies less than a 63rd of the file, so that weights which were trained on differ in
    some."""
    size = path.stat().st_size
    if size < READ_WHOLE:
        return sha256(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for i in range(BLOCKS):
            file.seek((size - BLOCK) * i // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()
