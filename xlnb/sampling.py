""""""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from xlnb.common.records import Response
from xlnb.models.batches import Rows
from xlnb.models.chat import end_ids, response_record
from xlnb.models.sharding import causal_of, inference


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
    """n samples for each of `prompts` (token ids), generated side by side: records {text, token_ids, finish_reason}.

    `token_ids` are as sampled. A response that ended ("stop") holds its end-of-turn token; one that reached
    `max_new_tokens` ("length") has none, and nothing downstream invents one. The same seed and the same batch give
    the same samples. After each quarter of `max_new_tokens` the responses that have ended leave the batch: most end
    early, and the longest need not keep them waiting.
    """
    ends = end_ids(model, tokenizer)
    pad = tokenizer.pad_token_id
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_p=top_p,
        top_k=0,  # else transformers would cut at its default of 50
        eos_token_id=ends,
        pad_token_id=pad,
    )
    rows = [list(ids) for ids in prompts for _ in range(n)]
    responses: list[list[int]] = [[] for _ in rows]
    open_rows, left = list(range(len(rows))), max_new_tokens
    torch.manual_seed(seed)
    while open_rows and left:
        config.max_new_tokens = min(left, math.ceil(max_new_tokens / 4))
        left -= config.max_new_tokens
        so_far = [rows[i] + responses[i] for i in open_rows]
        width = max(map(len, so_far))
        input_ids = torch.tensor(
            [[pad] * (width - len(ids)) + ids for ids in so_far], device=model.device
        )
        attention_mask = torch.tensor(
            [[0] * (width - len(ids)) + [1] * len(ids) for ids in so_far], device=model.device
        )
        with inference(model), _only(model, config):
            output = model.generate(
                input_ids=input_ids, attention_mask=attention_mask, generation_config=config
            )
        for i, ids in zip(open_rows, output[:, width:].tolist(), strict=True):
            stop = next((position for position, token in enumerate(ids) if token in ends), None)
            responses[i] += ids if stop is None else ids[: stop + 1]
        open_rows = [i for i in open_rows if responses[i][-1] not in ends]
    records = [response_record(tokenizer, ids, ends) for ids in responses]
    return [records[i : i + n] for i in range(0, len(records), n)]


@contextmanager
def _only(model: Any, config: GenerationConfig) -> Iterator[None]:
    """Inside, `generate` follows `config` alone: it fills what that leaves open from the model's generation config."""
    causal = causal_of(model)  # PEFT reads it from there
    own, causal.generation_config = causal.generation_config, config
    try:
        yield
    finally:
        causal.generation_config = own


def batch_seed(seed: int, *names: object) -> int:
    """A seed for one batch, so that a batch samples the same whatever ran before it (and so after a kill)."""
    return int.from_bytes(hashlib.sha256(repr((seed, *names)).encode()).digest()[:7], "big")
