"""Training: QLoRA DPO (or KTO) + NLL, from π^{t−1} to π^t. With `engine/` the only importer of TRL.

Reference log-probabilities are computed once (`add_reference`), then `train_adapter` minimises an
`objective.Objective` with TRL's trainer, and `save_adapter` writes what came of it.
"""

import os
import shutil
from collections import ChainMap
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from peft import PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase, PrinterCallback
from transformers.integrations import is_tensorboard_available, is_wandb_available
from trl import DPOConfig

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.decay import decayed
from xlnb.engine.rows import Row, collate_pairs, sides_of
from xlnb.engine.trainer import PreferenceTrainer, Progress, newest_checkpoint
from xlnb.logprobs import sequence_logprobs
from xlnb.losses import LOSSES
from xlnb.models.adapters import active, train_only
from xlnb.models.base import DEVICE
from xlnb.models.hub import ADAPTER_FILES
from xlnb.models.sharding import in_step
from xlnb.objective import Objective
from xlnb.presets import SFT, Training
from xlnb.presets.values import layer_numbers

OPTIMIZERS = {"adamw": "adamw_torch_fused", "paged_adamw_8bit": "paged_adamw_8bit"}

LOGGERS = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available}


def check_training(training: Training, section: str = "training") -> None:
    """Raises InputError for a setting that cannot be here, before anything is computed or removed.
    `section`: the preset's."""
    check_dealt(training, section)
    if training.report_to != "none" and not LOGGERS[training.report_to]():
        raise InputError(
            f"{section}.report_to: {training.report_to} is not installed "
            f"(pip install {training.report_to})"
        )


def check_dealt(training: Training | SFT, section: str) -> None:
    """Raises InputError where the processes that there are cannot share the updates out."""
    for engine in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{engine}", "").lower() == "true":
            raise InputError(
                f"accelerate is set to {engine}; adapters are trained by DDP, on a base that "
                "models.shard=true deals out over the processes (start with: accelerate launch "
                "--multi_gpu)"
            )
    if training.batch % (at_once(training) * processes.world()):
        count = f" × {processes.world()} processes" if processes.world() > 1 else ""
        raise InputError(
            f"{section}.batch {training.batch} must be a multiple of {section}.micro_batch "
            f"{training.micro_batch}{count}"
        )


