"""Chat templates: token ids of a prompt and of a response, and what ends a response.

A prompt and a response are the template's rendering cut in two, so that what is scored and trained
on is what the model would be given and would say. That the ids are those texts is proven for each:
decoding gives the text back, control tokens are the template's alone, and the end of turn stands
once and last. A template that keeps to none of this is refused when the tokenizer is loaded.
"""

import json
import re
import unicodedata
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from xlnb.common.errors import InputError, UnfitText
from xlnb.common.files import read_text
from xlnb.common.given import is_broken, shown
from xlnb.common.records import Response
from xlnb.common.thinking import answer_of, thinks, thought
from xlnb.models.base import loaded_from
from xlnb.models.hub import explain
from xlnb.models.places import template_path
from xlnb.presets import Models
from xlnb.presets.values import template_values

# Stands inside of a control token's name that a text mentions, until the text is encoded. Unicode
# keeps this code point free of any character.
MARK = "\ufdd0"

# What a template may raise: what it calculates is its own.
RENDERING = (
    TemplateError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
)

# What every template has to keep as it is.
PROBE = 'Is "a" < B & c?\n\nSay {{ so }}.'
# And this, unless its prompts say that there is no thinking: it is of a model that thinks aloud.
REASONED = f"<think>\nFirst.\n</think>\n\n{PROBE}"


def load_tokenizer(models: Models) -> PreTrainedTokenizerBase:
    """The base's own tokenizer, and its chat template or the one that it is given. Raises
    InputError where either is missing or cannot be used."""
    path, revision = loaded_from(models.base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {models.base}: no tokenizer could be loaded ({explain(error, path)})"
        ) from None
    template = "its chat template"
    if models.chat_template:
        template = f"the chat template {models.chat_template}"
        tokenizer.chat_template = read_text(template_path(models.chat_template))
    if not tokenizer.chat_template:
        raise InputError(
            f"model {models.base}: its tokenizer has no chat template; use an instruction-tuned "
            "model or give it one (models.chat_template=FILE)"
        )
    _tell(tokenizer, models, template)
    try:
        _response_ids(tokenizer, PROBE, PROBE)
        if not thinks(_prompt(tokenizer, PROBE)[0]):
            _response_ids(tokenizer, PROBE, REASONED)
    except UnfitText as error:
        remedy = ""
        if "enable_thinking" in tokenizer.get_chat_template():
            remedy = "; set models.chat_template_kwargs=enable_thinking=false"
        raise InputError(
            f"model {models.base}: {template} cannot be used: {error}{remedy}"
        ) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _tell(tokenizer: PreTrainedTokenizerBase, models: Models, named: str) -> None:
    """Write `models.chat_template_kwargs` into the tokenizer's template, in front. Raises
    InputError for a name that the template does not read."""
    template = tokenizer.get_chat_template()
    for name, value in template_values(models.chat_template_kwargs).items():
        if not re.search(rf"\b{name}\b", template):
            raise InputError(
                f"models.chat_template_kwargs: {named} of {models.base} does not read '{name}'"
            )
        # +: what follows keeps its line break
        tokenizer.chat_template = f"{{% set {name} = {json.dumps(value)} +%}}{template}"
        template = tokenizer.chat_template


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
    """The instruction as a user's turn, up to where the assistant begins to speak.

    Control tokens that it mentions are encoded as text. Raises UnfitText where the ids do not hold
    the instruction.
    """
    return _prompt(tokenizer, instruction)[1]


def response_ids(tokenizer: PreTrainedTokenizerBase, instruction: str, response: str) -> list[int]:
    """The assistant's turn up to and with its end-of-turn token.

    They follow the prompt's ids: where the tokenizer would merge the prompt's last characters with
    the response's first, the response is encoded by itself, as a model says it. Raises UnfitText
    where the ids are not the response and its end of turn, and for a response that holds thinking.
    """
    if thinks(response):
        raise UnfitText("it holds thinking, which is neither scored nor trained on; take it out")
    return _response_ids(tokenizer, instruction, response)


