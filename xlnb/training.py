""""""

import os
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, PrinterCallback
from transformers.integrations import is_tensorboard_available, is_wandb_available
from trl import DPOConfig

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.engine.rows import PairCollator, sides_of
from xlnb.engine.trainer import DPONLLTrainer, Progress, newest_checkpoint
from xlnb.logprobs import sequence_logprobs
from xlnb.models.adapters import active
from xlnb.models.base import DEVICE
from xlnb.models.sharding import in_step
from xlnb.presets import Training

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
    if training.batch % (training.micro_batch * processes.world()):
        count = f" × {processes.world()} processes" if processes.world() > 1 else ""
        raise InputError(
            f"{section}.batch {training.batch} must be a multiple of {section}.micro_batch "
            f"{training.micro_batch}{count}"
        )
    if training.report_to != "none" and not LOGGERS[training.report_to]():
        raise InputError(
            f"{section}.report_to: {training.report_to} is not installed (pip install {training.report_to})"
        )


def add_reference(
    model: PeftModel, rows: list[dict[str, Any]], adapter: str, batch_tokens: int
) -> None:
    """Log-probabilities of a row's responses under the policy's start, which is DPO's own reference (π^t).

    Computed once for all steps. They are conditioned on the prompt that is trained on: annotation scores, which are
    conditioned on the English one, are not a substitute. Several processes share the rows out and all get all values.
    """
    own = processes.mine(rows)
    prompts = [row["prompt_ids"] for row in own]
    for side in sides_of(rows):
        responses = [row[f"{side}_ids"] for row in own]
        with active(model, adapter), in_step(model):
            logprobs = sequence_logprobs(model, prompts, responses, batch_tokens=batch_tokens)
        for rank, sums in enumerate(processes.gather([values.sum().item() for values in logprobs])):
            for row, value in zip(rows[rank :: processes.world()], sums, strict=True):
                row[f"ref_{side}_logps"] = value


class Trained(NamedTuple):
    log: list[dict[str, float]]  # a record a step
    held_out: list[
        dict[str, float]
    ]  # {"step", "loss"} of held-out pairs, whenever a checkpoint was written
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
    together = training.micro_batch * processes.world()
    if len(rows) % together and processes.world() > 1 and processes.is_main():
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
    start = [
        (parameter, parameter.data) for parameter in model.parameters() if parameter.requires_grad
    ]
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
    model.delete_adapter(
        "ref"
    )  # TRL's frozen copy of the start; `add_reference` has done its work already
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
        step=int(min(losses, key=lambda r: r["loss"])["step"])
        if losses
        else trainer.state.global_step,
    )
