"""Exercises of 05: the loss of a pair, its first value, a step of training, and a chosen response
that loses."""

import math
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from transformers import LlamaConfig, LlamaForCausalLM

from xlnb.engine.rows import collate_pairs
from xlnb.exercises.exercise import Exercise, WrongAnswer, expect, given
from xlnb.logprobs import response_logprobs


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


def training_step(
    model: Any, optimizer: torch.optim.Optimizer, pairs: dict[str, Any], beta: float, c: float
) -> tuple[Tensor, Tensor]:
    logps = response_logprobs(model, pairs).sum(1).cpu()
    chosen, rejected = logps.chunk(2)
    ref_chosen, ref_rejected = pairs["ref_logps"].chunk(2)
    lengths, _ = pairs["response_mask"].sum(1).chunk(2)
    losses = pair_loss(chosen, rejected, ref_chosen, ref_rejected, lengths, beta, c)
    loss = losses.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, logps


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


def _training_step(attempt: Any) -> None:
    start, rate = _tiny_model(), 0.5
    before = parameters_to_vector(start.parameters())
    pairs = collate_pairs([_row([1, 2], [3], [4, 5, 6]), _row([2], [7, 8, 9], [1, 1])])
    pairs["ref_logps"] = torch.tensor([-4.0, -6.5, -7.0, -4.5])
    own = deepcopy(start)
    logps = response_logprobs(own, pairs).sum(1)
    chosen, rejected = logps.chunk(2)
    refs = pairs["ref_logps"]
    losses = pair_loss(chosen, rejected, refs[:2], refs[2:], torch.tensor([1, 3]), 0.5, 1)
    losses.mean().backward()
    gradient = torch.cat([one.grad.flatten() for one in own.parameters() if one.grad is not None])
    for case, left_over in (("", 0.0), (", where gradients were left over from before", 1.0)):
        model = deepcopy(start)
        for one in model.parameters():
            one.grad = torch.full_like(one, left_over)
        found = given(attempt(model, torch.optim.SGD(model.parameters(), rate), pairs, 0.5, 1))
        if not isinstance(found, tuple) or len(found) != 2:
            raise WrongAnswer(f"got {type(found).__name__}, expected loss, logps")
        expect("the loss of two pairs before the step", found[0], losses.mean())
        expect("their log-probabilities, chosen first", found[1], logps)
        moved = parameters_to_vector(model.parameters()) - before
        along = moved @ gradient / gradient.norm() ** 2
        expect(f"how far the weights have moved{case}", moved.norm(), rate * gradient.norm())
        expect(f"along the gradient{case}", along, torch.tensor(-rate))


def _tiny_model() -> Any:
    """A Llama of one layer and ten tokens, always the same."""
    shape = LlamaConfig(
        vocab_size=10,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(shape)


def _row(prompt: list[int], chosen: list[int], rejected: list[int]) -> Any:
    sides = {"chosen_ids": chosen, "rejected_ids": rejected}
    names = {"prompt_id": "toy", "lang": "en", "prompt_ids": prompt}
    return {**names, **sides, "ref_chosen_logps": 0.0, "ref_rejected_logps": 0.0}


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
    "training_step": Exercise(
        training_step,
        _training_step,
        (
            "A response's log-probability is the sum over its tokens: .sum(1). The batch holds the "
            "chosen responses, then the rejected ones: .chunk(2) parts them.",
            "The loss of the step is the mean of pair_loss over the pairs.",
            "PyTorch adds gradients up: optimizer.zero_grad(), then loss.backward(), then "
            "optimizer.step().",
        ),
    ),
    "chosen_falls": Exercise(
        WHY,
        _chosen_falls,
        ("Add the same number to both log-probabilities: does the loss change?",),
    ),
}
