"""Where everything of a run lies. Stages, command line and notebooks all ask here.

runs/<name>/
  preset.json                          what the run is, and what made it
  sft/                                 π_I, where it is tuned here: a checkpoint
  prompts/<lang>.jsonl                 Prompt
  icr1/samples/<lang>.jsonl            Sample
  icr1/translations/<lang>.jsonl       Sample: the responses of `samples`, put into English
  icr1/logps/<scorer>/<lang>.jsonl     Logps, or a comparer's Comparisons (costly: models run here)
  icr1/gate/, comparer/                what a gate and a comparer have learnt of English preferences
  icr1/scores/<lang>.jsonl             Score (arithmetic on them)
  icr1/pairs/<lang>.jsonl              Pair, and report.json
  icr1/adapter/                        π^1
  shared/samples/<lang>.jsonl          Sample: π_I's, of the `reward` prompts
  icr1/shared/logps, scores            what the policy makes of those
  eval/<model>/<lang>/                 model_outputs.json, annotations.json
  metrics.json
  figures/, notebooks/                 what the notebooks draw; the executed ones
  stages/<name>.json                   what each stage read and wrote, and whether it has finished
  history.jsonl                        the same of all that ever finished here, oldest first
"""

from dataclasses import dataclass, replace
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.models.hub import adapter_folder
from xlnb.presets import Models, Preset, Training
from xlnb.runs.evaluated import Evaluated


def record_of(folder: Path) -> Path:
    """What a run folder is known by."""
    return folder / "preset.json"


@dataclass(frozen=True)
class Run:
    """A run folder and its resolved preset. Its models are named sft (π_I), dpo (π^0), icr1 …"""

    path: Path
    preset: Preset
    # whether a finished stage that is no longer current is made again, or an error
    redo: bool = True
    # runs from which a stage that they have finished with the same key is copied
    donors: tuple[Path, ...] = ()

    @property
    def models(self) -> list[str]:
        return ["sft", "dpo", *(f"icr{t}" for t in range(1, self.preset.iterations + 1))]

    @property
    def is_lab(self) -> bool:
        """Whether the prompts are the lab's, whose truth the oracle knows."""
        return not self.preset.prompts.path

    @property
    def taste(self) -> str:
        """What the oracle goes by; empty where the prompts are not the lab's."""
        return self.preset.lab.taste if self.is_lab else ""

    @property
    def verifies_by(self) -> str:
        """The taste by which a program verifies responses; empty where none does."""
        return "" if self.is_lab else self.preset.evaluation.taste

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
        return Evaluated(self.path / "eval" / model)

    @property
    def tuned(self) -> Path:
        """π_I's checkpoint, where it is made here."""
        return self.path / "sft"

    @property
    def loaded(self) -> Models:
        """π_I and π^0 as they are loaded: `models`, or with what is made here of its base."""
        models = self.preset.models
        if not self.preset.sft.path:
            return models
        return replace(models, base=str(self.tuned), chat_template="", chat_template_kwargs="")

    def base(self, model: str) -> Models:
        """What a model's adapter stands on: π_I's checkpoint, or a π^0 that is one."""
        models = self.loaded
        return replace(models, base=models.dpo) if models.dpo and model != "sft" else models

    def adapter(self, model: str) -> Path | None:
        """A model's adapter; None for `sft`, the bare base, and a `dpo` that is a checkpoint."""
        if model not in self.models:
            raise InputError(f"unknown model '{model}'; this run has {', '.join(self.models)}")
        if model == "sft" or (model == "dpo" and self.preset.models.dpo):
            return None
        if model == "dpo" and self.preset.models.dpo_adapter:
            return adapter_folder(self.preset.models.dpo_adapter)
        return self.made_by(model).adapter

    def adapter_name(self, model: str) -> str | None:
        """What `models.adapters.active` is told of a model: its adapter's name, or None where the
        model is a bare base."""
        return None if self.adapter(model) is None else model

    @property
    def record(self) -> Path:
        return record_of(self.path)

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def notebooks(self) -> Path:
        """The executed ones."""
        return self.path / "notebooks"

    @property
    def prompts(self) -> Path:
        return self.path / "prompts"

    @property
    def prompt_files(self) -> list[Path]:
        return sorted(self.prompts.glob("*.jsonl"))

    @property
    def has_shared(self) -> bool:
        """Whether there are prompts on which scores are compared with the truth."""
        return (self.preset.lab if self.is_lab else self.preset.prompts).reward > 0

    @property
    def shared_samples(self) -> Path:
        return self.path / "shared" / "samples"

    @property
    def localised(self) -> Path:
        """The English prompts in other languages, and those that could not be put into them."""
        return self.path / "localised"

    def drafts(self, lang: str, number: int = 1) -> Path:
        """A try's drafts.jsonl and back.jsonl, their translations into English again."""
        return self.path / ("drafts" if number == 1 else f"redrafts/{number}") / lang

    def stamp(self, stage: str) -> Path:
        """The record of a stage, by its name, such as icr1/samples."""
        return self.path / "stages" / f"{stage.replace('/', '.')}.json"

    @property
    def stamps(self) -> dict[str, Path]:
        """Every stage's record, by the stage's name."""
        files = sorted((self.path / "stages").glob("*.json"))
        return {path.stem.replace(".", "/"): path for path in files}

    @property
    def evidence(self) -> Path:
        """Rewards under other tastes, and win rates of controls, beside the run's own."""
        return self.path / "evidence.json"

    def variant(self, name: str) -> Path:
        """The folder of the same run with some fields changed."""
        return self.path / "variants" / name


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
    def shared(self) -> "Shared":
        return Shared(self.run, self.number)

    def of(self, *, shared: bool) -> "Iteration":
        """Its own samples and what is made of them, or the shared ones."""
        return self.shared if shared else self

    @property
    def scored(self) -> list["Iteration"]:
        """Whose samples it scores: its own and the shared ones, where there are."""
        return [self, self.shared] if self.run.has_shared else [self]

    @property
    def samples_folder(self) -> Path:
        return self.folder / "samples"

    @property
    def sample_files(self) -> list[Path]:
        """The samples of every language. Raises InputError where there are none yet."""
        files = sorted(self.samples_folder.glob("*.jsonl"))
        if not files:
            raise InputError(f"{self.samples_folder}: no samples yet; run stage sample first")
        return files

    @property
    def langs(self) -> list[str]:
        """The languages that were sampled."""
        return [path.stem for path in self.sample_files]

    def samples(self, lang: str) -> Path:
        return self.samples_folder / f"{lang}.jsonl"

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

    @property
    def card(self) -> Path:
        return self.adapter / "README.md"


@dataclass(frozen=True)
class Shared(Iteration):
    """The same policy and π_I's responses to the `reward` prompts: one set of responses for every
    policy and every taste, rich in all kinds, where a policy's own have thinned out."""

    @property
    def target(self) -> str:
        return f"{super().target}/shared"

    @property
    def samples_folder(self) -> Path:
        return self.run.shared_samples
