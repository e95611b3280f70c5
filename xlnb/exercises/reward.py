"""Exercises of 01: DPO's optimum, its loss, and what β does."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xlnb.exercises.exercise import Exercise, WrongAnswer, expect, given


def optimum(ref_probs: Tensor, rewards: Tensor, beta: float) -> Tensor:
    weights = ref_probs * torch.exp(rewards / beta)
    return weights / weights.sum(-1, keepdim=True)


def dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    beta: float,
) -> Tensor:
    chosen_rewards = beta * (policy_chosen_logps - ref_chosen_logps)
    rejected_rewards = beta * (policy_rejected_logps - ref_rejected_logps)
    return -F.logsigmoid(chosen_rewards - rejected_rewards)


def _optimum(attempt: Any) -> None:
    one = torch.tensor([[0.5, 0.3, 0.2]])
    zero = torch.zeros(1, 3)
    expect("no reward: the reference itself", attempt(one, zero, 1.0), one)
    two = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    rewards = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    expected = torch.tensor([[0.880797, 0.119203], [0.141487, 0.858513]])
    expect("two prompts, a row each, β = 0.5", attempt(two, rewards, 0.5), expected, 1e-4)


def _dpo_loss(attempt: Any) -> None:
    logps = torch.tensor([-1.0, -20.0])
    start = attempt(logps, logps - 3, logps, logps - 3, 0.1)
    expect("policy = reference: ln 2 a pair", start, torch.full((2,), 0.693147))
    better = attempt(logps + 2, logps - 4, logps, logps - 3, 0.5)
    expect("chosen up 2 nats, rejected down 1, β = 0.5", better, torch.full((2,), 0.201413))
    worse = attempt(logps - 2, logps + 1, logps, logps, 0.5)
    expect("chosen down 2 nats, rejected up 1, β = 0.5", worse, torch.full((2,), 1.701413))
    far = attempt(logps - 2000, logps, logps, logps, 1.0)
    expect("a margin of -2000 is finite", far, torch.full((2,), 2000.0))


def _beta_for_twice_the_reward(attempt: Any) -> None:
    if given(attempt) != "beta is doubled":
        raise WrongAnswer(
            f"got {attempt!r}; π* depends on r/β alone, so look for the β that leaves r/β as it was"
        )


EXERCISES = {
    "optimum": Exercise(
        optimum,
        _optimum,
        (
            "π* is the reference, each probability times a weight, and then made to sum to 1.",
            "The weight is exp(r / β).",
            "Each prompt is a row: sum over the last axis, and keep it (keepdim=True).",
        ),
    ),
    "dpo_loss": Exercise(
        dpo_loss,
        _dpo_loss,
        (
            "The reward of a response is β times how much likelier the policy makes it.",
            "The margin is the chosen response's reward less the rejected one's.",
            "The loss is -log σ(margin); log(sigmoid(m)) is -inf for a margin far below 0, "
            "torch.nn.functional.logsigmoid is not.",
        ),
    ),
    "beta_for_twice_the_reward": Exercise(
        "beta is doubled",
        _beta_for_twice_the_reward,
        ("Look at the optimum: where does the reward stand, and where does β?",),
    ),
}
