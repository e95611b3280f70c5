"""Models: one base (a folder or a Hub id, 4-bit NF4 by default) and LoRA adapters switched on it."""

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from xlnb import parallel
from xlnb.errors import InputError
from xlnb.hub import explain, is_hub_id
from xlnb.presets import Models, Training
from xlnb.runs import ROOT, read_json
from xlnb.sharding import shard

# bitsandbytes tries to fetch a CPU kernel from the Hub when it is imported and logs the failure; it works without.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
transformers_logging.disable_progress_bar()  # a bar for each weight shard, in every notebook

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cuda" and parallel.world() > 1:
    DEVICE = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))  # one process a GPU


def base_path(base: str) -> str:
    """A base named in a preset as a folder (relative ones also from the project's root), else as the Hub id it is."""
    return next((str(path) for path in (ROOT / base, Path(base)) if path.is_dir()), base)


def compute_dtype(models: Models) -> torch.dtype:
    auto = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
    known = {"auto": auto, "float32": torch.float32, "bfloat16": torch.bfloat16}
    if models.dtype not in known:
        raise InputError(f"models.dtype '{models.dtype}': expected one of {', '.join(known)}")
    return known[models.dtype]


def load_tokenizer(models: Models) -> PreTrainedTokenizerBase:
    """The base's own tokenizer and chat template. Raises InputError where either is missing."""
    path = base_path(models.base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"model {models.base}: no tokenizer could be loaded ({explain(error, path)})") from None
    if not tokenizer.chat_template:
        raise InputError(
            f"model {models.base}: its tokenizer has no chat template; use an instruction-tuned model or add one"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_same_tokens(policy: PreTrainedTokenizerBase, ref: PreTrainedTokenizerBase, models: Models) -> None:
    """Raises InputError unless both read token ids alike: log π/π_I compares the probabilities of the same tokens."""
    if policy.get_vocab() != ref.get_vocab():
        raise InputError(
            f"models.base {models.base} and models.dpo {models.dpo} have different vocabularies; π^0 must be trained "
            "from π_I"
        )


def attention(models: Models) -> str | None:
    """FlashAttention where it is installed and can run; else None: what transformers holds best for the architecture
    (sdpa, or eager for Gemma-2, whose capped attention the former does not compute)."""
    if models.attention != "auto":
        return models.attention
    flash = DEVICE.type == "cuda" and compute_dtype(models) == torch.bfloat16 and importlib.util.find_spec("flash_attn")
    return "flash_attention_2" if flash else None


def is_to_be_sharded(models: Models) -> bool:
    """Whether the processes share the base's weights out; one process alone holds them all."""
    return models.shard and parallel.world() > 1


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
            bnb_4bit_quant_storage=dtype if sharded else torch.uint8,  # the same bits; FSDP2 deals out floats only
        ),
        "int8": BitsAndBytesConfig(load_in_8bit=True),
        "none": None,
    }
    if models.quantization not in known:
        raise InputError(f"models.quantization '{models.quantization}': expected one of {', '.join(known)}")
    if sharded and models.quantization == "int8":
        raise InputError("models.shard: 8-bit weights cannot be dealt out; set models.quantization to nf4 or none")
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
    except (OSError, ValueError, ImportError) as error:  # ImportError: an attention that is not installed
        raise InputError(
            f"model {models.base}: could not be loaded ({explain(error, base_path(models.base))})"
        ) from None
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
def active(model: PreTrainedModel | PeftModel, adapter: str) -> Iterator[PreTrainedModel | PeftModel]:
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


def prompt_ids(tokenizer: PreTrainedTokenizerBase, instruction: str) -> list[int]:
    """The instruction as a user's turn, up to where the assistant begins to speak, by the chat template."""
    return _template(tokenizer, [{"role": "user", "content": instruction}], generation=True)


def response_ids(tokenizer: PreTrainedTokenizerBase, instruction: str, response: str) -> list[int]:
    """The assistant's turn up to and with its end-of-turn token.

    Raises InputError where the template does not keep the prompt's ids in front of the response's.
    """
    prompt = prompt_ids(tokenizer, instruction)
    turn = [{"role": "user", "content": instruction}, {"role": "assistant", "content": response}]
    whole = _template(tokenizer, turn, generation=False)
    if whole[: len(prompt)] != prompt:
        raise InputError("the chat template changes the prompt's tokens once a response follows; it cannot be scored")
    ids = whole[len(prompt) :]
    # Some templates write a line break after the end of turn, which no model ever samples. `all_special_ids` would
    # miss an end of turn that the tokenizer has no name for, such as Phi's and some Gemmas'.
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    while ids and ids[-1] not in special:
        ids.pop()
    return ids


def end_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a response: the tokenizer's, the model's generation config's, and the chat template's."""
    configured = model.generation_config.eos_token_id
    configured = configured if isinstance(configured, list) else [configured]
    template = response_ids(tokenizer, "a", "a")[-1:]
    return sorted({i for i in (tokenizer.eos_token_id, *configured, *template) if i is not None})


def _template(tokenizer: PreTrainedTokenizerBase, messages: list[dict], generation: bool) -> list[int]:
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=generation, tokenize=False)
    ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]  # most templates write the BOS: never a second one
    bos = tokenizer.bos_token_id
    if bos is not None and ids[0] != bos and tokenizer("")["input_ids"][:1] == [bos]:
        ids = [bos, *ids]  # Zephyr's template leaves it to the tokenizer
    return ids


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
