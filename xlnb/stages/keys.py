"""What a stage with a model depends on, beside the preset's own values."""

import hashlib
from dataclasses import asdict
from pathlib import Path

from xlnb.common.files import sha256
from xlnb.models.base import base_path
from xlnb.presets import Models, Sampling
from xlnb.runs.layout import Run

# What a checkpoint is loaded from.
MODEL_FILES = {".safetensors", ".json", ".jinja", ".model", ".txt"}
# Bytes, but for the number of blocks.
READ_WHOLE = 64 * 2**20
BLOCKS = 64
BLOCK = 256 * 2**10


def sampling_fields(config: Sampling, *names: str) -> dict[str, object]:
    """What samples depend on of these fields (all): an engine that is asked for is such, what auto
    finds is not."""
    values = asdict(config)
    names = names or tuple(values)
    found = {name: values[name] for name in names}
    if found.get("backend") == "auto":
        del found["backend"]
    return found


def model_fields(models: Models) -> dict[str, object]:
    """{"models": the fields that every stage with a model depends on}.

    A checkpoint that is a folder counts by what its files hold: weights, configs, tokenizer and
    chat template.
    """
    fields = asdict(models)
    # Rounding apart, these change nothing.
    del fields["attention"], fields["shard"]
    files = {}
    for name in ("base", "dpo"):
        folder = Path(base_path(fields[name])) if fields[name] else None
        for path in sorted(folder.glob("*")) if folder else []:
            if path.suffix in MODEL_FILES and path.is_file():
                files[f"{name}/{path.name}"] = fingerprint(path)
    return {"models": fields | {"files": files}}


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


def adapter_files(run: Run, model: str) -> list[Path]:
    """An adapter's weights and its config, whose `lora_alpha` scales them. Loading refuses one
    without."""
    folder = run.adapter(model)
    if folder is None:
        return []
    return [folder / "adapter_model.safetensors", *folder.glob("adapter_config.json")]
