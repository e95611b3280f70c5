"""The DPO family of losses: pure functions of log-probabilities.

Every `*_logps` argument is in nats: log π(y|x), summed over the tokens of a response, end-of-turn
included. `dpo_loss`, `kto_loss` and `nll_loss` are the equations. `LOSSES` are those that
`training.loss` can name; one more is a function of `PairLogps` and β, and a line there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xlnb.common.errors import InputError
from xlnb.presets import Training


def dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """DPO (Rafailov et al. 2023, equation 7), a loss per pair.

        loss = -log σ(r⁺ - r⁻),   r = β (log π(y|x) - log π_ref(y|x))

    `beta` is the strength of the pull towards the reference. At initialisation π = π_ref, and the
    loss is ln 2. Returns `(losses, chosen_rewards, rejected_rewards)`, each (B,); the rewards, for
    logging, carry no grad.
    """
    chosen_rewards = beta * (policy_chosen_logps - ref_chosen_logps)
    rejected_rewards = beta * (policy_rejected_logps - ref_rejected_logps)
    # logsigmoid, not log(sigmoid): the latter is -inf for a margin below about -100.
    losses = -F.logsigmoid(chosen_rewards - rejected_rewards)
    return losses, chosen_rewards.detach(), rejected_rewards.detach()


def kto_loss(
    policy_logps: Tensor, ref_logps: Tensor, desirable: Tensor, kl: Tensor, *, beta: float
) -> tuple[Tensor, Tensor]:
    """KTO (Ethayarajh et al. 2024, equations 7 and 8, both λ = 1), a loss per response.

        loss = 1 - σ(β (r - z₀))  for a desirable response,  1 - σ(β (z₀ - r))  for another,
        r = log π(y|x) - log π_ref(y|x),   z₀ = max(0, `kl`)

    `desirable` is (B,) bool; `kl`, a scalar in nats without grad, estimates KL(π ‖ π_ref) as the
    mean of r over prompts with responses to other prompts. At initialisation every loss is 1/2.
    Returns `(losses, rewards)`, each (B,); the rewards, β r, carry no grad.
    """
    ratio = policy_logps - ref_logps
    from_reference = beta * (ratio - kl.clamp(min=0))
    losses = 1 - F.sigmoid(from_reference.where(desirable, -from_reference))
    return losses, beta * ratio.detach()


def nll_loss(policy_chosen_logps: Tensor, chosen_lengths: Tensor) -> Tensor:
    """Negative log-likelihood of the chosen response, per token and per sequence: (B,), in nats.

        loss = -log π(y⁺|x) / |y⁺|

    `chosen_lengths` is (B,): tokens of each chosen response, end-of-turn included, at least 1. The
    mean over a batch weighs every response equally; a mean over the batch's tokens weighs long
    responses more.
    """
    return -policy_chosen_logps / chosen_lengths


@dataclass(frozen=True)
class PairLogps:
    """What a loss may read of B pairs: log-probabilities under the policy, which carry grad, and
    under the reference. Each is (2B,): of the chosen responses, then of the rejected ones."""

    policy_logps: Tensor
    ref_logps: Tensor
    # The same of responses to other prompts, without grad and from all processes' batches; there
    # for a loss that `reads_others`.
    other_policy_logps: Tensor | None = None
    other_ref_logps: Tensor | None = None

    @property
    def flipped(self) -> "PairLogps":
        """The same with chosen and rejected in each other's place."""
        half = len(self.policy_logps) // 2
        policy_logps, ref_logps = self.policy_logps.roll(half), self.ref_logps.roll(half)
        return replace(self, policy_logps=policy_logps, ref_logps=ref_logps)


class PairLosses(NamedTuple):
    """Each (B,). The rewards, β log π/π_ref, are for logging and carry no grad."""

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor
    # what else is logged, by its name in the log
    metrics: dict[str, Tensor]


def dpo(pairs: PairLogps, beta: float) -> PairLosses:
    policy_chosen, policy_rejected = pairs.policy_logps.chunk(2)
    ref_chosen, ref_rejected = pairs.ref_logps.chunk(2)
    values = dpo_loss(policy_chosen, policy_rejected, ref_chosen, ref_rejected, beta=beta)
    return PairLosses(*values, metrics={})


