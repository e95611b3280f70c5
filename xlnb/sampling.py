"""Sampling: N responses a prompt, each with its token ids and the reason why it ended."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from xlnb.logprobs import Rows
from xlnb.models import end_ids


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
) -> list[list[dict]]:
    """n samples for each of `prompts` (token ids), generated side by side: records {text, token_ids, finish_reason}.

    `token_ids` are as sampled. A response that ended ("stop") holds its end-of-turn token; one that reached
    `max_new_tokens` ("length") has none, and nothing downstream invents one. The same seed and the same batch give
    the same samples.
    """
    ends = end_ids(model, tokenizer)
    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id
    input_ids = torch.tensor([[pad] * (width - len(ids)) + list(ids) for ids in prompts], device=model.device)
    attention_mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=model.device)
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_p=top_p,
        top_k=0,  # these two are set because a model's own generation config may say otherwise
        repetition_penalty=1.0,
        max_new_tokens=max_new_tokens,
        num_return_sequences=n,
        eos_token_id=ends,
        pad_token_id=pad,
    )
    torch.manual_seed(seed)
    with torch.inference_mode():
        output = model.generate(input_ids=input_ids, attention_mask=attention_mask, generation_config=config)
    rows = [_record(tokenizer, ids, ends) for ids in output[:, width:].tolist()]
    return [rows[i : i + n] for i in range(0, len(rows), n)]


def _record(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], ends: Sequence[int]) -> dict:
    stop = next((i for i, token in enumerate(ids) if token in ends), None)
    token_ids = list(ids) if stop is None else list(ids[: stop + 1])
    return {
        "text": str(tokenizer.decode(token_ids, skip_special_tokens=True)).strip(),
        "token_ids": token_ids,
        "finish_reason": "length" if stop is None else "stop",
    }


def batch_seed(seed: int, *names: object) -> int:
    """A seed for one batch, so that a batch samples the same whatever ran before it (and so after a kill)."""
    return int.from_bytes(hashlib.sha256(repr((seed, *names)).encode()).digest()[:7], "big")
