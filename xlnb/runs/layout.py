"""Where everything of a run lies. Stages, command line and notebooks all ask here.

runs/<name>/
  preset.json                          what the run is, and what made it
  prompts/<lang>.jsonl                 Prompt
  icr1/samples/<lang>.jsonl            Sample
  icr1/translations/<lang>.jsonl       Sample: the responses of `samples`, put into English
  icr1/logps/<scorer>/<lang>.jsonl     Logps (costly: models run here)
  icr1/scores/<lang>.jsonl             Score (arithmetic on them)
  icr1/pairs/<lang>.jsonl              Pair, and report.json
  icr1/adapter/                        π^1
  eval/<model>/<lang>/                 model_outputs.json, annotations.json
  metrics.json
  stages/<name>.json                   what each stage read and wrote, and whether it has finished
  history.jsonl                        the same of all that ever finished here, oldest first
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.files import relative
from xlnb.models.hub import adapter_folder
from xlnb.presets import Models, Preset, Training


@dataclass(frozen=True)
class Run:
    """A run folder and its resolved preset.

    Its models are named sft (π_I), dpo (π^0), icr1 (π^1), icr2 (π^2) …
    """

    path: Path
    preset: Preset

    @property
    def models(self) -> list[str]:
        return ["sft", "dpo", *(f"icr{t}" for t in range(1, self.preset.iterations + 1))]

    @property
    def is_lab(self) -> bool:
        """Whether the prompts are the lab's, whose truth the oracle knows."""
        return not self.preset.prompts.path

    @property
    def trains_dpo(self) -> bool:
        """Whether π^0 is made here, from English preferences, and not given."""
        return not (self.preset.models.dpo or self.preset.models.dpo_adapter)

    def iteration(self, number: int) -> "Iteration":
        """Iteration t, which makes π^t of π^{t−1}; 0 is English DPO, which makes π^0 of π_I."""
        if not 0 <= number <= self.preset.iterations:
            raise InputError(
                f"iteration {number}: this run has iterations 0 to {self.preset.iterations}"
            )
        return Iteration(self, number)

    @property
    def iterations(self) -> list["Iteration"]:
        """The cross-lingual ones: 1, 2 …"""
        return [Iteration(self, number) for number in range(1, self.preset.iterations + 1)]

    def made_by(self, model: str) -> "Iteration":
        """The iteration that makes a model other than `sft`, where it is not given."""
        return self.iteration(self.models.index(model) - 1)

    def evaluated(self, model: str) -> "Evaluated":
        return Evaluated(self, model)

    def base(self, model: str) -> Models:
        """What a model's adapter stands on: π_I's checkpoint, or π^0's where that is its own."""
        models = self.preset.models
        return replace(models, base=models.dpo) if models.dpo and model != "sft" else models

    def adapter(self, model: str) -> Path | None:
        """A model's adapter; None for `sft`, the bare base, and for a `dpo` that is a
        checkpoint."""
        if model not in self.models:
            raise InputError(f"unknown model '{model}'; this run has {', '.join(self.models)}")
        if model == "sft" or (model == "dpo" and self.preset.models.dpo):
            return None
        if model == "dpo" and self.preset.models.dpo_adapter:
            return adapter_folder(self.preset.models.dpo_adapter)
        return self.path / model / "adapter"

    def adapter_name(self, model: str) -> str | None:
        """What `models.adapters.active` is told of a model: its adapter's name, or None where the
        model is a bare base."""
        return None if self.adapter(model) is None else model

    @property
    def record(self) -> Path:
        return self.path / "preset.json"

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def prompts(self) -> Path:
        return self.path / "prompts"

    @property
    def prompt_files(self) -> list[Path]:
        return sorted(self.prompts.glob("*.jsonl"))

    @property
    def localised(self) -> Path:
        """The English prompts in other languages, and those that could not be put into them."""
        return self.path / "localised"

    def drafts(self, lang: str) -> Path:
        """A folder with drafts.jsonl, and back.jsonl, their translations into English again."""
        return self.path / "drafts" / lang

    def stamp(self, stage: str) -> Path:
        """The record of a stage, by its name, such as icr1/samples."""
        return self.path / "stages" / f"{stage.replace('/', '.')}.json"

    @property
    def stamps(self) -> dict[str, Path]:
        """Every stage's record, by the stage's name."""
        files = sorted((self.path / "stages").glob("*.json"))
        return {path.stem.replace(".", "/"): path for path in files}

    def set_aside(self) -> list[Path]:
        """What stages have set aside, which nothing reads: <name>.old, .old2 … (outermost only)."""
        found: list[Path] = []
        for path in sorted(self.path.rglob("*")):
            inside = any(path.is_relative_to(outer) for outer in found)
            if re.fullmatch(r"\.old\d*", path.suffix) and not inside:
                found.append(path)
        return found

    def makers(self, path: Path) -> Iterator[str]:
        """The names that the stage which makes this file of the run folder may have; none for a
        file elsewhere."""
        if not path.is_relative_to(self.path):
            return
        parts = Path(relative(path, self.path)).parts
        if parts[:1] == ("eval",):
            kinds = {"model_outputs.json": "responses", "annotations.json": "annotations"}
            yield "/".join((*parts[:2], kinds.get(parts[-1], "")))
            return
        for length in range(1, len(parts)):
            yield "/".join(parts[:length])


