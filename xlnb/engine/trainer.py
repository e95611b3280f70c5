"""What is overridden of TRL's `DPOTrainer` (1.16). All else is TRL's and transformers' own: loops,
optimiser, schedule, order of the data, checkpoints, several processes.

| of TRL                    | why not as it is                    | what happens instead           |
|---------------------------|-------------------------------------|--------------------------------|
| `compute_loss`, public    | its NLL weighs long responses more, | `objective`, passed in, gives  |
|                           | and one trainer knows DPO or KTO    | the loss and what is logged    |
| `log`, public             | it logs the metrics of TRL's loss   | those of `objective` are       |
| `_prepare_dataset`        | it wants text, and tokenises it     | rows hold ids: left as is      |
| the adapter `ref`, made   | a copy of the start, to compute the | removed: rows hold the         |
| in `__init__`             | reference anew in every step        | reference's log-probabilities  |
| the adapter cast to bf16, | its first step would not cost ln 2, | the values before it are put   |
| in `__init__` (quantised) | and small updates would be lost     | back, in fp32                  |

Beside it two callbacks, which are public: a progress bar, and a stop before an update that is
not finite.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from zipfile import BadZipFile, ZipFile

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm
from transformers import TrainerCallback
from trl import DPOTrainer

from xlnb.common import interruption, processes
from xlnb.common.errors import InputError

# (model, batch, gather) to the loss of a micro-batch and what is logged of it, a mean over pairs.
# `gather` concatenates tensors of all processes. Raises FloatingPointError, saying what is not
# finite.
LossOfBatch = Callable[[Any, dict[str, Any], Callable], tuple[Tensor, dict[str, Tensor]]]


class PreferenceTrainer(DPOTrainer):
    """TRL's DPOTrainer on rows of token ids, its loss given by `objective`."""

    def __init__(self, *, objective: LossOfBatch, model: PeftModel, **kwargs: Any):
        self.objective: LossOfBatch = objective
        # of the pairs that the coming update has seen
        self.ids: list[str] = []
        # a value a micro-batch since the last record of the log, by mode and name
        self.metrics: dict[str, dict[str, list[float]]] = {
            "train": defaultdict(list),
            "eval": defaultdict(list),
        }
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        start = [parameter.data for parameter in trained]
        super().__init__(model=model, **kwargs)
        model.delete_adapter("ref")
        for parameter, values in zip(trained, start, strict=True):
            parameter.data = values.float()
        self.add_callback(StopAtNaN(self))

    def _prepare_dataset(self, dataset, *args):
        return dataset

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        mode = "train" if model.training else "eval"
        if mode == "train":
            self.ids += inputs["ids"]
        try:
            loss, metrics = self.objective(model, inputs, self.accelerator.gather)
        except FloatingPointError as error:
            self.ids = inputs["ids"]
            self.stop(f"{error}")
        for name, values in metrics.items():
            mean = self.accelerator.gather(values.detach()).mean().item()
            self.metrics[mode][name].append(mean)
        return loss

    def log(self, logs, start_time=None):
        model: Any = self.model
        mode, prefix = ("train", "") if model.training else ("eval", "eval_")
        for name, values in self.metrics[mode].items():
            logs[f"{prefix}{name}"] = sum(values) / len(values)
        self.metrics[mode].clear()
        super().log(logs, start_time)

    def stop(self, what: str) -> NoReturn:
        raise InputError(
            f"training step {self.state.global_step + 1}: {what} is not finite; look at the pairs "
            f"of ids {', '.join(self.ids)}, or lower training.lr"
        )


class StopAtNaN(TrainerCallback):
    """Stop before an update whose gradient is not finite, so that no checkpoint ever holds what it
    would leave.

    Where a loss is scaled, for float16, a gradient may be infinite because it is scaled too much:
    the scaler leaves that update out and halves its scale, and a scale of 1 has the last word.
    """

    def __init__(self, trainer: Any):
        # with `ids` and `stop`, as a `PreferenceTrainer`
        self.trainer = trainer
        self.left_out = 0

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        finite = [torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None]
        if not torch.stack(finite).all():
            scaler = self.trainer.accelerator.scaler
            if scaler is None or scaler.get_scale() <= 1:
                self.trainer.stop("the gradient")
            self.left_out += 1
        self.trainer.ids.clear()

    def on_train_end(self, args, state, control, **kwargs):
        if self.left_out and processes.is_main():
            print(
                f"{self.left_out} of {state.max_steps} updates were left out until the loss was "
                "scaled to what float16 can hold",
                flush=True,
            )


class Progress(TrainerCallback):
    """One progress bar with the loss and the margin, in place of a printed dictionary a step. An
    interruption that something has lost ends the training behind its step."""

    def __init__(self, label: str):
        self.label = label

    def on_train_begin(self, args, state, control, **kwargs):
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=self.label,
            disable=not processes.is_main(),
        )

    def on_step_end(self, args, state, control, **kwargs):
        interruption.go_on()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            shown = {"loss": f"{logs['loss']:.3f}"}
            if "rewards/margins" in logs:
                shown["margin"] = f"{logs['rewards/margins']:.3f}"
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


def newest_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written whole and is undamaged."""
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    for path in reversed(checkpoints):
        if _is_whole(path):
            return str(path)
        if processes.is_main():
            print(f"{path.name}: not written whole, going on from the one before it", flush=True)
    return None


def _is_whole(checkpoint: Path) -> bool:
    """The trainer's state is written last; a torn one is no JSON. Tensors can be read and are
    finite, and what is in zip files has its checksums."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
        for path in checkpoint.glob("*.safetensors"):
            if not all(torch.isfinite(tensor).all() for tensor in load_file(path).values()):
                return False
        for pattern in ("*.pt", "*.pth"):
            if any(ZipFile(path).testzip() for path in checkpoint.glob(pattern)):
                return False
    except (OSError, ValueError, SafetensorError, BadZipFile, EOFError, zlib.error):
        return False
    return True
