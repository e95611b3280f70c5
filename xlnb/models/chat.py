""""""

from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from xlnb.common.errors import InputError
from xlnb.common.records import Response
from xlnb.models.base import base_path
from xlnb.models.hub import explain
from xlnb.presets import Models


def load_tokenizer(models: Models) -> PreTrainedTokenizerBase:
    """The base's own tokenizer and chat template. Raises InputError where either is missing."""
    path = base_path(models.base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {models.base}: no tokenizer could be loaded ({explain(error, path)})"
        ) from None
    if not tokenizer.chat_template:
        raise InputError(
            f"model {models.base}: its tokenizer has no chat template; use an instruction-tuned model or add one"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_same_tokens(
    policy: PreTrainedTokenizerBase, ref: PreTrainedTokenizerBase, models: Models
) -> None:
    """Raises InputError unless both read token ids alike: log π/π_I compares the probabilities of the same tokens."""
    if policy.get_vocab() != ref.get_vocab():
        raise InputError(
            f"models.base {models.base} and models.dpo {models.dpo} have different vocabularies; π^0 must be trained "
            "from π_I"
        )


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
        raise InputError(
            "the chat template changes the prompt's tokens once a response follows; it cannot be scored"
        )
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


def _template(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], generation: bool
) -> list[int]:
    rendered = tokenizer.apply_chat_template(
        messages, add_generation_prompt=generation, tokenize=False
    )
    ids = tokenizer(rendered, add_special_tokens=False)[
        "input_ids"
    ]  # most templates write the BOS: never a second one
    bos = tokenizer.bos_token_id
    if bos is not None and ids[0] != bos and tokenizer("")["input_ids"][:1] == [bos]:
        ids = [bos, *ids]  # Zephyr's template leaves it to the tokenizer
    return ids


def response_record(
    tokenizer: PreTrainedTokenizerBase, token_ids: list[int], ends: list[int]
) -> Response:
    text = str(tokenizer.decode(token_ids, skip_special_tokens=True)).strip()
    return Response(text, token_ids, "stop" if token_ids[-1] in ends else "length")
