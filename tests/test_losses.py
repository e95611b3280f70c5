"""The DPO family against numbers worked out by hand and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from xlnb.common.errors import InputError
from xlnb.losses import LOSSES, PairLogps, dpo, dpo_loss, nll_loss, one_sided, smoothed
from xlnb.presets import get_preset

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


# Label smoothing.


def pairs_of(logps: FourLogps) -> PairLogps:
    return PairLogps(torch.cat(logps[:2]), torch.cat(logps[2:]))


def test_without_smoothing_a_loss_is_itself():
    pairs = pairs_of(random_logps(3))
    plain = dpo(pairs, 0.1)
    found = smoothed(dpo, pairs, 0.1, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(found[:3], plain[:3], strict=True))


@pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.5, 1.0])
def test_smoothing_is_the_cross_entropy_of_two_smoothed_labels(epsilon):
    # GRAM's second stage: two logits, whose difference is the margin, with PyTorch's smoothing ε.
    pairs = pairs_of(random_logps(4))
    plain = dpo(pairs, 0.1)
    logits = torch.stack([plain.chosen_rewards, plain.rejected_rewards], 1)
    labels = torch.zeros(len(logits), dtype=torch.long)
    expected = F.cross_entropy(logits, labels, reduction="none", label_smoothing=epsilon)
    found = smoothed(dpo, pairs, 0.1, epsilon / 2)
    torch.testing.assert_close(found.losses, expected)
    assert torch.equal(found.chosen_rewards, plain.chosen_rewards)


def test_at_one_half_no_order_is_believed_and_the_least_loss_is_at_no_margin():
    margin = torch.linspace(-3, 3, 61, dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(61, dtype=torch.float64)
    pairs = PairLogps(torch.cat([margin, zero]), torch.cat([zero, zero]))
    losses = smoothed(dpo, pairs, 1.0, 0.5).losses
    assert losses.argmin() == 30 and margin[30].abs() < 1e-12
    assert losses[30].item() == pytest.approx(math.log(2))
    torch.testing.assert_close(losses, losses.flip(0))
    # With less doubt it lies where the odds are (1 - s) : s.
    sure = smoothed(dpo, pairs, 1.0, 0.1).losses
    (slope,) = torch.autograd.grad(sure.sum(), margin)
    torch.testing.assert_close(slope, torch.sigmoid(margin) - 0.9)


def test_any_loss_of_pairs_can_be_smoothed():
    pairs = pairs_of(random_logps(5))
    others = random_logps(6)
    pairs = PairLogps(pairs.policy_logps, pairs.ref_logps, others[0], others[1])
    kto = LOSSES["kto"].of_pairs
    found = smoothed(kto, pairs, 0.1, 0.25)
    flipped = PairLogps(pairs.policy_logps.roll(8), pairs.ref_logps.roll(8), others[0], others[1])
    expected = 0.75 * kto(pairs, 0.1).losses + 0.25 * kto(flipped, 0.1).losses
    torch.testing.assert_close(found.losses, expected)


@pytest.mark.parametrize(("sides", "moved"), [("chosen", [1, 0]), ("rejected", [0, 1])])
def test_one_side_has_its_gradient_of_both_and_the_other_has_none(sides, moved):
    pairs = pairs_of(random_logps(7))
    slopes = {}
    for name in ("both", sides):
        policy = pairs.policy_logps.clone().requires_grad_()
        read = PairLogps(one_sided(policy, name), pairs.ref_logps)
        losses = dpo(read, 0.1).losses
        assert torch.equal(losses, dpo(pairs, 0.1).losses)
        (slopes[name],) = torch.autograd.grad(losses.sum(), policy)
    kept = torch.tensor(moved).repeat_interleave(8)
    assert torch.equal(slopes[sides], slopes["both"] * kept)
    assert (slopes["both"] != 0).all()


def test_both_sides_are_what_was_given():
    logps = torch.tensor([-1.0, -2.0], requires_grad=True)
    assert one_sided(logps, "both") is logps


def test_rejected_alone_wants_no_nll():
    with pytest.raises(InputError, match=r"^training\.sides=rejected .* nll=1 does; set nll to 0$"):
        get_preset("lab", {"training.sides": "rejected"})
    alone = get_preset("lab", {"training.sides": "rejected", "training.nll": "0"})
    assert alone.training.sides == "rejected"
