""""""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xlnb.common.files import sha256
from xlnb.models.base import base_path
from xlnb.runs.layout import Run

MODEL_FILES = {
    ".safetensors",
    ".json",
    ".jinja",
    ".model",
    ".txt",
}  # what a checkpoint is loaded from

READ_WHOLE, BLOCKS, BLOCK = 64 * 2**20, 64, 256 * 2**10  # bytes, but for the number of blocks


def sampling_fields(config: Any, *names: str) -> dict[str, Any]:
    """What samples depend on of these fields (all): an engine that is asked for is such, what auto finds is not."""
    values = {name: getattr(config, name) for name in names} if names else asdict(config)
    return {name: value for name, value in values.items() if (name, value) != ("backend", "auto")}


def model_fields(run: Run) -> dict[str, Any]:
    """The fields that every stage with a model depends on. A checkpoint that is a folder counts by what its files hold:
    weights, configs, tokenizer and chat template."""
    models = run.preset.models
    files = {
        f"{name}/{path.name}": fingerprint(path)
        for name, base in (("base", models.base), ("dpo", models.dpo))
        if base
        for path in sorted(Path(base_path(base)).glob("*"))
        if path.suffix in MODEL_FILES and path.is_file()
    }
    # Rounding apart, these change nothing.
    fields = {
        name: value for name, value in asdict(models).items() if name not in ("attention", "shard")
    }
    return {"models": fields | {"files": files}, "seed": run.preset.seed}


def fingerprint(path: Path) -> str:
    """Hex digest of a file's content, or, from 64 MiB on, which takes long to read, of its size and of 64 blocks of
    256 KiB, evenly spaced from its start (safetensors' header) to its end. Between two blocks lies less than a 63rd of
    the file, so that weights which were trained on differ in some."""
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
    """An adapter's weights and its config, whose `lora_alpha` scales them. Loading refuses one without."""
    folder = run.adapter(model)
    return (
        []
        if folder is None
        else [folder / "adapter_model.safetensors", *folder.glob("adapter_config.json")]
    )