def kto(pairs: PairLogps, beta: float) -> PairLosses:
    """A pair's loss is the mean of its responses': the chosen is desirable, the other is not."""
    assert pairs.other_policy_logps is not None and pairs.other_ref_logps is not None
    kl = (pairs.other_policy_logps - pairs.other_ref_logps).mean()
    responses = torch.arange(len(pairs.policy_logps), device=kl.device)
    desirable = responses < len(responses) // 2
    losses, rewards = kto_loss(pairs.policy_logps, pairs.ref_logps, desirable, kl, beta=beta)
    chosen_losses, rejected_losses = losses.chunk(2)
    chosen_rewards, rejected_rewards = rewards.chunk(2)
    mean_losses = (chosen_losses + rejected_losses) / 2
    return PairLosses(mean_losses, chosen_rewards, rejected_rewards, {"kl": kl})


def smoothed(
    of_pairs: Callable[[PairLogps, float], PairLosses],
    pairs: PairLogps,
    beta: float,
    label_smoothing: float,
) -> PairLosses:
    """A loss where a share s of the pairs, `label_smoothing`, is thought to be the wrong way round.

        loss = (1 − s) ℓ(y⁺, y⁻) + s ℓ(y⁻, y⁺),   of DPO  −(1 − s) log σ(Δ) − s log σ(−Δ)

    with Δ = r⁺ − r⁻: conservative DPO (Mitchell 2023, "A note on DPO with noisy preferences"), and
    the generative reward model's regularised ranking loss (GRAM, arXiv 2506.14175), which is the
    cross-entropy of two labels smoothed by ε = 2s. s = 0 is the loss itself; s = ½ knows no order,
    and DPO's is least at Δ = 0. The rewards are those of the pairs as they are.
    """
    found = of_pairs(pairs, beta)
    if not label_smoothing:
        return found
    other = of_pairs(pairs.flipped, beta)
    losses = (1 - label_smoothing) * found.losses + label_smoothing * other.losses
    return found._replace(losses=losses)


def one_sided(policy_logps: Tensor, sides: str) -> Tensor:
    """The same log-probabilities, (2B,) of chosen and then of rejected responses, with the gradient
    of some `sides` alone: "both", "chosen" or "rejected".

    What positive and negative samples teach by themselves (Dissecting Long Reasoning Models, arXiv
    2506.04913, whose advantages are computed from all samples before those of one side are left
    out): margin and weight of a pair are those of both responses, log π of the other side is taken
    for a constant.
    """
    chosen, rejected = policy_logps.chunk(2)
    known = {
        "both": policy_logps,
        "chosen": torch.cat([chosen, rejected.detach()]),
        "rejected": torch.cat([chosen.detach(), rejected]),
    }
    return known[sides]


@dataclass(frozen=True)
class Loss:
    """A loss of pairs, and whether it needs responses to other prompts beside them."""

    of_pairs: Callable[[PairLogps, float], PairLosses]
    reads_others: bool = field(default=False, kw_only=True)


LOSSES = {
    "dpo": Loss(dpo),
    "kto": Loss(kto, reads_others=True),
}


def check_loss(training: Training, section: str) -> None:
    """Raises InputError for a loss that `LOSSES` has not, and for micro-batches too small for it or
    a decay that it does not know.

    `section`: the preset's, "english" or "training".
    """
    name = training.loss
    if name not in LOSSES:
        raise InputError(f"{section}.loss '{name}': expected one of {', '.join(LOSSES)}")
    if LOSSES[name].reads_others and training.micro_batch < 2:
        raise InputError(
            f"{section}.micro_batch must be at least 2: {name} reads, beside a response, those to "
            "other prompts of its micro-batch"
        )
    if LOSSES[name].reads_others and training.gamma != 1:
        raise InputError(
            f"{section}.gamma {training.gamma}: {name} estimates a KL divergence, of whole "
            "log-probabilities; set it to 1, or the loss to dpo"
        )
