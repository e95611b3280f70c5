"""Training: QLoRA DPO + NLL. The only importer of TRL."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer

from xlnb import parallel
from xlnb.errors import InputError
from xlnb.logprobs import collate, response_logprobs, sequence_logprobs
from xlnb.losses import dpo_loss, nll_loss
from xlnb.models import DEVICE, active, prompt_ids, response_ids
from xlnb.presets import Training


def tokenize_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[dict], max_tokens: int
) -> tuple[list[dict[str, Any]], int]:
    """Preference pairs (TRL's conversational format) as token ids, and how many were dropped as longer than
    `max_tokens`. Nothing is truncated: a response without its end teaches to ramble."""
    rows = []
    for pair in pairs:
        instruction = pair["prompt"][0]["content"]
        row = {
            "prompt_ids": prompt_ids(tokenizer, instruction),
            "chosen_ids": response_ids(tokenizer, instruction, pair["chosen"][0]["content"]),
            "rejected_ids": response_ids(tokenizer, instruction, pair["rejected"][0]["content"]),
        }
        if len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) <= max_tokens:
            rows.append(row)
    return rows, len(pairs) - len(rows)


def add_reference(model: PeftModel, rows: list[dict[str, Any]], adapter: str, batch_tokens: int) -> None:
    """Log-probabilities of both responses under the policy's start, which is DPO's own reference (π^t).

    Computed once for all steps. They are conditioned on the prompt that is trained on: annotation scores, which are
    conditioned on the English one, are not a substitute. Several processes share the rows out and all get all values.
    """
    own = parallel.mine(rows)
    prompts = [row["prompt_ids"] for row in own]
    with active(model, adapter):
        for side in ("chosen", "rejected"):
            responses = [row[f"{side}_ids"] for row in own]
            logprobs = sequence_logprobs(model, prompts, responses, batch_tokens=batch_tokens)
            for rank, sums in enumerate(parallel.gather([values.sum().item() for values in logprobs])):
                for row, value in zip(rows[rank :: parallel.world()], sums, strict=True):
                    row[f"ref_{side}_logps"] = value


class PairCollator:
    """Rows of token ids as one batch for `response_logprobs`: all chosen responses, then all rejected ones."""

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        prompts = [row["prompt_ids"] for row in rows]
        responses = [row["chosen_ids"] for row in rows] + [row["rejected_ids"] for row in rows]
        reference = {
            key: torch.tensor([row[key] for row in rows]) for key in ("ref_chosen_logps", "ref_rejected_logps")
        }
        return collate(prompts * 2, responses) | reference


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


class DPONLLTrainer(DPOTrainer):
    """TRL's DPOTrainer with the loss −log σ(β Δ) + c (−log π(y⁺|x) / |y⁺|), the NLL averaged per sequence.

    TRL's own "sft" loss averages over the micro-batch's tokens, which weighs long responses more (`losses.py`).
    """

    def __init__(self, *args: Any, nll: float, **kwargs: Any):
        self.nll = nll
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset, *args):
        return dataset  # `tokenize_pairs` has made the token ids

    def _compute_loss(self, model, inputs, return_outputs):
        lengths = inputs["response_mask"].sum(1)  # (2B,) tokens, end-of-turn included
        policy_logps = response_logprobs(model, inputs).sum(1)  # (2B,)
        if not torch.isfinite(policy_logps).all():
            raise InputError(
                f"training step {self.state.global_step + 1}: a log-probability is not finite; lower training.lr"
            )
        chosen_logps, rejected_logps = policy_logps.chunk(2)
        dpo, chosen_rewards, rejected_rewards = dpo_loss(
            chosen_logps, rejected_logps, inputs["ref_chosen_logps"], inputs["ref_rejected_logps"], beta=self.beta
        )
        nll = nll_loss(chosen_logps, lengths.chunk(2)[0])
        metrics = {
            "dpo_loss": dpo,
            "nll_loss": nll,
            "rewards/chosen": chosen_rewards,
            "rewards/rejected": rejected_rewards,
            "rewards/margins": chosen_rewards - rejected_rewards,
            "rewards/accuracies": (chosen_rewards > rejected_rewards).float(),
            "logps/chosen": chosen_logps,
            "logps/rejected": rejected_logps,
        }
        mode = "train" if model.training else "eval"
        for name, values in metrics.items():
            self._metrics[mode][name].append(self.accelerator.gather(values.detach()).mean().item())
        return (dpo + self.nll * nll).mean()


def train_adapter(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    training: Training,
    *,
    seed: int,
    checkpoints: Path,
    label: str = "training",
) -> list[dict[str, float]]:
    """Train the model's `default` adapter in place on tokenised rows; returns the log, a record a step.

    Checkpoints go to `checkpoints` every `save_steps`; where that folder already holds a whole one, training goes on
    from the newest, with optimiser, schedule and data order as they were.

    Several processes (DDP) take the micro-batches of an update in turn and average their gradients: the same pairs an
    update as one process with the same `micro_batch`, and the same adapter within the rounding of fp32 sums. Only where
    the pairs do not fill their last micro-batches do the first ones of the epoch fill them up; the output says so.
    """
    for engine in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{engine}", "").lower() == "true":
            raise InputError(
                f"accelerate is set to {engine}, which shards weights; adapters are trained by DDP, each "
                "process with a base of its own (start with: accelerate launch --multi_gpu)"
            )
    together = training.micro_batch * parallel.world()
    if training.batch % together:
        count = f" × {parallel.world()} processes" if parallel.world() > 1 else ""
        raise InputError(
            f"training.batch {training.batch} must be a multiple of training.micro_batch {training.micro_batch}{count}"
        )
    if parallel.world() > 1 and len(rows) % together and parallel.is_main():
        print(
            f"{label}: {len(rows)} pairs, {together} at a time: each epoch ends with its first {-len(rows) % together} "
            "once more",
            flush=True,
        )
    args = DPOConfig(
        output_dir=str(checkpoints),
        max_steps=training.steps,
        per_device_train_batch_size=training.micro_batch,
        gradient_accumulation_steps=training.batch // together,
        learning_rate=training.lr,
        lr_scheduler_type="linear",
        beta=training.beta,
        max_length=None,
        gradient_checkpointing=training.gradient_checkpointing,
        logging_steps=1,
        save_steps=training.save_steps,
        save_total_limit=2,
        report_to="none",
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
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
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
    return [record for record in trainer.state.log_history if "rewards/margins" in record]


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
