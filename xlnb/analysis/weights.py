"""What 4 bits and training do to a model's weights (needs bitsandbytes)."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from xlnb.models.base import read_weight
from xlnb.runs.layout import Run


class Layer(NamedTuple):
    """One layer's weight in π_I, and what each model adds to it; tensors (out, in)."""

    weight: Tensor
    updates: dict[str, Tensor]


def linear_layers(model: nn.Module) -> dict[str, Linear4bit]:
    """The layers of a model whose weights are in 4 bits, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, Linear4bit)}


def stored_bytes(model: nn.Module) -> int:
    """Bytes of all tensors that hold the weights, each piece of memory counted once."""
    tensors: list[Tensor] = list(model.parameters())
    for parameter in model.parameters():
        if state := getattr(parameter, "quant_state", None):
            nested = state.state2
            tensors += [state.absmax, state.code, state.offset, nested.absmax, nested.code]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def rounding_errors(model: nn.Module, checkpoint: str) -> list[float]:
    """‖4-bit weight − weight‖ / ‖weight‖ of every layer in 4 bits; weights are the checkpoint's.

    To be measured before the first forward pass, which may lay the weights out anew.
    """
    errors = []
    for name, layer in linear_layers(model).items():
        weight: Any = layer.weight
        exact = read_weight(checkpoint, f"{name}.weight").to(weight.device)
        rounded = dequantize_4bit(weight.data, weight.quant_state).float()
        errors.append(((rounded - exact).norm() / exact.norm()).item())
    return errors


def layers(run: Run, model: PeftModel) -> Iterator[Layer]:
    """Every layer that adapters change, one at a time.

    `model`: the last model's base with the adapters that stand on it. A model's update is
    (α/r) B A and, where its base is not π_I, the difference of the two bases.
    """
    sft = run.base("sft")
    modules = dict(model.named_modules())
    adapted = {name: modules[name] for name in modules if isinstance(modules[name], LoraLayer)}
    for name, module in adapted.items():
        key = name.removeprefix("base_model.model.") + ".weight"
        exact = read_weight(sft.base, key).to(model.device)
        updates = {of: torch.zeros_like(exact) for of in run.models}
        for of, update in updates.items():
            if of in module.lora_A:
                update += module.get_delta_weight(of)
            if run.base(of) != sft:
                update += read_weight(run.base(of).base, key).to(model.device) - exact
        yield Layer(exact, updates)


class UpdateNorms(NamedTuple):
    """Squared norms, summed over the layers."""

    # a row a model but π_I; columns: from the base, from the model before
    squares: pd.DataFrame
    # of π_I's weights
    weights: float


def update_norms(run: Run, model: PeftModel) -> UpdateNorms:
    """How far each model's weights lie from π_I's, and from those of the model before it."""
    squares = pd.DataFrame(0.0, run.models[1:], ["from the base", "from the model before"])
    whole = 0.0
    for weight, updates in layers(run, model):
        whole += weight.norm().item() ** 2
        for before, after in pairwise(run.models):
            steps = (updates[after], updates[after] - updates[before])
            squares.loc[after] += [step.norm().item() ** 2 for step in steps]
    return UpdateNorms(squares, whole)


def merging_errors(run: Run, model: PeftModel) -> list[float]:
    """Of every layer, the error that merging the last adapter into 4 bits makes, as a multiple of
    the update's own norm."""
    errors = []
    for weight, updates in layers(run, model):
        update = updates[run.models[-1]]
        wanted = (weight + update).contiguous()
        rounded = quantize_4bit(wanted, quant_type="nf4", compress_statistics=True)
        merged = dequantize_4bit(*rounded)
        errors.append(((merged - wanted).norm() / update.norm()).item())
    return errors


def root_mean_square(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
