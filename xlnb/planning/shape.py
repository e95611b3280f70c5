"""The shape of a model, which decides what it costs: read off its configuration, not
its weights."""

from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from xlnb.common.errors import InputError
from xlnb.models.base import loaded_from

Config = dict[str, Any]

LLAMA3_8B: Config = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
}

QWEN_0_5B: Config = {
    "model_type": "qwen2",
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}

QWEN_7B: Config = {
    "model_type": "qwen2",
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
}

EUROLLM_1_7B: Config = {
    "model_type": "llama",
    "vocab_size": 128000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
}

SMOLLM3_3B: Config = {
    "model_type": "smollm3",
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}

GEMMA3_270M: Config = {
    "model_type": "gemma3_text",
    "vocab_size": 262144,
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "tie_word_embeddings": True,
}

# Planning with these needs no network and no licence.
KNOWN = {
    "princeton-nlp/Llama-3-Base-8B-SFT": LLAMA3_8B,
    "princeton-nlp/Llama-3-Base-8B-SFT-DPO": LLAMA3_8B,
    "Qwen/Qwen2.5-0.5B-Instruct": QWEN_0_5B,
    "Qwen/Qwen2.5-7B-Instruct": QWEN_7B,
    "Qwen/Qwen2-0.5B-Instruct": QWEN_0_5B,
    "trl-lib/Qwen2-0.5B-DPO": QWEN_0_5B,
    "utter-project/EuroLLM-1.7B-Instruct": EUROLLM_1_7B,
    "HuggingFaceTB/SmolLM3-3B": SMOLLM3_3B,
    "google/gemma-3-270m-it": GEMMA3_270M,
}


class Shape(NamedTuple):
    """What of a model decides its cost."""

    layers: int
    hidden: int
    intermediate: int
    # heads × their width
    attention: int
    # key-value heads × their width
    kv: int
    vocab: int
    # (in, out) of every linear layer but the output's
    linear: tuple[tuple[int, int], ...]
    # parameters of the input embedding
    embedding: int
    # and of the output layer: 0 where it is the embedding
    head: int
    # norms and biases
    other: int

    def first(self, layers: int) -> "Shape":
        """The model of so many of its layers; 0: all."""
        layers = layers or self.layers
        linear = self.linear[: len(self.linear) * layers // self.layers]
        return self._replace(layers=layers, linear=linear)

    @property
    def body(self) -> int:
        return sum(fan_in * fan_out for fan_in, fan_out in self.linear)

    @property
    def parameters(self) -> int:
        return self.body + self.embedding + self.head + self.other


def find_shape(base: str) -> tuple[Shape, str]:
    """The shape of a model (a folder, one of `KNOWN`, or another Hub id), and where it is from."""
    path, revision = loaded_from(base)
    if path in KNOWN:
        return shape_of(AutoConfig.for_model(**KNOWN[path])), "shape from the kit's table"
    try:
        config = AutoConfig.from_pretrained(path, **revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {base}: no config.json could be read ({str(error).strip().splitlines()[0]}); "
            f"name a folder, a Hub id within reach, or one of {', '.join(KNOWN)}"
        ) from None
    return shape_of(config), "shape from its config.json"


def shape_of(config: PretrainedConfig) -> Shape:
    """Read off the model itself, built without memory for its weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    output = model.get_output_embeddings()
    embedding = model.get_input_embeddings().weight
    linear = []
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not output:
            linear.append((module.in_features, module.out_features))
    body = sum(fan_in * fan_out for fan_in, fan_out in linear)
    head = 0 if output.weight is embedding else output.weight.numel()
    parameters = sum(parameter.numel() for parameter in model.parameters())

    text = config.get_text_config()
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Shape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        attention=text.num_attention_heads * head_width,
        kv=text.num_key_value_heads * head_width,
        vocab=text.vocab_size,
        linear=tuple(linear),
        embedding=embedding.numel(),
        head=head,
        other=parameters - body - embedding.numel() - head,
    )
