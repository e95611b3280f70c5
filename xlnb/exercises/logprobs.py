"""Exercises of 02: the log-probability of a response, from logits."""

from typing import Any

import torch
from torch import Tensor

from xlnb.exercises.exercise import Exercise, WrongAnswer, expect, given


def sequence_logprob(logits: Tensor, input_ids: Tensor, prompt_length: int) -> Tensor:
    logps = torch.log_softmax(logits.float(), dim=-1)
    targets = input_ids[prompt_length:]
    predicted_from = logps[prompt_length - 1 : -1]
    return predicted_from.gather(-1, targets[:, None]).squeeze(-1).sum()


def toy_logits(input_ids: Tensor) -> Tensor:
    """Of a model of 4 tokens that sees the last one alone: behind 0 comes 1, for certain, and
    behind any other token each of the four alike."""
    table = torch.zeros(4, 4)
    table[0] = torch.tensor([-50.0, 50.0, -50.0, -50.0])
    return table[input_ids]


def planted(logits: Tensor, input_ids: Tensor, prompt_length: int) -> Tensor:
    """`sequence_logprob` with something wrong."""
    logps = torch.log_softmax(logits.float(), dim=-1)
    shifted = logps[:-1].gather(-1, input_ids[1:, None]).squeeze(-1)
    return shifted[prompt_length:].sum()


def _failing_test(attempt: Any) -> None:
    prompt, response = given(attempt)
    ids = torch.tensor([*prompt, *response])
    if not prompt or not response or ids.min() < 0 or ids.max() > 3:
        raise WrongAnswer(f"got {attempt!r}, expected two lists of tokens from 0 to 3, none empty")
    right = sequence_logprob(toy_logits(ids), ids, len(prompt)).item()
    wrong = planted(toy_logits(ids), ids, len(prompt)).item()
    if abs(right - wrong) < 1e-4:
        raise WrongAnswer(f"both functions give {right + 0.0:.4f} nats, so this test would pass")
    if len(ids) > 2:
        raise WrongAnswer(f"it tells them apart, with {len(ids)} tokens; two are enough")


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
    "failing_test": Exercise(
        ([2], [3]),
        _failing_test,
        (
            "Ask both functions about a response of one token.",
            "Where the first token of the response is certain, dropping it costs nothing: "
            "which tokens must not end the prompt?",
        ),
    ),
}