@dataclass(frozen=True)
class Iteration:
    """One iteration of a run: what it begins with, what it makes, and where that lies."""

    run: Run
    number: int

    @property
    def source(self) -> str:
        """The model that is sampled, that scores as the policy, and that training begins with."""
        return self.run.models[self.number]

    @property
    def target(self) -> str:
        """The model that it makes."""
        return self.run.models[self.number + 1]

    @property
    def section(self) -> str:
        """The preset's section that it trains by."""
        return "training" if self.number else "english"

    @property
    def training(self) -> Training:
        return self.run.preset.training if self.number else self.run.preset.english

    @property
    def folder(self) -> Path:
        return self.run.path / self.target

    @property
    def sample_files(self) -> list[Path]:
        """The samples of every language. Raises InputError where there are none yet."""
        files = sorted((self.folder / "samples").glob("*.jsonl"))
        if not files:
            raise InputError(f"{self.folder}/samples: no samples yet; run stage sample first")
        return files

    @property
    def langs(self) -> list[str]:
        """The languages that were sampled."""
        return [path.stem for path in self.sample_files]

    def samples(self, lang: str) -> Path:
        return self.folder / "samples" / f"{lang}.jsonl"

    def translations(self, lang: str) -> Path:
        return self.folder / "translations" / f"{lang}.jsonl"

    def logps(self, scorer: str, lang: str) -> Path:
        return self.folder / "logps" / scorer / f"{lang}.jsonl"

    def scores(self, lang: str) -> Path:
        return self.folder / "scores" / f"{lang}.jsonl"

    def pairs(self, lang: str) -> Path:
        return self.folder / "pairs" / f"{lang}.jsonl"

    @property
    def pair_files(self) -> list[Path]:
        return sorted((self.folder / "pairs").glob("*.jsonl"))

    @property
    def pair_report(self) -> Path:
        """Counts of pairs, and of what was dropped, by language."""
        return self.folder / "pairs" / "report.json"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def training_record(self) -> Path:
        return self.adapter / "training.json"


@dataclass(frozen=True)
class Evaluated:
    """A model's responses to the evaluation prompts, and what a judge made of them."""

    run: Run
    model: str

    @property
    def folder(self) -> Path:
        return self.run.path / "eval" / self.model

    def samples(self, lang: str) -> Path:
        """The responses as they were sampled."""
        return self.folder / "responses" / f"{lang}.jsonl"

    def outputs(self, lang: str) -> Path:
        """In AlpacaEval's form."""
        return self.folder / lang / "model_outputs.json"

    def verdicts(self, lang: str) -> Path:
        """The judge's answers, one by one."""
        return self.folder / "annotations" / f"{lang}.jsonl"

    def annotations(self, lang: str) -> Path:
        """In AlpacaEval's form."""
        return self.folder / lang / "annotations.json"
