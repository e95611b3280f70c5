"""LoRA adapters on one base: loading several, switching between them, making a fresh one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import PreTrainedModel

from xlnb.common.errors import InputError
from xlnb.common.files import read_json
from xlnb.models.base import base_path, deal_out, read_base
from xlnb.models.hub import is_hub_id
from xlnb.presets import Models, Training


def load_model(models: Models, adapters: dict[str, Path | None]) -> PreTrainedModel | PeftModel:
    """The base with adapters on it, by their names; a name with None, the bare base, adds none."""
    model: PreTrainedModel | PeftModel = read_base(models)
    for name, folder in adapters.items():
        if folder is None:
            continue
        check_adapter(folder, models.base)
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), adapter_name=name)
        else:
            model = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
    return deal_out(model.eval(), models)


@contextmanager
def active(
    model: PreTrainedModel | PeftModel, adapter: str | None
) -> Iterator[PreTrainedModel | PeftModel]:
    """The model with the adapter of that name on; with None, as the bare base.

    Raises InputError for a name that the model has no adapter of.
    """
    if adapter is None:
        if isinstance(model, PeftModel):
            with model.disable_adapter():
                yield model
        else:
            yield model
        return
    if not isinstance(model, PeftModel):
        raise InputError(f"adapter '{adapter}': this model is a bare base and has no adapters")
    if adapter not in model.peft_config:
        raise InputError(f"adapter '{adapter}': this model has {', '.join(model.peft_config)}")
    model.set_adapter(adapter)
    model.requires_grad_(False)
    yield model


def new_adapter(model: PreTrainedModel, base: str, training: Training) -> PeftModel:
    """A fresh LoRA adapter on every linear layer but the output, named `default`, which starts as
    the identity."""
    config = LoraConfig(
        r=training.lora_r,
        lora_alpha=training.lora_alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    peft_model = get_peft_model(model, config)
    peft_model.peft_config["default"].base_model_name_or_path = base
    return peft_model


def check_adapter(folder: Path, base: str) -> None:
    """Raises InputError unless the folder holds an adapter of finite values that was trained on
    this base."""
    path = folder / "adapter_config.json"
    if not path.exists():
        raise InputError(f"{folder}: not an adapter folder (no adapter_config.json)")
    trained_on = read_json(path).get("base_model_name_or_path")
    theirs = Path(base_path(trained_on or ""))
    ours = Path(base_path(base))
    # A copy of a base from the Hub, in a folder of the same name, is what the adapter calls by its
    # Hub id.
    copied = is_hub_id(trained_on or "") and ours.is_dir() and theirs.name == ours.name
    if theirs.resolve() != ours.resolve() and not copied:
        raise InputError(
            f"{folder}: this adapter belongs to base '{trained_on}', not to '{base}'; set "
            "models.base to match"
        )
    weights = folder / "adapter_model.safetensors"
    if not weights.exists():
        raise InputError(f"{weights}: no such file; get or train the adapter anew")
    with safe_open(weights, "pt") as file:
        names = file.keys()
        for name in names:
            if not torch.isfinite(file.get_tensor(name)).all():
                raise InputError(
                    f"{weights}: {name} holds a value that is not finite; get or train the adapter "
                    "anew"
                )
