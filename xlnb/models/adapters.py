""""""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from xlnb.common.errors import InputError
from xlnb.common.files import read_json
from xlnb.models.base import base_path, deal_out, read_base
from xlnb.models.hub import is_hub_id
from xlnb.presets import Models, Training


def load_model(models: Models, adapters: dict[str, Path | None]) -> PreTrainedModel | PeftModel:
    """The base with the named adapters on it; a name with None is the bare base, and is always there."""
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
    model: PreTrainedModel | PeftModel, adapter: str
) -> Iterator[PreTrainedModel | PeftModel]:
    """The model with that adapter on, or, where there is no adapter of that name, as the bare base (`sft`)."""
    if not isinstance(model, PeftModel):
        yield model
    elif adapter in model.peft_config:
        model.set_adapter(adapter)
        model.requires_grad_(False)
        yield model
    else:
        with model.disable_adapter():
            yield model


def new_adapter(model: PreTrainedModel, base: str, training: Training) -> PeftModel:
    """A fresh LoRA adapter on every linear layer but the output, named `default`, which starts as the identity."""
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
    """Raises InputError unless the folder holds an adapter that was trained on this base."""
    path = folder / "adapter_config.json"
    if not path.exists():
        raise InputError(f"{folder}: not an adapter folder (no adapter_config.json)")
    trained_on = read_json(path).get("base_model_name_or_path")
    paths = [Path(base_path(name)) for name in (trained_on or "", base)]
    # A copy of a base from the Hub, in a folder of the same name, is what the adapter calls by its Hub id.
    copied = is_hub_id(trained_on or "") and paths[1].is_dir() and paths[0].name == paths[1].name
    if paths[0].resolve() != paths[1].resolve() and not copied:
        raise InputError(
            f"{folder}: this adapter belongs to base '{trained_on}', not to '{base}'; set models.base to match"
        )
