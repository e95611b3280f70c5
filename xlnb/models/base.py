""""""

import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from safetensors import safe_open
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.models.hub import explain
from xlnb.models.sharding import shard
from xlnb.presets import Models

transformers_logging.disable_progress_bar()  # a bar for each weight shard, in every notebook

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

if DEVICE.type == "cuda" and processes.world() > 1:
    DEVICE = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))  # one process a GPU


def base_path(base: str) -> str:
    """A base named in a preset as a folder (relative ones also from the project's root), else as the Hub id it is."""
    return next((str(path) for path in (ROOT / base, Path(base)) if path.is_dir()), base)


def compute_dtype(models: Models) -> torch.dtype:
    auto = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
    return {"auto": auto, "float32": torch.float32, "bfloat16": torch.bfloat16}[models.dtype]


def attention(models: Models) -> str | None:
    """FlashAttention where it is installed and can run; else None: what transformers holds best for the architecture
    (sdpa, or eager for Gemma-2, whose capped attention the former does not compute)."""
    if models.attention != "auto":
        return models.attention
    flash = (
        DEVICE.type == "cuda"
        and compute_dtype(models) == torch.bfloat16
        and importlib.util.find_spec("flash_attn")
    )
    return "flash_attention_2" if flash else None


def is_to_be_sharded(models: Models) -> bool:
    """Whether the processes share the base's weights out; one process alone holds them all."""
    return models.shard and processes.world() > 1


def load_base(models: Models) -> PreTrainedModel:
    """The base on the device there is: NF4 with double quantisation, 8-bit, or plain weights of the compute type."""
    return deal_out(read_base(models), models)


def deal_out(model: Any, models: Models) -> Any:
    """A base that was read by `read_base`, with its adapters on it, ready for use."""
    return shard(model, DEVICE) if is_to_be_sharded(models) else model


def read_base(models: Models) -> PreTrainedModel:
    """As `load_base`, but whole and on the CPU where it is to be sharded."""
    dtype, sharded = compute_dtype(models), is_to_be_sharded(models)
    known = {
        "nf4": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=dtype
            if sharded
            else torch.uint8,  # the same bits; FSDP2 deals out floats only
        ),
        "int8": BitsAndBytesConfig(load_in_8bit=True),
        "none": None,
    }
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base_path(models.base),
            quantization_config=known[models.quantization],
            dtype=dtype,
            attn_implementation=attention(models),
            device_map={"": "cpu" if sharded else DEVICE},
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (
        OSError,
        ValueError,
        ImportError,
    ) as error:  # ImportError: an attention that is not installed
        raise InputError(
            f"model {models.base}: could not be loaded ({explain(error, base_path(models.base))})"
        ) from None
    for module in model.modules():
        if isinstance(module, Linear4bit):
            # On CPUs with AVX512-BF16, bitsandbytes would repack a weight at the first pass in eval
            # mode, for a kernel that computes in bf16 and has no backward pass: training afterwards
            # would lose, in silence, all gradients that go through frozen layers.
            module.support_avx512bf16_for_cpu = False
    model.requires_grad_(False)
    return model.eval()


def read_weight(base: str, name: str) -> torch.Tensor:
    """A weight as the base's files hold it, in float32 on the CPU, without loading the model.

    `name`: as "model.layers.0.mlp.up_proj.weight". Raises InputError where no file of the base holds it.
    """
    config = cached_file(base_path(base), "config.json")  # of a folder or of the Hub's cache
    for path in sorted(Path(config or "").parent.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            if name in file.keys():  # noqa: SIM118 (it is no dict)
                return file.get_tensor(name).float()
    raise InputError(f"model {base}: its safetensors hold no weight '{name}'")