def at_once(training: Training | SFT) -> int:
    """Pairs that a process computes together: its part of a batch, at most `micro_batch`."""
    return max(1, min(training.micro_batch, training.batch // processes.world()))


def add_reference(
    model: PeftModel, rows: list[Row], adapter: str, batch_tokens: int, gamma: float = 1.0
) -> None:
    """Log-probabilities of the rows' responses under the policy's start, DPO's own reference (π^t),
    decayed by `gamma`.

    Computed once for all steps, and once for a response that several pairs hold. They are
    conditioned on the prompt that is trained on: annotation scores, which are conditioned on the
    English one, are not a substitute. Several processes share the responses out and all get all
    values.
    """
    places = list(product(rows, sides_of(rows)))
    own = processes.mine(list(dict.fromkeys(_answer(row, side) for row, side in places)))
    prompts, responses = zip(*own, strict=True) if own else ((), ())
    with active(model, adapter), in_step(model):
        logprobs = sequence_logprobs(model, prompts, responses, batch_tokens=batch_tokens)
    sums = [decayed(values, gamma).item() for values in logprobs]
    answers = ChainMap(*processes.gather(dict(zip(own, sums, strict=True))))
    for row, side in places:
        row[f"ref_{side}_logps"] = answers[_answer(row, side)]


def _answer(row: Row, side: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(row["prompt_ids"]), tuple(row[f"{side}_ids"])


class Trained(NamedTuple):
    """What training.json says of a training."""

    # a record a step
    log: list[dict[str, float]]
    # {"step", "loss"} of held-out pairs, whenever a checkpoint was written
    held_out: list[dict[str, float]]
    # of the weights that were kept
    step: int


def train_adapter(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[Row],
    training: Training,
    *,
    seed: int,
    checkpoints: Path,
    held_out: list[Row] | None = None,
    label: str = "training",
) -> Trained:
    """Train the model's `default` adapter in place on tokenised rows.

    Checkpoints go to `checkpoints` every `save_steps`; where that folder already holds a whole one,
    training goes on from the newest, with optimiser, schedule and data order as they were. With
    rows in `held_out`, the adapter ends as the checkpoint with the least DPO (or KTO) loss on them,
    else as the last step left it.

    Several processes (DDP) take the micro-batches of an update in turn and average their gradients:
    the same pairs an update as one process, and the same adapter within the rounding of fp32 sums.
    Only where the pairs do not fill their last micro-batches do the first ones of the epoch fill
    them up; the output says so. KTO estimates its KL term over the micro-batches of all processes,
    so that it depends on their number.
    """
    together = at_once(training) * processes.world()
    if len(rows) % together and processes.world() > 1 and processes.is_main():
        print(
            f"{label}: {len(rows)} pairs, {together} at a time: each epoch ends with its first "
            f"{-len(rows) % together} once more",
            flush=True,
        )
    if training.report_to == "tensorboard":
        # beside the checkpoints, which are removed at the end
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(checkpoints.parent.with_name("tensorboard"))
    args = _arguments(training, seed, checkpoints, model, held_out=bool(held_out), label=label)
    model.set_adapter("default")
    train_only(model, layer_numbers(training.layers), training.modules)
    trainer = PreferenceTrainer(
        objective=Objective.of(training),
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=tokenizer,
        data_collator=collate_pairs,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Progress(label))
    with checkpoint_errors(checkpoints):
        trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints))

    history = trainer.state.log_history
    losses = [{"step": r["step"], "loss": r["eval_loss"]} for r in history if "eval_loss" in r]
    kept = trainer.state.global_step
    if losses:
        kept = int(min(losses, key=lambda record: record["loss"])["step"])
    log = [record for record in history if "rewards/margins" in record]
    return Trained(log=log, held_out=losses, step=kept)


@contextmanager
def checkpoint_errors(folder: Path) -> Iterator[None]:
    """A checkpoint that cannot be written, as torch, safetensors and the system say it, in one
    line."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        said = f"{error}".strip().partition("\n")[0]
        torn = "PytorchStreamWriter" in said or "unexpected pos" in said
        if not torn and not isinstance(error, OSError | SafetensorError):
            raise
        raise InputError(
            f"{folder}: a checkpoint could not be written ({said}); free some disk and start "
            "again, training goes on from the one before it"
        ) from error


def _arguments(
    training: Training,
    seed: int,
    checkpoints: Path,
    model: PeftModel,
    *,
    held_out: bool,
    label: str,
) -> DPOConfig:
    optimizer = training.optimizer
    if optimizer == "auto":
        optimizer = "paged_adamw_8bit" if DEVICE.type == "cuda" else "adamw"
    reads_others = LOSSES[training.loss].reads_others
    return DPOConfig(
        **shared_arguments(training, seed, checkpoints, model, label=label),
        # One at a time each held-out pair counts once, whatever the number of processes. What
        # reads other prompts' responses wants company.
        per_device_eval_batch_size=training.micro_batch if reads_others else 1,
        optim=OPTIMIZERS[optimizer],
        beta=training.beta,
        eval_strategy="steps" if held_out else "no",
        eval_steps=training.save_steps,
        # the best by its loss
        load_best_model_at_end=held_out,
        report_to=training.report_to,
    )


def shared_arguments(
    training: Training | SFT, seed: int, checkpoints: Path, model: PeftModel, *, label: str
) -> dict[str, Any]:
    """What TRL's trainers are told alike. On a GPU they compute in the type that the model does;
    float16 with its loss scaled."""
    weights = model.get_input_embeddings().weight
    dtype, on = weights.dtype, weights.device.type
    on_gpu = on == "cuda"
    if on == "mps" and dtype != torch.float32:
        raise InputError("models.device mps: training there is in float32; leave models.dtype out")
    return {
        "output_dir": str(checkpoints),
        "run_name": label,
        "max_steps": training.steps,
        "per_device_train_batch_size": at_once(training),
        "gradient_accumulation_steps": training.batch // (at_once(training) * processes.world()),
        "learning_rate": training.lr,
        "lr_scheduler_type": "linear",
        "max_length": None,
        "gradient_checkpointing": training.gradient_checkpointing,
        "logging_steps": 1,
        "save_steps": training.save_steps,
        "save_total_limit": 2,
        "disable_tqdm": True,
        "bf16": on_gpu and dtype == torch.bfloat16,
        "fp16": on_gpu and dtype == torch.float16,
        "ddp_find_unused_parameters": False,
        "use_cpu": on == "cpu",
        "dataloader_pin_memory": on_gpu,
        "remove_unused_columns": False,
        "seed": seed,
        "data_seed": seed,
    }


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write the `default` adapter as PEFT's two files, which plain PEFT loads.

    Raises InputError, and writes nothing, where one of its values is not finite.
    """
    for name, parameter in model.named_parameters():
        if ".default." in name and not torch.isfinite(parameter).all():
            raise InputError(
                f"{folder}: the trained adapter is not finite ({name}), and is not saved; lower "
                "training.lr"
            )
    # Where a kill left some of it.
    saving = folder / ".saving"
    shutil.rmtree(saving, ignore_errors=True)
    config: Any = model.peft_config["default"]
    # a set, whose order PEFT would write as it comes
    config.target_modules = sorted(config.target_modules)
    with checkpoint_errors(folder):
        model.save_pretrained(str(saving), selected_adapters=["default"])
        for name in ADAPTER_FILES:
            os.replace(saving / name, folder / name)
    shutil.rmtree(saving)
