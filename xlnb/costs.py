"""What a model costs: bytes and FLOPs of a dense decoder-only model with LoRA adapters, from its shape alone.

`width` is that of the compute type in bytes: 2 for bfloat16, 4 for float32.
"""

import math
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from xlnb.errors import InputError
from xlnb.logprobs import CHUNK
from xlnb.models import base_path
from xlnb.presets import Training

_LLAMA3_8B: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": False,
}  # fmt: skip
KNOWN: dict[str, dict[str, Any]] = {  # planning with these needs no network and no licence
    "princeton-nlp/Llama-3-Base-8B-SFT": _LLAMA3_8B,
    "princeton-nlp/Llama-3-Base-8B-SFT-DPO": _LLAMA3_8B,
    "Qwen/Qwen2.5-0.5B-Instruct": {
        "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
    "Qwen/Qwen2.5-7B-Instruct": {
        "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
        "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False,
    },
}  # fmt: skip


class Shape(NamedTuple):
    """What of a model decides its cost. `linear`: (in, out) of every linear layer but the output's."""

    layers: int
    hidden: int
    intermediate: int
    attention: int  # heads × their width
    kv: int  # key-value heads × their width
    vocab: int
    linear: tuple[tuple[int, int], ...]
    embedding: int  # parameters of the input embedding
    head: int  # and of the output layer: 0 where it is the embedding
    other: int  # norms and biases

    @property
    def body(self) -> int:
        return sum(fan_in * fan_out for fan_in, fan_out in self.linear)

    @property
    def parameters(self) -> int:
        return self.body + self.embedding + self.head + self.other


def find_shape(base: str) -> tuple[Shape, str]:
    """The shape of a model (a folder, one of `KNOWN`, or another Hub id), and where it is from. No weights are read."""
    path = base_path(base)
    if path in KNOWN:
        return shape_of(AutoConfig.for_model(**KNOWN[path])), "shape from the kit's table"
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {base}: no config.json could be read ({str(error).strip().splitlines()[0]}); name a folder, a Hub "
            f"id within reach, or one of {', '.join(KNOWN)}"
        ) from None
    return shape_of(config), "shape from its config.json"


def shape_of(config: PretrainedConfig) -> Shape:
    """Read off the model itself, built without memory for its weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    embedding, output, text = model.get_input_embeddings(), model.get_output_embeddings(), config.get_text_config()
    linear = tuple(
        (module.in_features, module.out_features)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not output
    )
    head = 0 if output.weight is embedding.weight else output.weight.numel()
    multiplied = sum(fan_in * fan_out for fan_in, fan_out in linear)
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Shape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        attention=text.num_attention_heads * head_width,
        kv=text.num_key_value_heads * head_width,
        vocab=text.vocab_size,
        linear=linear,
        embedding=embedding.weight.numel(),
        head=head,
        other=sum(parameter.numel() for parameter in model.parameters()) - multiplied - embedding.weight.numel() - head,
    )


def lora_parameters(shape: Shape, r: int) -> int:
    """A (r, in) and a (out, r) matrix on every linear layer."""
    return r * sum(fan_in + fan_out for fan_in, fan_out in shape.linear)


def weight_bytes(shape: Shape, quantization: str, width: int, shards: int = 1) -> float:
    """NF4: half a byte a weight, a scale of 1 byte for each 64 weights, and one of 4 bytes for each 256 of those: 4.127
    bits. int8: a byte, and 4 a row. Embeddings, output layer, norms and biases stay in the compute type. Of layers that
    `shards` processes share each holds its part, the one at work and the next, which is gathered meanwhile."""
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
    """Of a token in the one layer at work, without gradients: four tensors of the intermediate size, two of them in
    LoRA's fp32, and as many states."""
    return (2 * width + 2 * 4) * (shape.intermediate + shape.hidden)


def saved_bytes(shape: Shape, width: int, r: int) -> float:
    """Of a token in one layer, for the backward pass through frozen weights and adapters: gate, its activation, up and
    their product; both normalised inputs; queries, keys, values and the attention's output; LoRA's inner states; and,
    in fp32, what the two norms read."""
    inner = r * len(shape.linear) / shape.layers
    kept = 4 * shape.intermediate + 2 * shape.hidden + 2 * shape.attention + 2 * shape.kv + inner
    return width * kept + 2 * 4 * shape.hidden


def training_bytes(
    shape: Shape, training: Training, quantization: str, width: int, tokens: float, projected: float, shards: int = 1
) -> float:
    """The most that a step takes with `tokens` in a micro-batch, `projected` of them with logits."""
    lora = lora_parameters(shape, training.lora_r)  # fp32 weights, gradients, two moments; a copy in the compute type
    small = training.optimizer == "paged_adamw_8bit" or (training.optimizer == "auto" and width < 4)
    fixed = weight_bytes(shape, quantization, width, shards) + dequantised_bytes(shape, quantization, width)
    fixed += lora * (4 + 4 + 2 * (1 if small else 4) + (width if width < 4 else 0))
    layer = saved_bytes(shape, width, training.lora_r)
    states = (shape.layers + 1) * width * shape.hidden  # what checkpointing keeps instead, and one layer made again
    saved = states if training.gradient_checkpointing else shape.layers * layer
    again = layer if training.gradient_checkpointing else 0
    saved_states = 2 * width * projected * shape.hidden  # of responses, and the slopes of their log-probabilities
    logits = CHUNK * shape.vocab * (width + 3 * 4)  # their log-softmax and two gradients, gone when layers begin
    gradients = 2 * width * (shape.intermediate + shape.hidden)  # of the tensors that a layer's backward pass is at
    return fixed + tokens * saved + saved_states + max(logits, tokens * (again + gradients))


def forward_flops(shape: Shape, tokens: float, keys: float, projected: float, r: int = 0) -> float:
    """2 (body + LoRA) a token, 4 × layers × attention × keys for its scores and their sums, masked keys too, and the
    output layer for the tokens with logits. A multiplication and an addition are 2 FLOPs."""
    weights, attention = shape.body + lora_parameters(shape, r), shape.layers * shape.attention * keys
    return tokens * (2 * weights + 4 * attention) + 2 * projected * shape.hidden * shape.vocab


def training_flops(shape: Shape, training: Training, tokens: float, keys: float, projected: float) -> float:
    """Forward and backward. In the backward pass a frozen weight costs one product, for the gradient of what it read;
    an adapter's or the attention's costs two. Checkpointing runs the layers forward a second time."""
    again = 1 if training.gradient_checkpointing else 0
    lora, attention = lora_parameters(shape, training.lora_r), shape.layers * shape.attention * keys
    layers = 2 * shape.body * (2 + again) + (2 * lora + 4 * attention) * (3 + again)
    return tokens * layers + 2 * 2 * projected * shape.hidden * shape.vocab
