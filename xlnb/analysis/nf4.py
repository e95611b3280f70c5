"""NF4 by hand: its levels, a block of weights in memory, and what memory it takes."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from bitsandbytes.functional import dequantize_4bit, dequantize_blockwise
from scipy.stats import norm
from torch import Tensor, nn
from transformers import PreTrainedModel

from xlnb.analysis.weights import linear_layers, stored_bytes
from xlnb.models.base import load_base, read_weight
from xlnb.presets import Models

# Look-up tables that each layer keeps.
TABLES = 1092


class Block(NamedTuple):
    """The first 64 weights of a model's first linear layer."""

    # as the checkpoint has them, and as the 4-bit model does
    weights: Tensor
    stored: Tensor
    # numbers of the levels, as they lie in memory, and the scale
    codes: Tensor
    scale: float
    # the 16 levels of the model
    stored_levels: Tensor


def levels() -> Tensor:
    """NF4's sixteen levels, of quantiles of the normal distribution: eight above 0, seven below,
    and 0. The first quantile is the authors' choice."""
    above = norm.ppf(np.linspace(0.9677083, 0.5, 9))[:-1]
    below = -norm.ppf(np.linspace(0.9677083, 0.5, 8))[:-1]
    return torch.tensor(np.sort([*below, 0.0, *above]) / above.max(), dtype=torch.float32)


def first_block(model: nn.Module, checkpoint: str) -> Block:
    """Before the model's first forward pass, which lays the weights out anew."""
    name, layer = next(iter(linear_layers(model).items()))
    weight: Any = layer.weight
    packed, state = weight.data, weight.quant_state
    scales = dequantize_blockwise(state.absmax, state.state2) + state.offset
    # In memory two codes share a byte.
    first_bytes = packed.flatten()[:32].cpu()
    codes = torch.stack([first_bytes >> 4, first_bytes & 15], 1).flatten()
    return Block(
        weights=read_weight(checkpoint, f"{name}.weight").flatten()[:64],
        stored=dequantize_4bit(packed, state).flatten()[:64].float().cpu(),
        codes=codes.long(),
        scale=scales[0].float().item(),
        stored_levels=state.code.cpu(),
    )


def memory(four: PreTrainedModel, base: Models, bits: float, *, every: bool) -> pd.DataFrame:
    """Megabytes of a model in 32, 16 and 4 bits, predicted and measured.

    `every`: measure all three, else the one that is loaded, `four`; `bits`: of a weight in NF4.
    """
    linear = linear_layers(four)
    quantised = sum(module.in_features * module.out_features for module in linear.values())
    kept = four.num_parameters() - quantised
    wide = next(p for p in four.parameters() if p.is_floating_point()).element_size()
    predicted = {
        "32-bit": 4 * (quantised + kept),
        "16-bit": 2 * (quantised + kept),
        "4-bit": quantised * bits / 8 + TABLES * len(linear) + wide * kept,
    }
    measured = {"4-bit": stored_bytes(four)}
    if every:
        plain = replace(base, quantization="none")
        measured["32-bit"] = stored_bytes(load_base(replace(plain, dtype="float32")))
        measured["16-bit"] = stored_bytes(load_base(replace(plain, dtype="bfloat16")))
    table = pd.DataFrame({"predicted (MB)": predicted, "measured (MB)": measured})
    return table.loc[list(predicted)] / 1e6


def llama(rank: int, bits: float) -> pd.DataFrame:
    """Gigabytes of training Llama-3-8B, activations not counted: each trained parameter needs
    itself, its gradient and Adam's two averages, 16 bytes in fp32."""
    hidden, inner, kv, layers, vocabulary = 4096, 14336, 1024, 32, 128256
    # q and o, k and v, gate, up and down
    shapes = [(hidden, hidden)] * 2 + [(hidden, kv)] * 2 + [(hidden, inner)] * 3
    large = layers * sum(a * b for a, b in shapes)
    rest = 2 * vocabulary * hidden + (2 * layers + 1) * hidden
    # the published count
    assert large + rest == 8_030_261_248
    adapter = layers * sum(rank * (a + b) for a, b in shapes)
    rows = {
        "train all of it, 32-bit": (4 * (large + rest), 12 * (large + rest)),
        "LoRA on a 16-bit base": (2 * (large + rest), 16 * adapter),
        "QLoRA": (large * bits / 8 + 2 * rest, 16 * adapter),
    }
    table = pd.DataFrame(rows, index=["weights (GB)", "gradients, Adam, adapter (GB)"]).T / 1e9
    return table.assign(sum=table.sum(axis=1))
