"""Tiny checkpoints with random weights in the forms of the chat-model families that the package has
to fit.

Each has its own byte-level BPE with the family's special tokens, and a chat template that writes
the family's format.
"""

import functools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from xlnb.models.adapters import new_adapter
from xlnb.models.base import load_base
from xlnb.presets import Models, Training

TEXTS = [
    "The capital of France is Paris, and the sky over it is often blue.",
    "What is the capital of France? Please answer in one short sentence.",
    "¿Cuál es la capital de Francia? La capital de Francia es París.",
    "Какой город является столицей Франции? Столица Франции — Париж.",
    "ফ্রান্সের রাজধানী কী? ফ্রান্সের রাজধানী প্যারিস।",
    "เมืองหลวงของฝรั่งเศสคือเมืองอะไร เมืองหลวงของฝรั่งเศสคือปารีส",
    "法国的首都是哪里?法国的首都是巴黎。",
]
# of the tokenizers; the models have 8 rows more, as padded embeddings do
VOCABULARY = 600
SHAPE = {
    "vocab_size": VOCABULARY + 8,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    # ten times the usual: log-probabilities of tokens lie nats apart
    "initializer_range": 0.2,
}


@dataclass(frozen=True)
class Family:
    config: type
    special: tuple[str, ...]
    # the end of the assistant's turn
    end: str
    # what the tokenizer calls the end
    eos: str
    template: str
    bos: str | None = None
    pad: str | None = None
    # what the generation config ends on
    stops: tuple[str, ...] = ()
    options: dict = field(default_factory=dict)


FAMILIES = {
    "llama3": Family(
        LlamaConfig,
        (
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        end="<|eot_id|>",
        stops=("<|end_of_text|>", "<|eot_id|>"),
        template=(
            "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role']"
            " + '<|end_header_id|>\n\n' + message['content'] + '<|eot_id|>' }}{% endfor %}{% if"
            " add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%"
            " endif %}"
        ),
    ),
    "qwen2.5": Family(
        Qwen2Config,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        eos="<|im_end|>",
        end="<|im_end|>",
        pad="<|endoftext|>",
        stops=("<|im_end|>", "<|endoftext|>"),
        template=(
            "{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% for message in messages"
            " %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'"
            " }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%"
            " endif %}"
        ),
    ),
    # The end of turn is neither the tokenizer's end nor named among its special tokens, as in some
    # Gemmas and Phis.
    "gemma2": Family(
        Gemma2Config,
        ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        end="<end_of_turn>",
        pad="<pad>",
        stops=("<eos>",),
        template=(
            "{{ bos_token }}{% for message in messages %}{% set role = 'model' if message['role']"
            " == 'assistant' else message['role'] %}{{ '<start_of_turn>' + role + '\n' +"
            " message['content'] + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{"
            " '<start_of_turn>model\n' }}{% endif %}"
        ),
        options={"sliding_window": 8, "query_pre_attn_scalar": 16},
    ),
    "mistral": Family(
        MistralConfig,
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
        bos="<s>",
        eos="</s>",
        end="</s>",
        stops=("</s>",),
        template=(
            "{{ bos_token }}{% for message in messages %}"
            "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + '[/INST]' }}"
            "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
        ),
        options={"sliding_window": None},
    ),
    # Its template leaves the BOS to the tokenizer, and its roles are plain text.
    "zephyr": Family(
        MistralConfig,
        ("<unk>", "<s>", "</s>"),
        bos="<s>",
        eos="</s>",
        end="</s>",
        pad="</s>",
        stops=("</s>",),
        template=(
            "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] +"
            " eos_token + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n'"
            " }}{% endif %}"
        ),
        options={"sliding_window": 8},
    ),
}
_FOLDER = tempfile.TemporaryDirectory(prefix="families-")


@functools.cache
def checkpoint(name: str) -> Path:
    """A folder with the family's model (safetensors) and tokenizer, made once a session."""
    family, folder = FAMILIES[name], Path(_FOLDER.name) / name
    tokenizer = _tokenizer(family)
    torch.manual_seed(0)
    stops = tokenizer.convert_tokens_to_ids(list(family.stops))
    ids = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = family.config(
        **SHAPE, **family.options, **ids, eos_token_id=stops if len(stops) > 1 else stops[0]
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@functools.cache
def judge_checkpoint() -> Path:
    """The Llama of `checkpoint`, which answers nearly everything with m or M, as a judge has to."""
    folder = Path(_FOLDER.name) / "judge"
    model = AutoModelForCausalLM.from_pretrained(checkpoint("llama3"))
    tokenizer = AutoTokenizer.from_pretrained(checkpoint("llama3"))
    labels = tokenizer.convert_tokens_to_ids(["m", "M"])
    # All of its states point in one direction, to which these two tokens alone answer.
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 100
        head = model.get_output_embeddings().weight
        head[:, 0] = 0
        head[labels, 0] = 4
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fp32(name: str) -> Models:
    """The family as a preset names it: plain fp32 weights, on any device."""
    return Models(base=str(checkpoint(name)), quantization="none", dtype="float32")


def nf4(name: str) -> Models:
    return Models(base=str(checkpoint(name)), dtype="float32")


def save_adapter(models: Models, folder: Path, seed: int) -> Path:
    """A LoRA adapter that, unlike a fresh one, changes the model."""
    model = new_adapter(load_base(models), models.base, Training(lora_r=4, lora_alpha=8))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(str(folder))
    return folder


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(family.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS, trainer)
    # added to any text, as the families' own tokenizers do: a template with a BOS then makes two
    if family.bos:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, bpe.token_to_id(family.bos))]
        )
    named = {"bos_token": family.bos, "eos_token": family.eos, "pad_token": family.pad}
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, chat_template=family.template, **{k: v for k, v in named.items() if v}
    )
