""""""

from collections.abc import Sequence
from functools import partial

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from xlnb.logprobs import logprobs_under
from xlnb.models.adapters import active
from xlnb.models.batches import Budget, Rows


def implicit_reward(
    policy_logps: Sequence[float], ref_logps: Sequence[float], beta: float
) -> list[float]:
    """β (log π − log π_ref), elementwise, in β nats."""
    return [beta * (policy - ref) for policy, ref in zip(policy_logps, ref_logps, strict=True)]


def score_responses(
    model: PreTrainedModel | PeftModel,
    policy: str,
    ref: str,
    prompts: Rows,
    responses: Rows,
    *,
    batch_tokens: int | Budget,
    share_prefix: bool | None = None,
    ref_model: PreTrainedModel | PeftModel | None = None,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Token log-probabilities of the responses under two models, in one pass over the data and identical batches.

    `policy` and `ref` name adapters of `model` (or `sft`, the bare base); `ref_model` is the base of `ref` where that
    is another one. The same model twice gives the same numbers, so that its reward against itself is exactly 0. A
    response that a prompt has several times is scored once. `batch_tokens`, `share_prefix`: see `sequence_logprobs`.
    """
    keys = [
        (tuple(prompt), tuple(response))
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    once = {key: position for position, key in enumerate(dict.fromkeys(keys))}
    sides = logprobs_under(
        [partial(active, model, policy), partial(active, ref_model or model, ref)],
        [prompt for prompt, _ in once],
        [response for _, response in once],
        batch_tokens=batch_tokens,
        share_prefix=share_prefix,
    )
    policy_logps, ref_logps = ([side[once[key]] for key in keys] for side in sides)
    return policy_logps, ref_logps