def _response_ids(tokenizer: PreTrainedTokenizerBase, instruction: str, response: str) -> list[int]:
    asked, prompt = _prompt(tokenizer, instruction)
    rendered = _rendered(tokenizer, instruction, response)
    if not rendered.startswith(asked):
        raise UnfitText("the chat template changes the prompt once a response follows")
    ids = _with_bos(tokenizer, _encoded(tokenizer, rendered))
    if ids[: len(prompt)] == prompt:
        ids = ids[len(prompt) :]
    else:
        ids = _encoded(tokenizer, rendered.removeprefix(asked))
    # Some templates write a line break or a second end after the end of turn, which no model ever
    # samples.
    control = set(_control_tokens(tokenizer).ids.values())
    ends = [place for place, token in enumerate(ids) if token in control]
    if not ends:
        raise UnfitText("the chat template does not end the assistant's turn with a control token")
    ids = ids[: ends[0] + 1]
    said = _decoded(tokenizer, ids[:-1])
    if _normal(tokenizer, said) != _normal(tokenizer, response):
        raise UnfitText(f"as the chat template has it, the response is {shown(said)}")
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
    """A response of these sampled tokens, its text without what was thought before it; it ended by
    itself where its last one is of `ends`."""
    reason = "stop" if token_ids[-1] in ends else "length"
    # Marks of thinking may be control tokens.
    whole = _decoded(tokenizer, token_ids)
    if thinks(whole):
        answer = answer_of(whole)
        text = _control_tokens(tokenizer).pattern.sub("", answer).strip()
        return Response(text, token_ids, reason, thought(whole) or None)
    text = _decoded(tokenizer, token_ids, skip_special_tokens=True).strip()
    return Response(text, token_ids, reason)


class _Control(NamedTuple):
    """Control tokens, such as the end of turn: `all_special_ids` would miss those that a tokenizer
    has no name for, such as Phi's and some Gemmas'."""

    ids: dict[str, int]
    # finds them in a text
    pattern: re.Pattern[str]


@lru_cache(maxsize=8)
def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> _Control:
    ids = {}
    for token_id, token in tokenizer.added_tokens_decoder.items():
        if token.special:
            ids[token.content] = token_id
    longest_first = sorted(ids, key=len, reverse=True)
    return _Control(ids, re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})"))


def _prompt(tokenizer: PreTrainedTokenizerBase, instruction: str) -> tuple[str, list[int]]:
    """The user's turn as the template writes it, and its ids."""
    rendered = _rendered(tokenizer, instruction)
    ids = _with_bos(tokenizer, _encoded(tokenizer, rendered))
    asked = _decoded(tokenizer, ids)
    if _normal(tokenizer, instruction) not in _normal(tokenizer, asked):
        raise UnfitText(f"as the chat template has it, the prompt is {shown(asked)}")
    return rendered, ids


def _rendered(tokenizer: PreTrainedTokenizerBase, *turns: str) -> str:
    """Turns of user and assistant as the template writes them; names of control tokens in them are
    marked."""
    messages = []
    for role, text in zip(("user", "assistant"), turns, strict=False):
        messages.append({"role": role, "content": _marked(tokenizer, text)})
    try:
        rendered = tokenizer.apply_chat_template(
            messages, add_generation_prompt=len(turns) == 1, tokenize=False
        )
    except RENDERING as error:
        raise UnfitText(f"the chat template fails ({' '.join(str(error).split())})") from None
    return str(rendered)


def _marked(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The text with a mark inside of every control token's name."""
    if MARK in text:
        raise UnfitText("it holds U+FDD0, which is no character")
    if is_broken(text):
        raise UnfitText("it holds half a character (a lone surrogate), which no tokenizer reads")
    pattern = _control_tokens(tokenizer).pattern
    while found := pattern.search(text):
        # The mark may have left the end of one name as the beginning of another.
        if len(found[0]) == 1:
            raise UnfitText(f"it holds {shown(found[0])}, a control token of this model")
        middle = found.start() + 1
        text = text[:middle] + MARK + text[middle:]
    return text


def _encoded(tokenizer: PreTrainedTokenizerBase, rendered: str) -> list[int]:
    """Ids of what a template wrote, its control tokens as such, those that are marked as text."""
    control = _control_tokens(tokenizer)
    if MARK in rendered:
        ids = []
        for piece in control.pattern.split(rendered):
            if piece in control.ids:
                ids.append(control.ids[piece])
            elif piece:
                text = piece.replace(MARK, "")
                as_text = {"add_special_tokens": False, "split_special_tokens": True}
                ids += tokenizer(text, **as_text).input_ids
    else:
        # Most templates write the BOS: never a second one.
        ids = tokenizer(rendered, add_special_tokens=False).input_ids
    known = set(control.ids.values())
    expected = [control.ids[name] for name in control.pattern.findall(rendered)]
    if [token for token in ids if token in known] != expected:
        raise UnfitText("the tokenizer makes control tokens of its text")
    return ids


def _with_bos(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """The ids behind a BOS, where the template leaves it to the tokenizer, as Zephyr's does."""
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:1] != [bos] and tokenizer("").input_ids[:1] == [bos]:
        return [bos, *ids]
    return ids


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int], **options: bool) -> str:
    """The text of ids, and not as some tokenizers tidy it up: without spaces before full stops."""
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False, **options))


def _normal(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The text as the tokenizer reads it: in its own normal form and composed (NFC), without white
    space at its ends."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    return unicodedata.normalize("NFC", text).strip(" \t\r\n▁")
