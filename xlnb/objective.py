"""What training minimises: a loss of pairs, and the NLL of the chosen response beside it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from xlnb.decay import decayed
from xlnb.logprobs import response_logprobs
from xlnb.losses import LOSSES, PairLogps, nll_loss, one_sided, smoothed
from xlnb.presets import Training


@dataclass(frozen=True)
class Objective:
    """A loss of `LOSSES`, plus `nll` times the NLL of the chosen response, per token.

        mean over pairs of   loss(π, π_ref; β) + c (−log π(y⁺|x) / |y⁺|)

    In the loss, log π and log π_ref are decayed by `gamma` (`xlnb.decay`), the pair's order is
    doubted by `label_smoothing` (`losses.smoothed`), and `sides` alone have a gradient
    (`losses.one_sided`); the NLL is as ever, and so is what is logged as log-probabilities.
    On held-out pairs, where the model is not in training mode, it is the loss of pairs alone.
    """

    loss: str
    beta: float
    nll: float
    gamma: float = field(default=1.0, kw_only=True)
    label_smoothing: float = field(default=0.0, kw_only=True)
    sides: str = field(default="both", kw_only=True)

    @classmethod
    def of(cls, training: Training) -> "Objective":
        """What a training's values ask for."""
        return cls(
            training.loss,
            training.beta,
            training.nll,
            gamma=training.gamma,
            label_smoothing=training.label_smoothing,
            sides=training.sides,
        )

    def __call__(
        self, model: Any, batch: dict[str, Any], gather: Callable
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over a batch of `collate_pairs`, and what is logged of it: see
        `engine.trainer.LossOfBatch`."""
        loss = LOSSES[self.loss]
        # (2B, R)
        token_logps = response_logprobs(model, batch)
        logps = token_logps.sum(1)
        if not torch.isfinite(logps).all():
            raise FloatingPointError("a log-probability")
        others = _other_logps(model, batch, gather) if loss.reads_others else ()
        policy_logps = one_sided(decayed(token_logps, self.gamma), self.sides)
        read = PairLogps(policy_logps, batch["ref_logps"], *others)
        pairs = smoothed(loss.of_pairs, read, self.beta, self.label_smoothing)

        chosen_logps, rejected_logps = logps.chunk(2)
        # (B,) tokens, end-of-turn included
        chosen_lengths, _ = batch["response_mask"].sum(1).chunk(2)
        nll = nll_loss(chosen_logps, chosen_lengths)
        logged = {
            "nll_loss": nll,
            "logps/chosen": chosen_logps,
            "logps/rejected": rejected_logps,
            **pairs.metrics,
            f"{self.loss}_loss": pairs.losses,
            "rewards/chosen": pairs.chosen_rewards,
            "rewards/rejected": pairs.rejected_rewards,
            "rewards/margins": pairs.chosen_rewards - pairs.rejected_rewards,
            "rewards/accuracies": (pairs.chosen_rewards > pairs.rejected_rewards).float(),
        }
        losses = pairs.losses + self.nll * nll if model.training else pairs.losses
        return losses.mean(), logged


def _other_logps(model: Any, batch: dict[str, Any], gather: Callable) -> tuple[Tensor, Tensor]:
    """Under policy and reference: of responses to other prompts, of all processes' batches."""
    prefix = "other_"
    other = {
        name.removeprefix(prefix): value for name, value in batch.items() if name.startswith(prefix)
    }
    with torch.no_grad():
        policy_logps = response_logprobs(model, other).sum(1)
    return gather(policy_logps), gather(other["ref_logps"])
