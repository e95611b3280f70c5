"""The implicit reward r(x, y) = β (log π(y|x) − log π_I(y|x)) and the prompts under which it is computed.

DPO's optimum satisfies r(x, y) = β log π*(y|x)/π_ref(y|x) + β log Z(x) (Rafailov et al. 2023, eq. 5); Z depends on
the prompt alone and cancels between responses to one prompt. Scoring under the English instruction is what carries
the English preference over to other languages (arXiv 2503.04647).
"""

from collections.abc import Sequence
from functools import partial

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from xlnb.errors import InputError
from xlnb.logprobs import Budget, Rows, logprobs_under
from xlnb.models import active
from xlnb.presets import SCORERS
from xlnb.prompts import cross_lingual


def implicit_reward(policy_logps: Sequence[float], ref_logps: Sequence[float], beta: float) -> list[float]:
    """β (log π − log π_ref), elementwise, in β nats."""
    return [beta * (policy - ref) for policy, ref in zip(policy_logps, ref_logps, strict=True)]


def scorer_prompt(scorer: str, lang: str, instruction: str, english: str) -> str:
    """The prompt under which a scorer reads a response in `lang`: R_c (cross_lingual), R_m (multilingual) or, for the
    response's English translation, R_t (translated)."""
    if scorer == "cross_lingual":
        return cross_lingual(english, lang)
    if scorer == "multilingual":
        return instruction
    if scorer == "translated":
        return english
    raise InputError(f"unknown scorer '{scorer}'; known: {', '.join(SCORERS)}")


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
    keys = [(tuple(prompt), tuple(response)) for prompt, response in zip(prompts, responses, strict=True)]
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
