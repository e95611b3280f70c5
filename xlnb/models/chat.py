"""Chat templates: token ids of a prompt and of a response, and what ends a response.

A prompt and a response are the template's rendering cut in two, so that what is scored and trained
on is what the model would be given and would say.
"""

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
            f"model {models.base}: its tokenizer has no chat template; use an instruction-tuned "
            "model or add one"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_same_tokens(
    policy: PreTrainedTokenizerBase, ref: PreTrainedTokenizerBase, models: Models
) -> None:
    """Raises InputError unless both read texts alike, and token ids: log π/π_I compares the
    probabilities of the same tokens after the same prompt."""
    differ = ""
    if policy.get_vocab() != ref.get_vocab():
        differ = "vocabularies"
    elif policy.chat_template != ref.chat_template:
        differ = "chat templates"
    if differ:
        raise InputError(
            f"models.base {models.base} and models.dpo {models.dpo} have different {differ}; π^0 "
            "must be trained from π_I"
        )


def prompt_ids(tokenizer: PreTrainedTokenizerBase, instruction: str) -> list[int]:
    """The instruction as a user's turn, up to where the assistant begins to speak."""
    return _template(tokenizer, [{"role": "user", "content": instruction}], generation=True)


def response_ids(tokenizer: PreTrainedTokenizerBase, instruction: str, response: str) -> list[int]:
    """The assistant's turn up to and with its end-of-turn token.

    Raises InputError where the template does not keep the prompt's ids in front of the response's.
    """
    prompt = prompt_ids(tokenizer, instruction)
    turns = [{"role": "user", "content": instruction}, {"role": "assistant", "content": response}]
    whole = _template(tokenizer, turns, generation=False)
    if whole[: len(prompt)] != prompt:
        raise InputError(
            "the chat template changes the prompt's tokens once a response follows; it cannot be "
            "scored"
        )
    ids = whole[len(prompt) :]
    # Some templates write a line break after the end of turn, which no model ever samples.
    # `all_special_ids` would miss an end of turn that the tokenizer has no name for, such as Phi's
    # and some Gemmas'.
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    while ids and ids[-1] not in special:
        ids.pop()
    return ids


def end_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a response: the tokenizer's, the chat template's, and those of the
    model's generation config."""
    configured = model.generation_config.eos_token_id
    if not isinstance(configured, list):
        configured = [configured]
    template = response_ids(tokenizer, "a", "a")[-1:]
    found = {tokenizer.eos_token_id, *configured, *template}
    return sorted(token for token in found if token is not None)


def response_record(
    tokenizer: PreTrainedTokenizerBase, token_ids: list[int], ends: list[int]
) -> Response:
    """A response of these sampled tokens; it ended by itself where its last one is of `ends`."""
    text = str(tokenizer.decode(token_ids, skip_special_tokens=True)).strip()
    return Response(text, token_ids, "stop" if token_ids[-1] in ends else "length")


def _template(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], generation: bool
) -> list[int]:
    rendered = tokenizer.apply_chat_template(
        messages, add_generation_prompt=generation, tokenize=False
    )
    # Most templates write the BOS: never a second one. Zephyr's leaves it to the tokenizer.
    ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    bos = tokenizer.bos_token_id
    if bos is not None and ids[0] != bos and tokenizer("")["input_ids"][:1] == [bos]:
        ids = [bos, *ids]
    return ids
