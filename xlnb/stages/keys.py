"""What a stage depends on beside the preset's own values. What lies here counts by its content,
never by how or where a preset names it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xlnb.common.files import sha256
from xlnb.inputs.reader import HERE, Source
from xlnb.inputs.sources import parse_source, source_versions
from xlnb.models.checkpoint import checkpoint_files
from xlnb.models.places import template_path
from xlnb.presets import Models, Sampling
from xlnb.runs.layout import Run


def sampling_fields(config: Sampling, *names: str) -> dict[str, object]:
    """What samples depend on of these fields (all): an engine that is asked for is such, what auto
    finds is not."""
    values = asdict(config)
    # What an iteration samples by is its n and temperature, wherever they are from.
    del values["iterations_n"], values["iterations_temperature"]
    names = names or tuple(values)
    found = {name: values[name] for name in names}
    if found.get("backend") == "auto":
        del found["backend"]
    return found


def model_fields(models: Models) -> dict[str, object]:
    """{"models": the fields that every stage with a model depends on}.

    A checkpoint that is here counts by what its files hold: weights, configs, tokenizer and chat
    template, also one that it is given. So does an adapter, whose files are inputs of the stages
    that read it.
    """
    fields = asdict(models)
    # Rounding apart, these change nothing.
    del fields["attention"], fields["shard"], fields["device"]
    if not fields["chat_template_kwargs"]:
        del fields["chat_template_kwargs"]
    files = {}
    template = fields.pop("chat_template")
    if template:
        files["chat_template"] = sha256(template_path(template))
    for name in ("base", "dpo"):
        found = checkpoint_files(fields[name])
        if found:
            fields[name] = HERE
        files.update({f"{name}/{file}": digest for file, digest in found.items()})
    if fields["dpo_adapter"] and Path(fields["dpo_adapter"]).is_dir():
        fields["dpo_adapter"] = HERE
    return {"models": fields | {"files": files}}


def source_fields(texts: Sequence[str], sources: Sequence[Source]) -> dict[str, Any]:
    """{"sources": how a preset's texts have sources of prompts or preferences read, "datasets": the
    versions of those that are not here}. Files are inputs of the stage."""
    read = []
    for source in map(parse_source, texts):
        where = source.reader.known_as(source.where)
        read.append({"where": where, "columns": dict(source.columns)})
    return {"sources": read, **source_versions(sources)}


def adapter_files(run: Run, model: str) -> list[Path]:
    """An adapter's weights and its config, whose `lora_alpha` scales them. Loading refuses one
    without."""
    folder = run.adapter(model)
    return [] if folder is None else files_of_adapter(folder)


def files_of_adapter(folder: Path) -> list[Path]:
    return [folder / "adapter_model.safetensors", *folder.glob("adapter_config.json")]
