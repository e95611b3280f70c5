"""The run folder and its models."""

from dataclasses import dataclass, replace
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.models.hub import adapter_folder
from xlnb.presets import Models, Preset


@dataclass(frozen=True)
class Run:
    """A run folder and its resolved preset. Models are named sft (π_I), dpo (π^0), icr1 (π^1), icr2 (π^2) …"""

    path: Path
    preset: Preset

    @property
    def models(self) -> list[str]:
        return ["sft", "dpo", *(f"icr{t}" for t in range(1, self.preset.iterations + 1))]

    @property
    def is_lab(self) -> bool:
        """Whether the prompts are the lab's, whose truth the oracle knows."""
        return not self.preset.prompts.path

    def folder(self, iteration: int) -> Path:
        """Where iteration t makes π^t: `dpo` for the English iteration 0, `icr<t>` after it."""
        if not 0 <= iteration <= self.preset.iterations:
            raise InputError(
                f"iteration {iteration}: this run has iterations 0 to {self.preset.iterations}"
            )
        return self.path / self.models[iteration + 1]

    def base(self, model: str) -> Models:
        """What a model's adapter stands on: π_I's checkpoint, or π^0's where that is a checkpoint of its own."""
        models = self.preset.models
        return replace(models, base=models.dpo) if models.dpo and model != "sft" else models

    def adapter(self, model: str) -> Path | None:
        """The folder of a model's adapter; None for `sft`, which is the bare base, and for a `dpo` that is one."""
        if model not in self.models:
            raise InputError(f"unknown model '{model}'; this run has {', '.join(self.models)}")
        if model == "sft" or (model == "dpo" and self.preset.models.dpo):
            return None
        if model == "dpo" and self.preset.models.dpo_adapter:
            return adapter_folder(self.preset.models.dpo_adapter)
        return self.path / model / "adapter"
