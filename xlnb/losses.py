""""""

import torch.nn.functional as F
from torch import Tensor


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

    `beta` is the strength of the pull towards the reference. At initialisation π = π_ref: the loss is ln 2.
    Returns `(losses, chosen_rewards, rejected_rewards)`, each (B,); the rewards, for logging, carry no grad.
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

    `desirable` is (B,) bool; `kl`, a scalar in nats without grad, estimates KL(π ‖ π_ref) as the mean of r over
    prompts with responses to other prompts. At initialisation every loss is 1/2. Returns `(losses, rewards)`, each
    (B,); the rewards, β r, carry no grad.
    """
    ratio = policy_logps - ref_logps
    from_reference = beta * (ratio - kl.clamp(min=0))
    losses = 1 - F.sigmoid(from_reference.where(desirable, -from_reference))
    return losses, beta * ratio.detach()


def nll_loss(policy_chosen_logps: Tensor, chosen_lengths: Tensor) -> Tensor:
    """Negative log-likelihood of the chosen response, per token and per sequence: (B,), in nats per token.

        loss = -log π(y⁺|x) / |y⁺|

    `chosen_lengths` is (B,): tokens of each chosen response, end-of-turn included, at least 1. The mean over
    a batch weighs every response equally; a mean over the batch's tokens weighs long responses more.
    """
    return -policy_chosen_logps / chosen_lengths
