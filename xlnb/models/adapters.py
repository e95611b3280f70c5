"""LoRA adapters on one base: loading several, switching between them, making a fresh one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from xlnb.common.errors import InputError
from xlnb.common.files import read_json
from xlnb.models.base import deal_out, read_base
from xlnb.models.checkpoint import checkpoint_files
from xlnb.models.hub import ADAPTER_FILES, is_hub_id
from xlnb.models.places import base_path, hub_place
from xlnb.presets import SFT, Models, Training

MAKE_AGAIN = "the file is damaged: train or download the adapter again"


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
        check_complete(folder, model, name)
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


def new_adapter(model: PreTrainedModel, base: str, training: Training | SFT) -> PeftModel:
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
    repo, revision = hub_place(base)
    peft_model.peft_config["default"].base_model_name_or_path = repo
    peft_model.peft_config["default"].revision = revision.get("revision")
    return peft_model


def check_layers(model: PeftModel, layers: list[int] | None, section: str) -> None:
    """Raises InputError for a layer that the model has not. `section`: the preset's."""
    last = model.config.get_text_config().num_hidden_layers - 1
    for layer in layers or []:
        if layer > last:
            raise InputError(
                f"{section}.layers: there is no layer {layer}; the model has 0 to {last}"
            )


def train_only(model: PeftModel, layers: list[int] | None, modules: str) -> None:
    """Of the active adapter, leave a gradient to what is in these `layers` (None: all), and there
    to the feed-forward networks alone where `modules` is "mlp"; a fresh adapter stays the identity
    elsewhere.

    SLAM (arXiv 2501.03681) fine-tunes up- and down-projections of a few early layers; here the
    gate's matrix takes part, too. Raises InputError where nothing would be left.
    """
    if layers is None and modules == "all":
        return
    kept = 0
    for name, parameter in model.named_parameters():
        place = re.search(r"\.layers\.(\d+)\.", name)
        is_here = layers is None or (place is not None and int(place[1]) in layers)
        if parameter.requires_grad and not (is_here and (modules == "all" or ".mlp." in name)):
            parameter.requires_grad = False
        kept += parameter.requires_grad
    if not kept:
        raise InputError(
            f"modules: {type(model.get_base_model()).__name__} names no layers, or none with an "
            "mlp, that the adapter changes; train all"
        )


def check_adapter(folder: Path, base: str) -> None:
    """Raises InputError unless the folder holds an adapter, undamaged and of finite values, that
    was trained on this base."""
    path = folder / "adapter_config.json"
    if not path.exists():
        raise InputError(f"{folder}: not an adapter folder (no adapter_config.json)")
    config = read_json(path)
    trained_on = config.get("base_model_name_or_path") or ""
    if config.get("revision"):
        trained_on += f"@{config['revision']}"
    if not (_same_place(trained_on, base) or _same_content(folder, trained_on, base)):
        raise InputError(
            f"{folder}: this adapter belongs to base '{trained_on}', not to '{base}'; set "
            "models.base to match"
        )
    _tensors(folder)


def check_complete(folder: Path, model: PeftModel, name: str) -> None:
    """Raises InputError where the folder lacks tensors that the model's adapter of that name
    has, which would be as a fresh adapter has them."""
    expected = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    missing = sorted(expected.keys() - _tensors(folder))
    if missing:
        raise InputError(
            f"{folder / ADAPTER_FILES[1]}: {len(missing)} tensors are missing, the first "
            f"{missing[0]}; {MAKE_AGAIN}"
        )


def _tensors(folder: Path) -> set[str]:
    """The names of an adapter's tensors. Raises InputError where they cannot be read or one is not
    finite."""
    path = folder / ADAPTER_FILES[1]
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            for name in sorted(names):
                if not torch.isfinite(file.get_tensor(name)).all():
                    raise InputError(f"{path}: tensor {name} is not finite; {MAKE_AGAIN}")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {MAKE_AGAIN}") from None
    return names


def _same_place(trained_on: str, base: str) -> bool:
    """Whether both names lead to one checkpoint. A copy of a base from the Hub, in a folder of the
    same name, is what the adapter calls by its Hub id."""
    theirs = Path(base_path(trained_on))
    ours = Path(base_path(base))
    copied = is_hub_id(trained_on) and ours.is_dir() and theirs.name == ours.name
    return theirs.resolve() == ours.resolve() or copied


def _same_content(folder: Path, trained_on: str, base: str) -> bool:
    """Whether the base's files are those that the adapter was trained on, by what training wrote
    down of them, or by themselves where they are still there."""
    record = folder / "training.json"
    theirs = read_json(record).get("base_files") if record.exists() else None
    ours = checkpoint_files(base)
    return bool(ours) and ours == (theirs or checkpoint_files(trained_on))
