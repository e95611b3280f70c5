"""The DPO family against numbers worked out by hand and closed forms."""

import math

import pytest
import torch

from xlnb.losses import dpo_loss, nll_loss

FourLogps = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

# Policy chosen, policy rejected, reference chosen, reference rejected
LOGPS: FourLogps = (
    torch.tensor([-10.0]),
    torch.tensor([-20.0]),
    torch.tensor([-12.0]),
    torch.tensor([-15.0]),
)


def random_logps(seed: int, batch: int = 8) -> FourLogps:
    generator = torch.Generator().manual_seed(seed)
    a, b, c, d = -50 * torch.rand(4, batch, generator=generator, dtype=torch.float64)
    return a, b, c, d


def test_four_numbers():
    # Rewards 0.1·(-10 - -12) = 0.2 and 0.1·(-20 - -15) = -0.5: loss = log(1 + e^-0.7) = 0.40318605
    losses, chosen_rewards, rejected_rewards = dpo_loss(*LOGPS, beta=0.1)
    assert losses.shape == chosen_rewards.shape == rejected_rewards.shape == (1,)
    assert chosen_rewards.item() == pytest.approx(0.2)
    assert rejected_rewards.item() == pytest.approx(-0.5)
    assert losses.item() == pytest.approx(0.40318605, abs=1e-6)


def test_a_policy_equal_to_its_reference_has_loss_ln_2_and_no_margin():
    chosen, rejected, *_ = random_logps(0)
    losses, chosen_rewards, rejected_rewards = dpo_loss(
        chosen, rejected, chosen, rejected, beta=0.1
    )
    torch.testing.assert_close(losses, torch.full_like(losses, math.log(2)))
    assert not chosen_rewards.any()
    assert not rejected_rewards.any()


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0])
def test_gradient_is_the_closed_form(beta):
    # d loss / d log π(y⁺) = -β σ(-βΔ), and the opposite for y⁻.
    chosen, rejected, ref_chosen, ref_rejected = random_logps(1)
    chosen.requires_grad_()
    rejected.requires_grad_()
    delta = (chosen - ref_chosen) - (rejected - ref_rejected)
    expected = (-beta * torch.sigmoid(-beta * delta)).detach()

    losses, chosen_rewards, _ = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta=beta)
    assert not chosen_rewards.requires_grad
    grad_chosen, grad_rejected = torch.autograd.grad(losses.sum(), (chosen, rejected))
    torch.testing.assert_close(grad_chosen, expected)
    torch.testing.assert_close(grad_rejected, -expected)


@pytest.mark.parametrize(("policy_shift", "ref_shift"), [(3.0, 0.0), (0.0, -7.0), (3.0, -7.0)])
def test_what_the_prompt_adds_to_both_responses_cancels(policy_shift, ref_shift):
    # As β log Z(x) does: it is the same for the chosen and the rejected response.
    chosen, rejected, ref_chosen, ref_rejected = random_logps(2)
    losses, *_ = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta=0.1)
    shifted, *_ = dpo_loss(
        chosen + policy_shift,
        rejected + policy_shift,
        ref_chosen + ref_shift,
        ref_rejected + ref_shift,
        beta=0.1,
    )
    torch.testing.assert_close(shifted, losses)


@pytest.mark.parametrize(("chosen", "expected"), [(-1e4, 1e4), (1e4, 0.0)])
def test_large_margins_do_not_overflow(chosen, expected):
    policy_chosen, zero = torch.tensor([chosen], requires_grad=True), torch.zeros(1)
    losses, *_ = dpo_loss(policy_chosen, zero, zero, zero, beta=1.0)
    assert losses.item() == expected
    (grad,) = torch.autograd.grad(losses.sum(), policy_chosen)
    assert grad.item() == (-1.0 if chosen < 0 else 0.0)


def test_nll_is_per_sequence_not_per_token_of_the_batch():
    # 2 tokens of 1 nat and 8 tokens of 3 nats: (1 + 3)/2 = 2 a sequence, but (2·1 + 8·3)/10 = 2.6
    # a token.
    logps, lengths = torch.tensor([-2.0, -24.0]), torch.tensor([2, 8])
    losses = nll_loss(logps, lengths)
    assert losses.tolist() == [1.0, 3.0]
    assert losses.mean().item() == 2.0
    assert (-logps.sum() / lengths.sum()).item() == pytest.approx(2.6)
