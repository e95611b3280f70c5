"""Supervised fine-tuning, from a base that only goes on with texts to π_I, by TRL's SFTTrainer:

    minimise   mean over the responses' tokens of   −log π(y_t | x, y_<t)

The mean is of a forward pass' responses (`sft.micro_batch`). TRL's own loss runs the output head on
every position on a CPU, the prompts' included, which takes most of the time of a small model with a
large vocabulary; log-probabilities are those of `xlnb.logprobs` here.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import SFTConfig, SFTTrainer

from xlnb.common.errors import InputError
from xlnb.engine.trainer import Progress, StopAtNaN, newest_checkpoint
from xlnb.inputs.demonstrations import Demonstration
from xlnb.logprobs import response_logprobs
from xlnb.models.adapters import new_adapter
from xlnb.models.base import read_base, read_config
from xlnb.models.packing import collate
from xlnb.presets import SFT, Models
from xlnb.training import checkpoint_errors, shared_arguments


class Tuner(SFTTrainer):
    """TRL's trainer on rows of token ids, with `response_logprobs` for its loss."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.ids: list[str] = []
        self.add_callback(StopAtNaN(self))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        logps = response_logprobs(model, inputs)
        loss = -logps.sum() / inputs["response_mask"].sum()
        if not torch.isfinite(loss):
            self.stop("the loss")
        return loss

    def stop(self, what: str) -> NoReturn:
        step = self.state.global_step + 1
        raise InputError(f"fine-tuning step {step}: {what} is not finite; lower sft.lr")


def _collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    prompts = [row["input_ids"][: row["prompt"]] for row in rows]
    responses = [row["input_ids"][row["prompt"] :] for row in rows]
    return collate(prompts, responses)


def tune_adapter(
    models: Models,
    tokenizer: PreTrainedTokenizerBase,
    given: Sequence[Demonstration],
    config: SFT,
    *,
    seed: int,
    checkpoints: Path,
    label: str,
) -> tuple[PeftModel, list[dict[str, float]]]:
    """A fresh adapter on the base, trained on the demonstrations, and the log, a record a step.

    Checkpoints go to `checkpoints` every `save_steps`; from the newest whole one there training
    goes on.
    """
    torch.manual_seed(seed)
    model = new_adapter(read_base(models), models.base, config)
    rows = []
    for prompt, response in given:
        rows.append({"input_ids": [*prompt, *response], "prompt": len(prompt)})
    arguments = SFTConfig(
        **shared_arguments(config, seed, checkpoints, model, label=label), report_to="none"
    )
    trainer = Tuner(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=_collate,
        processing_class=tokenizer,
    )
    for parameter in model.parameters():
        # TRL casts adapters on quantised bases to bf16, in which small updates are lost.
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Progress(label))
    with checkpoint_errors(checkpoints):
        trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints))
    log = [record for record in trainer.state.log_history if "loss" in record]
    return model.eval(), log


def save_merged(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, models: Models, folder: Path
) -> None:
    """Write the base with the adapter added to its weights, in the type that the base is stored in,
    as a checkpoint: weights that were not quantised, so that loading it quantises once.

    Raises InputError, and writes nothing, where a value is not finite.
    """
    saving = folder / ".saving"
    shutil.rmtree(saving, ignore_errors=True)
    with checkpoint_errors(folder):
        model.save_pretrained(str(saving / "adapter"))
        plain = replace(models, quantization="none", dtype="float32", shard=False)
        # where there is room for it besides the model that was trained
        whole = read_base(plain, on_cpu=True)
        with_adapter = PeftModel.from_pretrained(whole, str(saving / "adapter"))
        merged: Any = with_adapter.merge_and_unload(safe_merge=False)
        for name, parameter in merged.named_parameters():
            if not torch.isfinite(parameter).all():
                raise InputError(f"{folder}: {name} is not finite, nothing is saved; lower sft.lr")
        stored = read_config(models).dtype or torch.float32
        merged.to(stored).save_pretrained(str(saving))
        tokenizer.save_pretrained(str(saving))
        shutil.rmtree(saving / "adapter")
        for path in sorted(saving.iterdir()):
            os.replace(path, folder / path.name)
    saving.rmdir()
