"""Exercises of 02: the log-probability of a response, from logits."""

from typing import Any

import torch
from torch import Tensor

from xlnb.exercises.exercise import Exercise, expect


def sequence_logprob(logits: Tensor, input_ids: Tensor, prompt_length: int) -> Tensor:
    logps = torch.log_softmax(logits.float(), dim=-1)
    targets = input_ids[prompt_length:]
    predicted_from = logps[prompt_length - 1 : -1]
    return predicted_from.gather(-1, targets[:, None]).squeeze(-1).sum()


def _sequence_logprob(attempt: Any) -> None:
    ids = torch.tensor([0, 1, 2, 3, 1])
    uniform = attempt(torch.zeros(5, 4), ids, 2)
    expect("uniform logits, 4 tokens, 3 of the response", uniform, torch.tensor(-4.158883))
    # The state at each column is sure of the token that comes next.
    sure = torch.full((5, 4), -50.0)
    for column, following in enumerate(ids[1:]):
        sure[column, following] = 50.0
    expect("every next token is certain", attempt(sure, ids, 2), torch.tensor(0.0))
    # The prompt's own tokens are unlikely, which must not count.
    surprised = sure.clone()
    surprised[0] = torch.tensor([50.0, -50.0, -50.0, -50.0])
    expect("an unlikely prompt", attempt(surprised, ids, 2), torch.tensor(0.0))
    first = sure.clone()
    first[1] = torch.tensor([0.0, 0.0, 0.0, 0.0])
    expect("only the first token is uncertain", attempt(first, ids, 2), torch.tensor(-1.386294))
    half = torch.zeros(2, 4, dtype=torch.bfloat16)
    found = attempt(half, torch.tensor([0, 1]), 1)
    expect("bf16 logits, summed in fp32", found, torch.tensor(-1.386294))


EXERCISES = {
    "sequence_logprob": Exercise(
        sequence_logprob,
        _sequence_logprob,
        (
            "The logits at one column predict the token of the next column.",
            "The first response token stands at column prompt_length, so it is predicted from "
            "column prompt_length - 1; the last column predicts nothing that is there.",
            "log_softmax over the vocabulary in fp32, then gather the tokens that came.",
        ),
    ),
}
