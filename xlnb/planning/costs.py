"""What a model costs: bytes and FLOPs of a dense decoder-only model with LoRA adapters, from its
shape alone.

`width` is that of the compute type in bytes: 2 for bfloat16, 4 for float32.
"""

import math
from statistics import NormalDist

from xlnb.models.output_head import CHUNK
from xlnb.planning.shape import Shape
from xlnb.presets import SFT, Comparer, Training

# Of log lengths; with it the longest of many is as in the lab's samples and in published outputs.
SPREAD = 0.6


def lora_parameters(shape: Shape, r: int) -> int:
    """A (r, in) and a (out, r) matrix on every linear layer."""
    return r * sum(fan_in + fan_out for fan_in, fan_out in shape.linear)


def weight_bytes(shape: Shape, quantization: str, width: int, shards: int = 1) -> float:
    """NF4: half a byte a weight, a scale of 1 byte for each 64 weights, and one of 4 bytes for each
    256 of those: 4.127 bits. int8: a byte, and 4 a row. Embeddings, output layer, norms and biases
    stay in the compute type.

    Of layers that `shards` processes share each holds its part, the one at work and the next,
    which is gathered meanwhile.
    """
    rows = sum(fan_out for _, fan_out in shape.linear)
    body = {
        "nf4": shape.body * (1 / 2 + 1 / 64 + 4 / (64 * 256)),
        "int8": shape.body + 4 * rows,
        "none": shape.body * width,
    }
    held = 1 if shards == 1 else min(1, 1 / shards + 2 / shape.layers)
    return held * body[quantization] + width * (shape.parameters - shape.body)


def dequantised_bytes(shape: Shape, quantization: str, width: int) -> int:
    """The largest weight in the compute type, which NF4 makes for a matrix product."""
    return width * max(map(math.prod, shape.linear)) if quantization == "nf4" else 0


def kv_bytes(shape: Shape, width: int) -> int:
    """Keys and values of a token."""
    return 2 * shape.layers * shape.kv * width


def forward_bytes(shape: Shape, width: int) -> int:
    """Of a token in the one layer at work, without gradients: four tensors of the intermediate
    size, two of them in LoRA's fp32, and as many states."""
    return (2 * width + 2 * 4) * (shape.intermediate + shape.hidden)


def saved_bytes(shape: Shape, width: int, r: int) -> float:
    """Of a token in one layer, for the backward pass through frozen weights and adapters: gate, its
    activation, up and their product; both normalised inputs; queries, keys, values and the
    attention's output; LoRA's inner states; and, in fp32, what the two norms read."""
    inner = r * len(shape.linear) / shape.layers
    kept = 4 * shape.intermediate + 2 * shape.hidden + 2 * shape.attention + 2 * shape.kv + inner
    return width * kept + 2 * 4 * shape.hidden


def training_bytes(
    shape: Shape,
    training: Training | SFT | Comparer,
    quantization: str,
    width: int,
    tokens: float,
    projected: float,
    shards: int = 1,
) -> float:
    """The most that a step takes with `tokens` in a micro-batch, `projected` of them with
    logits."""
    weights = weight_bytes(shape, quantization, width, shards)
    dequantised = dequantised_bytes(shape, quantization, width)
    # fp32 weights, gradients and two moments; a copy in the compute type
    optimizer = training.optimizer if isinstance(training, Training) else "adamw"
    small = optimizer == "paged_adamw_8bit" or (optimizer == "auto" and width < 4)
    a_parameter = 4 + 4 + 2 * (1 if small else 4) + (width if width < 4 else 0)
    fixed = weights + dequantised + lora_parameters(shape, training.lora_r) * a_parameter

    layer = saved_bytes(shape, width, training.lora_r)
    if training.gradient_checkpointing:
        # a state a layer and the last, and one layer made again
        saved: float = (shape.layers + 1) * width * shape.hidden
        again = layer
    else:
        saved = shape.layers * layer
        again = 0.0
    # of responses, and the slopes of their log-probabilities
    saved_states = 2 * width * projected * shape.hidden
    # their log-softmax and two gradients, gone when layers begin
    logits = CHUNK * shape.vocab * (width + 3 * 4)
    # of the tensors that a layer's backward pass is at
    gradients = 2 * width * (shape.intermediate + shape.hidden)
    return fixed + tokens * saved + saved_states + max(logits, tokens * (again + gradients))


def forward_flops(shape: Shape, tokens: float, keys: float, projected: float, r: int = 0) -> float:
    """2 (body + LoRA) a token, 4 × layers × attention × keys for its scores and their sums, masked
    keys too, and the output layer for the tokens with logits. A multiplication and an addition are
    2 FLOPs."""
    weights = shape.body + lora_parameters(shape, r)
    attention = shape.layers * shape.attention * keys
    return tokens * (2 * weights + 4 * attention) + 2 * projected * shape.hidden * shape.vocab


def training_flops(
    shape: Shape, training: Training | SFT | Comparer, tokens: float, keys: float, projected: float
) -> float:
    """Forward and backward. In the backward pass a frozen weight costs one product, for the
    gradient of what it read; an adapter's or the attention's costs two. Checkpointing runs the
    layers forward a second time."""
    again = 1 if training.gradient_checkpointing else 0
    lora = lora_parameters(shape, training.lora_r)
    attention = shape.layers * shape.attention * keys
    layers = 2 * shape.body * (2 + again) + (2 * lora + 4 * attention) * (3 + again)
    return tokens * layers + 2 * 2 * projected * shape.hidden * shape.vocab


def longest(k: float, mean: float, most: float = math.inf) -> float:
    """About the largest expected of k log-normal lengths of that mean: at least the mean, at most
    `most`. The quantile of a normal is Blom's approximation."""
    z = NormalDist().inv_cdf((max(k, 1) - 0.375) / (max(k, 1) + 0.25))
    return min(most, mean * max(1.0, math.exp(SPREAD * z - SPREAD**2 / 2)))
