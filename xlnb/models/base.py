"""The base: a checkpoint in a folder, a GGUF file or on the Hub, in 4-bit NF4, in 8 bits or as it
is, on the device there is."""

import importlib.util
import math
import os
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.models.checkpoint import WITH_FAULTS, check_whole
from xlnb.models.gguf import unpacked
from xlnb.models.hub import explain
from xlnb.models.places import base_path, hub_place, is_gguf
from xlnb.models.sharding import shard
from xlnb.presets import Models

# A bar for each weight shard, in every notebook.
transformers_logging.disable_progress_bar()

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

if DEVICE.type == "cuda" and processes.world() > 1:
    # one process a GPU
    DEVICE = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def device_of(models: Models) -> torch.device:
    """What the preset's models are computed on: `DEVICE`, or Apple's GPU where it is asked for.
    Raises InputError where that is not to be had."""
    if models.device == "auto":
        return DEVICE
    if not torch.backends.mps.is_available():
        raise InputError(
            "models.device mps: torch finds no Apple GPU here; leave models.device out"
        )
    if processes.world() > 1:
        raise InputError("models.device mps: there is one Apple GPU; start one process")
    return torch.device(models.device)


def loaded_from(base: str) -> tuple[str, dict[str, Any]]:
    """What transformers loads a base from: a folder, a GGUF file's among them, or a Hub id and,
    where it names one, its revision."""
    path = base_path(base)
    return (str(unpacked(Path(path))), {}) if is_gguf(path) else hub_place(path)


def context_of(config: PretrainedConfig | None) -> float:
    """The most tokens, prompt and response, that a model of this config was made for; ∞ where it
    does not say."""
    text = None if config is None else config.get_text_config()
    return getattr(text, "max_position_embeddings", None) or math.inf


def read_config(models: Models) -> PretrainedConfig:
    """The base's config, without its weights."""
    path, revision = loaded_from(models.base)
    return AutoConfig.from_pretrained(path, **revision, trust_remote_code=False)


def compute_dtype(models: Models) -> torch.dtype:
    """What `models.dtype` means on this device."""
    if models.dtype != "auto":
        dtype: torch.dtype = getattr(torch, models.dtype)
        return dtype
    if device_of(models).type != "cuda":
        return torch.float32
    # Older cards, such as a T4, emulate bfloat16.
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_bf16 else torch.float16


def attention(models: Models) -> str | None:
    """FlashAttention where it is installed and can run; else None: what transformers holds best for
    the architecture (sdpa, or eager for Gemma-2, whose capped attention sdpa does not compute)."""
    if models.attention != "auto":
        return models.attention
    flash = (
        device_of(models).type == "cuda"
        and compute_dtype(models) == torch.bfloat16
        and importlib.util.find_spec("flash_attn")
    )
    return "flash_attention_2" if flash else None


def is_to_be_sharded(models: Models) -> bool:
    """Whether the processes share the base's weights out; one process alone holds them all."""
    return models.shard and processes.world() > 1


def load_base(models: Models) -> PreTrainedModel:
    """The base, ready for use: see `read_base`."""
    return deal_out(read_base(models), models)


def deal_out(model: Any, models: Models) -> Any:
    """A base that was read by `read_base`, with its adapters on it, ready for use."""
    return shard(model, DEVICE) if is_to_be_sharded(models) else model


def read_base(models: Models, *, on_cpu: bool = False) -> PreTrainedModel:
    """The base on the device there is, or, where it is asked for so or to be sharded, whole and on
    the CPU; frozen.

    Raises InputError where it cannot be loaded, saying why and what to do.
    """
    sharded = is_to_be_sharded(models)
    path, revision = loaded_from(models.base)
    try:
        found: Any = AutoModelForCausalLM.from_pretrained(
            path,
            **revision,
            quantization_config=quantization(models),
            dtype=compute_dtype(models),
            attn_implementation=attention(models),
            device_map={"": "cpu" if sharded or on_cpu else device_of(models)},
            use_safetensors=True,
            trust_remote_code=False,
            **WITH_FAULTS,
        )
    # ImportError: of an attention that is not installed
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"model {models.base}: could not be loaded ({explain(error, path)})"
        ) from None
    model: PreTrainedModel = found[0]
    check_whole(f"model {models.base}", found[1])
    for module in model.modules():
        if isinstance(module, Linear4bit):
            # On CPUs with AVX512-BF16, bitsandbytes would repack a weight at the first pass in eval
            # mode, for a kernel that computes in bf16 and has no backward pass: training afterwards
            # would lose, in silence, all gradients that go through frozen layers.
            module.support_avx512bf16_for_cpu = False
    capped = getattr(model.config.get_text_config(), "attn_logit_softcapping", None)
    if capped and models.attention == "auto":
        # Some releases of transformers choose sdpa for Gemma-2, which leaves the cap out.
        model.set_attn_implementation("eager")
    model.requires_grad_(False)
    return model.eval()


def quantization(models: Models) -> BitsAndBytesConfig | None:
    """What `models.quantization` means: NF4 with double quantisation, 8 bits, or None."""
    dtype = compute_dtype(models)
    sharded = is_to_be_sharded(models)
    known = {
        "nf4": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            # The same bits; FSDP2 deals out floats only.
            bnb_4bit_quant_storage=dtype if sharded else torch.uint8,
        ),
        "int8": BitsAndBytesConfig(load_in_8bit=True),
        "none": None,
    }
    return known[models.quantization]


def read_weight(base: str, name: str) -> torch.Tensor:
    """A weight as the base's files hold it, in float32 on the CPU, without loading the model.

    `name`: as "model.layers.0.mlp.up_proj.weight". Raises InputError where no file of the base
    holds it.
    """
    # of a folder or of the Hub's cache
    path, revision = loaded_from(base)
    config = cached_file(path, "config.json", **revision)
    for weights in sorted(Path(config or "").parent.glob("*.safetensors")):
        with safe_open(weights, "pt") as file:
            names = file.keys()
            if name in names:
                return file.get_tensor(name).float()
    raise InputError(f"model {base}: its safetensors hold no weight '{name}'")
