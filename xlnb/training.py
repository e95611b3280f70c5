"""Training: QLoRA DPO (or KTO) + NLL. The only importer of TRL."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from transformers.integrations import is_tensorboard_available, is_wandb_available
from trl import DPOConfig, DPOTrainer

from xlnb import parallel
from xlnb.errors import InputError
from xlnb.logprobs import collate, response_logprobs, sequence_logprobs
from xlnb.losses import dpo_loss, kto_loss, nll_loss
from xlnb.models import DEVICE, active, prompt_ids, response_ids
from xlnb.presets import Training
from xlnb.sharding import in_step

SIDES = ("chosen", "rejected")
OPTIMIZERS = {"adamw": "adamw_torch_fused", "paged_adamw_8bit": "paged_adamw_8bit"}
LOGGERS = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available}


def check_training(training: Training, section: str = "training") -> None:
    """Raises InputError for a setting that cannot be here, before anything is computed or removed. `section`: the
    preset's."""
    for engine in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{engine}", "").lower() == "true":
            raise InputError(
                f"accelerate is set to {engine}; adapters are trained by DDP, on a base that models.shard=true deals "
                "out over the processes (start with: accelerate launch --multi_gpu)"
            )
    if training.batch % (training.micro_batch * parallel.world()):
        count = f" × {parallel.world()} processes" if parallel.world() > 1 else ""
        raise InputError(
            f"{section}.batch {training.batch} must be a multiple of {section}.micro_batch "
            f"{training.micro_batch}{count}"
        )
    if training.report_to != "none" and not LOGGERS[training.report_to]():
        raise InputError(
            f"{section}.report_to: {training.report_to} is not installed (pip install {training.report_to})"
        )


def tokenize_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[dict], max_tokens: int
) -> tuple[list[dict[str, Any]], int]:
    """Preference pairs (TRL's conversational format) as token ids, and how many were dropped as longer than
    `max_tokens`. Nothing is truncated: a response without its end teaches to ramble."""
    rows = []
    for number, pair in enumerate(pairs, 1):
        instruction = pair["prompt"][0]["content"]
        row = {
            "prompt_id": str(pair.get("prompt_id", number)),
            "lang": pair.get("lang", ""),
            "prompt_ids": prompt_ids(tokenizer, instruction),
            "chosen_ids": response_ids(tokenizer, instruction, pair["chosen"][0]["content"]),
            "rejected_ids": response_ids(tokenizer, instruction, pair["rejected"][0]["content"]),
        }
        if len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) <= max_tokens:
            rows.append(row)
    return rows, len(pairs) - len(rows)


