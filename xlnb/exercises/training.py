"""Exercises of 05: the loss of a pair, its first value, and a chosen response that loses."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xlnb.exercises.exercise import Exercise, WrongAnswer, expect, given


def pair_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    chosen_lengths: Tensor,
    beta: float,
    c: float,
) -> Tensor:
    chosen_rewards = beta * (policy_chosen_logps - ref_chosen_logps)
    rejected_rewards = beta * (policy_rejected_logps - ref_rejected_logps)
    nll = -policy_chosen_logps / chosen_lengths
    return -F.logsigmoid(chosen_rewards - rejected_rewards) + c * nll


def _pair_loss(attempt: Any) -> None:
    logps, lengths = torch.tensor([-6.0, -20.0]), torch.tensor([3.0, 40.0])
    same = (logps, logps - 3, logps, logps - 3, lengths)
    expect(
        "policy = reference, c = 0: ln 2 a pair",
        attempt(*same, 0.1, 0.0),
        torch.full((2,), 0.693147),
    )
    expect(
        "policy = reference, c = 1", attempt(*same, 0.1, 1.0), torch.tensor([2.693147, 1.193147])
    )
    moved = (logps + 2, logps - 4, logps, logps - 3, lengths)
    expect(
        "chosen up 2, rejected down 1, β = 0.5",
        attempt(*moved, 0.5, 0.0),
        torch.full((2,), 0.201413),
    )
    expect("the same with c = 0.5", attempt(*moved, 0.5, 0.5), torch.tensor([0.868080, 0.426413]))
    policy = logps.clone().requires_grad_()
    attempt(policy, logps - 3, logps, logps - 3, lengths, 0.1, 1.0).sum().backward()
    if policy.grad is None:
        raise WrongAnswer("no gradient reaches the chosen response's log-probabilities")
    expect("gradient on the chosen: -β/2 - c/|y|", policy.grad, torch.tensor([-0.383333, -0.075]))


def _first_loss(attempt: Any) -> None:
    expect("the margin is 0 whatever the pair", given(attempt), math.log(2), 1e-3)


WHY = "the loss sees the margin alone"


def _chosen_falls(attempt: Any) -> None:
    if given(attempt) != WHY:
        raise WrongAnswer(
            f"got {attempt!r}; write the loss with c = 0 and look which numbers of the chosen "
            "response are in it"
        )


EXERCISES = {
    "pair_loss": Exercise(
        pair_loss,
        _pair_loss,
        (
            "The first term is DPO's, as in notebook 01: -log σ of the difference of two rewards.",
            "The second is the chosen response's negative log-probability for each of its tokens.",
            "c multiplies the second term only.",
        ),
    ),
    "first_loss": Exercise(
        math.log(2),
        _first_loss,
        (
            "B = 0, so policy and reference are one model.",
            "Then the margin is 0; what is -log σ(0)?",
        ),
    ),
    "chosen_falls": Exercise(
        WHY,
        _chosen_falls,
        ("Add the same number to both log-probabilities: does the loss change?",),
    ),
}
