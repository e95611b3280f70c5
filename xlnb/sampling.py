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
from transformers import GenerationConfig, PreTrainedTokenizerBase

from xlnb.common.errors import InputError
from xlnb.common.records import Response
from xlnb.models import vllm
from xlnb.models.adapters import active, load_model
from xlnb.models.base import is_to_be_sharded
from xlnb.models.batches import Rows
from xlnb.models.chat import end_ids, response_record
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

    auto is vLLM where it is installed and there is a GPU, but not for a base that is to be sharded,
    which vLLM would hold whole. Raises InputError for an unknown name.
    """
    if backend in SAMPLERS:
        return backend
    if backend != "auto":
        known = ", ".join(["auto", *SAMPLERS])
        raise InputError(f"sampling.backend '{backend}': expected one of {known}")
    return "vllm" if vllm.at_hand() and not is_to_be_sharded(models) else "transformers"


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
    and the same batch give the same samples. After each quarter of `max_new_tokens` the responses
    that have ended leave the batch: most end early, and the longest need not keep them waiting.
    """
    ends = end_ids(model, tokenizer)
    pad = tokenizer.pad_token_id
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_p=top_p,
        # else transformers would cut at its default of 50
        top_k=0,
        eos_token_id=ends,
        pad_token_id=pad,
    )
    rows = [list(ids) for ids in prompts for _ in range(n)]
    responses: list[list[int]] = [[] for _ in rows]
    open_rows = list(range(len(rows)))
    left = max_new_tokens
    torch.manual_seed(seed)
    while open_rows and left:
        config.max_new_tokens = min(left, math.ceil(max_new_tokens / 4))
        left -= config.max_new_tokens
        so_far = [rows[i] + responses[i] for i in open_rows]
        width = max(map(len, so_far))
        padded = [[pad] * (width - len(ids)) + ids for ids in so_far]
        attended = [[0] * (width - len(ids)) + [1] * len(ids) for ids in so_far]
        with inference(model), _only(model, config):
            output = model.generate(
                input_ids=torch.tensor(padded, device=model.device),
                attention_mask=torch.tensor(attended, device=model.device),
                generation_config=config,
            )
        for i, ids in zip(open_rows, output[:, width:].tolist(), strict=True):
            responses[i] += _up_to_the_end(ids, ends)
        open_rows = [i for i in open_rows if responses[i][-1] not in ends]
    records = [response_record(tokenizer, ids, ends) for ids in responses]
    return [records[i : i + n] for i in range(0, len(records), n)]


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