def hold_out(
    rows: list[dict[str, Any]], fraction: float, section: str = "training"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows to train on and rows kept out, by a hash of the prompt's id: a prompt is out in all languages or in none.
    `section`: the preset's."""

    def held(row: dict[str, Any]) -> bool:
        return int(hashlib.sha256(row["prompt_id"].encode()).hexdigest()[:8], 16) < fraction * 16**8

    kept, out = [row for row in rows if not held(row)], [row for row in rows if held(row)]
    if fraction and not (kept and out):
        raise InputError(f"{section}.eval_fraction {fraction}: it holds out {len(out)} of {len(rows)} pairs; change it")
    return kept, out


def add_mismatched(rows: list[dict[str, Any]], max_tokens: int) -> None:
    """Give each row responses of another prompt, the next one's that fit, from which KTO estimates its KL term."""
    for start, row in enumerate(rows):
        space = max_tokens - len(row["prompt_ids"])
        for other in [*rows[start + 1 :], *rows[:start]]:
            if other["prompt_id"] != row["prompt_id"] and all(len(other[f"{side}_ids"]) <= space for side in SIDES):
                row |= {f"other_{side}_ids": other[f"{side}_ids"] for side in SIDES}
                break
        else:
            others = len({other["prompt_id"] for other in rows}) - 1
            raise InputError(
                f"id {row['prompt_id']}: none of {others} other prompts here has a response that fits beside it, which "
                "KTO needs (held-out prompts are by themselves)"
            )


def add_reference(model: PeftModel, rows: list[dict[str, Any]], adapter: str, batch_tokens: int) -> None:
    """Log-probabilities of a row's responses under the policy's start, which is DPO's own reference (π^t).

    Computed once for all steps. They are conditioned on the prompt that is trained on: annotation scores, which are
    conditioned on the English one, are not a substitute. Several processes share the rows out and all get all values.
    """
    own = parallel.mine(rows)
    prompts = [row["prompt_ids"] for row in own]
    for side in _sides(rows):
        responses = [row[f"{side}_ids"] for row in own]
        with active(model, adapter), in_step(model):
            logprobs = sequence_logprobs(model, prompts, responses, batch_tokens=batch_tokens)
        for rank, sums in enumerate(parallel.gather([values.sum().item() for values in logprobs])):
            for row, value in zip(rows[rank :: parallel.world()], sums, strict=True):
                row[f"ref_{side}_logps"] = value


class PairCollator:
    """Rows of token ids as one batch for `response_logprobs`: all chosen responses, then all rejected ones. What KTO's
    KL term needs follows in the same form, its names with `other_` in front."""

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        prompts, sides = [row["prompt_ids"] for row in rows] * 2, _sides(rows)
        batch: dict[str, Any] = {"ids": [f"{row['prompt_id']} ({row['lang']})" for row in rows]}
        for prefix in ("", "other_")[: len(sides) // 2]:
            laid_out = collate(prompts, [row[f"{prefix}{side}_ids"] for side in SIDES for row in rows])
            batch |= {prefix + name: tensor for name, tensor in laid_out.items()}
        return batch | {f"ref_{side}_logps": torch.tensor([row[f"ref_{side}_logps"] for row in rows]) for side in sides}


def _sides(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{prefix}{side}" for prefix in ("", "other_") for side in SIDES if f"{prefix}{side}_ids" in rows[0]]


class Progress(TrainerCallback):
    """One progress bar with the loss and the margin, in place of a printed dictionary a step."""

    def __init__(self, label: str):
        self.label = label

    def on_train_begin(self, args, state, control, **kwargs):
        hidden = not parallel.is_main()
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.label, disable=hidden)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "rewards/margins" in logs:
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}", margin=f"{logs['rewards/margins']:.3f}", refresh=False)
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
                chosen_logps, rejected_logps, inputs["ref_chosen_logps"], inputs["ref_rejected_logps"], beta=self.beta
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
        other = {name.removeprefix("other_"): value for name, value in inputs.items() if name.startswith("other_")}
        with torch.no_grad():
            policy = response_logprobs(model, other).sum(1)
        kl = policy - torch.cat([inputs[f"ref_other_{side}_logps"] for side in SIDES])
        kl = self.accelerator.gather(kl).mean()
        ref_logps = torch.cat([inputs[f"ref_{side}_logps"] for side in SIDES])
        desirable = torch.arange(len(policy_logps), device=policy_logps.device) < len(policy_logps) // 2
        return *kto_loss(policy_logps, ref_logps, desirable, kl, beta=self.beta), kl


class Trained(NamedTuple):
    log: list[dict[str, float]]  # a record a step
    held_out: list[dict[str, float]]  # {"step", "loss"} of held-out pairs, whenever a checkpoint was written
    step: int  # of the weights that were kept


def train_adapter(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    training: Training,
    *,
    seed: int,
    checkpoints: Path,
    held_out: list[dict[str, Any]] | None = None,
    label: str = "training",
) -> Trained:
    """Train the model's `default` adapter in place on tokenised rows.

    Checkpoints go to `checkpoints` every `save_steps`; where that folder already holds a whole one, training goes on
    from the newest, with optimiser, schedule and data order as they were. With rows in `held_out`, the adapter ends as
    the checkpoint with the least DPO (or KTO) loss on them, else as the last step left it.

    Several processes (DDP) take the micro-batches of an update in turn and average their gradients: the same pairs an
    update as one process with the same `micro_batch`, and the same adapter within the rounding of fp32 sums. Only where
    the pairs do not fill their last micro-batches do the first ones of the epoch fill them up; the output says so. KTO
    estimates its KL term over the micro-batches of all processes, so that it depends on their number.
    """
    together = training.micro_batch * parallel.world()
    if len(rows) % together and parallel.world() > 1 and parallel.is_main():
        print(
            f"{label}: {len(rows)} pairs, {together} at a time: each epoch ends with its first {-len(rows) % together} "
            "once more",
            flush=True,
        )
    optimizer = "paged_adamw_8bit" if DEVICE.type == "cuda" else "adamw"
    if training.report_to == "tensorboard":  # beside the checkpoints, which are removed at the end
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(checkpoints.parent.with_name("tensorboard"))
    args = DPOConfig(
        output_dir=str(checkpoints),
        run_name=label,
        max_steps=training.steps,
        per_device_train_batch_size=training.micro_batch,
        # Whatever the number of processes, each held-out pair then counts once. KTO's KL term wants company.
        per_device_eval_batch_size=1 if training.loss == "dpo" else training.micro_batch,
        gradient_accumulation_steps=training.batch // together,
        learning_rate=training.lr,
        lr_scheduler_type="linear",
        optim=OPTIMIZERS[optimizer if training.optimizer == "auto" else training.optimizer],
        beta=training.beta,
        max_length=None,
        gradient_checkpointing=training.gradient_checkpointing,
        logging_steps=1,
        save_steps=training.save_steps,
        save_total_limit=2,
        eval_strategy="steps" if held_out else "no",
        eval_steps=training.save_steps,
        load_best_model_at_end=bool(held_out),  # by the loss
        report_to=training.report_to,
        disable_tqdm=True,
        bf16=DEVICE.type == "cuda",
        ddp_find_unused_parameters=False,
        use_cpu=DEVICE.type == "cpu",
        dataloader_pin_memory=DEVICE.type == "cuda",
        remove_unused_columns=False,
        seed=seed,
        data_seed=seed,
    )
    model.set_adapter("default")
    start = [(parameter, parameter.data) for parameter in model.parameters() if parameter.requires_grad]
    trainer = DPONLLTrainer(
        nll=training.nll,
        loss=training.loss,
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=tokenizer,
        data_collator=PairCollator(),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Progress(label))
    model.delete_adapter("ref")  # TRL's frozen copy of the start; `add_reference` has done its work already
    # TRL rounds a quantised model's adapter to bf16. From its fp32 values step 1 costs ln 2 exactly, and small updates
    # count.
    for parameter, values in start:
        parameter.data = values.float()
    trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints))
    history = trainer.state.log_history
    losses = [{"step": r["step"], "loss": r["eval_loss"]} for r in history if "eval_loss" in r]
    return Trained(
        log=[record for record in history if "rewards/margins" in record],
        held_out=losses,
        step=int(min(losses, key=lambda r: r["loss"])["step"]) if losses else trainer.state.global_step,
    )


def newest_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written whole. The trainer's state is written last; a torn one is no JSON."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            if parallel.is_main():
                print(f"{path.name}: not written whole, going on from the one before it", flush=True)
            continue
        return str(path)
    return None
