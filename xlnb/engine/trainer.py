""""""

import json
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import TrainerCallback
from trl import DPOTrainer

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.engine.rows import SIDES
from xlnb.logprobs import response_logprobs
from xlnb.losses import dpo_loss, kto_loss, nll_loss


class Progress(TrainerCallback):
    """One progress bar with the loss and the margin, in place of a printed dictionary a step."""

    def __init__(self, label: str):
        self.label = label

    def on_train_begin(self, args, state, control, **kwargs):
        hidden = not processes.is_main()
        self.bar = tqdm(
            total=state.max_steps, initial=state.global_step, desc=self.label, disable=hidden
        )

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "rewards/margins" in logs:
            self.bar.set_postfix(
                loss=f"{logs['loss']:.3f}", margin=f"{logs['rewards/margins']:.3f}", refresh=False
            )
            self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


class StopAtNaN(TrainerCallback):
    """Stop before an update whose gradient is not finite, so that no checkpoint ever holds what it would leave."""

    trainer: "DPONLLTrainer"

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        finite = [torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None]
        if not torch.stack(finite).all():
            self.trainer.stop("the gradient")
        self.trainer.ids.clear()


class DPONLLTrainer(DPOTrainer):
    """TRL's DPOTrainer with the loss −log σ(β Δ) + c (−log π(y⁺|x) / |y⁺|), the NLL averaged per sequence, or, with
    `loss` "kto", the mean of KTO's losses of both responses in place of the first term. On held-out pairs the loss is
    the first term alone.

    TRL's own "sft" loss averages over the micro-batch's tokens, which weighs long responses more (`losses.py`).
    """

    def __init__(self, *args: Any, nll: float, loss: str = "dpo", **kwargs: Any):
        self.nll, self.loss = nll, loss
        self.ids: list[str] = []  # of the pairs that the coming update has seen
        super().__init__(*args, **kwargs)
        watch = StopAtNaN()
        watch.trainer = self
        self.add_callback(watch)

    def _prepare_dataset(self, dataset, *args):
        return dataset  # `tokenize_pairs` has made the token ids

    def stop(self, what: str) -> None:
        raise InputError(
            f"training step {self.state.global_step + 1}: {what} is not finite; look at the pairs of ids "
            f"{', '.join(self.ids)}, or lower training.lr"
        )

    def _compute_loss(self, model, inputs, return_outputs):
        mode = "train" if model.training else "eval"
        lengths = inputs["response_mask"].sum(1)  # (2B,) tokens, end-of-turn included
        policy_logps = response_logprobs(model, inputs).sum(1)  # (2B,)
        if mode == "train":
            self.ids += inputs["ids"]
        if not torch.isfinite(policy_logps).all():
            self.ids = inputs["ids"]
            self.stop("a log-probability")
        chosen_logps, rejected_logps = policy_logps.chunk(2)
        nll = nll_loss(chosen_logps, lengths.chunk(2)[0])
        metrics = {"nll_loss": nll, "logps/chosen": chosen_logps, "logps/rejected": rejected_logps}
        if self.loss == "kto":
            losses, rewards, kl = self._kto(model, inputs, policy_logps)
            preference = (losses[: len(nll)] + losses[len(nll) :]) / 2
            chosen_rewards, rejected_rewards = rewards.chunk(2)
            metrics |= {"kl": kl}
        else:
            preference, chosen_rewards, rejected_rewards = dpo_loss(
                chosen_logps,
                rejected_logps,
                inputs["ref_chosen_logps"],
                inputs["ref_rejected_logps"],
                beta=self.beta,
            )
        metrics |= {
            f"{self.loss}_loss": preference,
            "rewards/chosen": chosen_rewards,
            "rewards/rejected": rejected_rewards,
            "rewards/margins": chosen_rewards - rejected_rewards,
            "rewards/accuracies": (chosen_rewards > rejected_rewards).float(),
        }
        for name, values in metrics.items():
            self._metrics[mode][name].append(self.accelerator.gather(values.detach()).mean().item())
        return (preference + self.nll * nll).mean() if mode == "train" else preference.mean()

    def _kto(self, model, inputs, policy_logps):
        """KTO's losses and rewards, (2B,), and the KL divergence as estimated from responses to other prompts."""
        other = {
            name.removeprefix("other_"): value
            for name, value in inputs.items()
            if name.startswith("other_")
        }
        with torch.no_grad():
            policy = response_logprobs(model, other).sum(1)
        kl = policy - torch.cat([inputs[f"ref_other_{side}_logps"] for side in SIDES])
        kl = self.accelerator.gather(kl).mean()
        ref_logps = torch.cat([inputs[f"ref_{side}_logps"] for side in SIDES])
        desirable = (
            torch.arange(len(policy_logps), device=policy_logps.device) < len(policy_logps) // 2
        )
        return *kto_loss(policy_logps, ref_logps, desirable, kl, beta=self.beta), kl


def newest_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written whole. The trainer's state is written last; a torn one is no JSON."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            if processes.is_main():
                print(
                    f"{path.name}: not written whole, going on from the one before it", flush=True
                )
            continue
        return str(path)
    return None
