"""Sampling: N responses a prompt, each with its token ids and the reason why it ended.

A back end is a class with the interface of `Sampler`, and a line in `SAMPLERS`.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Cache, GenerationConfig, PreTrainedTokenizerBase

from xlnb.common.errors import InputError
from xlnb.common.records import Response
from xlnb.models import vllm
from xlnb.models.adapters import active, load_model
from xlnb.models.base import is_to_be_sharded
from xlnb.models.batches import Rows
from xlnb.models.caches import keeps_keys_alone
from xlnb.models.chat import end_ids, response_record
from xlnb.models.packing import collate
from xlnb.models.sharding import causal_of, inference
from xlnb.presets import Models


class Sampler(Protocol):
    """A base, with an adapter or bare, that has been loaded and answers prompts."""

    @property
    def model(self) -> Any:
        """The model, where it is PyTorch's; None: the back end's own affair."""

    @property
    def prompts_at_once(self) -> int | None:
        """How many prompts to hand it; None: as many as fit `sampling.batch_tokens`."""

    def sample(
        self,
        prompts: Rows,
        *,
        n: int,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[list[Response]]:
        """As `sample_responses`."""


class Transformers:
    """A `Sampler`: transformers' `generate`, on this process' device."""

    prompts_at_once = None

    def __init__(self, models: Models, adapter: Path | None, tokenizer: PreTrainedTokenizerBase):
        self.model = load_model(models, {"policy": adapter})
        self.adapter = None if adapter is None else "policy"
        self.tokenizer = tokenizer

    def sample(self, prompts: Rows, **settings: Any) -> list[list[Response]]:
        with active(self.model, self.adapter):
            return sample_responses(self.model, self.tokenizer, prompts, **settings)


# By the names that `sampling.backend` may have, beside auto.
SAMPLERS: dict[str, Callable[[Models, Path | None, PreTrainedTokenizerBase], Sampler]] = {
    "transformers": Transformers,
    "vllm": vllm.VLLM,
}


def choose_backend(backend: str, models: Models) -> str:
    """The name in `SAMPLERS` that `sampling.backend` means on this machine.

    auto is vLLM where it is installed and there is a GPU, but not for 8-bit weights, which it is
    not given, nor for a base that is to be sharded, which it would hold whole. Raises InputError
    for an unknown name.
    """
    if backend in SAMPLERS:
        return backend
    if backend != "auto":
        known = ", ".join(["auto", *SAMPLERS])
        raise InputError(f"sampling.backend '{backend}': expected one of {known}")
    takes = vllm.at_hand() and vllm.serves(models) and not is_to_be_sharded(models)
    return "vllm" if takes else "transformers"


def sample_responses(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Rows,
    *,
    n: int,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    seed: int,
) -> list[list[Response]]:
    """n responses to each of `prompts` (token ids), generated side by side.

    `token_ids` are as sampled. A response that ended ("stop") holds its end-of-turn token; one that
    reached `max_new_tokens` ("length") has none, and nothing downstream invents one. The same seed
    and the same batch give the same samples. Prompts are run once for all their responses. After
    each sixteenth of `max_new_tokens` the responses that have ended leave the batch: most end
    early, and the longest need not keep them waiting.
    """
    ends = end_ids(model, tokenizer)
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_p=top_p,
        # else transformers would cut at its default of 50
        top_k=0,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
    )
    batch = collate(prompts, [[]] * len(prompts))
    ids = batch["input_ids"].to(model.device)
    mask = batch["attention_mask"].to(model.device)
    responses: list[list[int]] = [[] for _ in range(len(prompts) * n)]
    open_rows = list(range(len(responses)))
    left = max_new_tokens
    torch.manual_seed(seed)
    with inference(model), _only(model, config):
        cache = _run_prompts(model, ids, mask)
        ids = ids.repeat_interleave(n, 0)
        mask = mask.repeat_interleave(n, 0)
        if cache:
            cache.batch_repeat_interleave(n)
        while True:
            config.max_new_tokens = min(left, math.ceil(max_new_tokens / 16))
            left -= config.max_new_tokens
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                generation_config=config,
            )
            for i, new in zip(open_rows, output[:, ids.shape[1] :].tolist(), strict=True):
                responses[i] += _up_to_the_end(new, ends)
            going = [at for at, i in enumerate(open_rows) if responses[i][-1] not in ends]
            if not going or not left:
                break
            open_rows = [open_rows[at] for at in going]
            at = torch.tensor(going, device=ids.device)
            mask = torch.nn.functional.pad(mask[at], (0, output.shape[1] - ids.shape[1]), value=1)
            ids = output[at]
            if cache:
                cache.batch_select_indices(at)
    records = [response_record(tokenizer, ids, ends) for ids in responses]
    return [records[i : i + n] for i in range(0, len(records), n)]


def _run_prompts(model: Any, ids: Tensor, mask: Tensor) -> Cache | None:
    """Keys and values of all but each prompt's last token; None where there is nothing before it,
    or where the model keeps something else, and `generate` is to run the prompts."""
    causal = causal_of(model)
    if ids.shape[1] == 1 or not keeps_keys_alone(causal):
        return None
    mask = mask[:, :-1]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    body = causal.get_decoder()
    output = body(
        input_ids=ids[:, :-1], attention_mask=mask, position_ids=positions, use_cache=True
    )
    return output.past_key_values


def batch_seed(seed: int, *names: object) -> int:
    """A seed for one batch, so that a batch samples the same whatever ran before it (and so after a
    kill)."""
    return int.from_bytes(hashlib.sha256(repr((seed, *names)).encode()).digest()[:7], "big")


def _up_to_the_end(ids: list[int], ends: list[int]) -> list[int]:
    """The ids up to and with the first that ends a response; all where none does."""
    for position, token in enumerate(ids):
        if token in ends:
            return ids[: position + 1]
    return ids


@contextmanager
def _only(model: Any, config: GenerationConfig) -> Iterator[None]:
    """Inside, `generate` follows `config` alone, and fills nothing that it leaves open from the
    model's generation config."""
    # PEFT reads it from there.
    causal = causal_of(model)
    own = causal.generation_config
    causal.generation_config = config
    try:
        yield
    finally:
        causal.generation_config = own
