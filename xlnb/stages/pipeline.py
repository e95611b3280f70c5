"""Every stage of a run in order, and the one way through them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xlnb.common import interruption, processes
from xlnb.common.errors import InputError
from xlnb.rewards import prompts_read, split_scorers
from xlnb.runs.layout import Iteration, Run
from xlnb.stages.adapters import train
from xlnb.stages.annotations import judge
from xlnb.stages.comparers import learn
from xlnb.stages.gates import fit
from xlnb.stages.localised import localise
from xlnb.stages.logprobs import logps
from xlnb.stages.metrics import report
from xlnb.stages.pairs import pair
from xlnb.stages.preferences import prefer
from xlnb.stages.prompts import collect_prompts
from xlnb.stages.responses import respond
from xlnb.stages.samples import sample, sample_shared
from xlnb.stages.scores import score
from xlnb.stages.selection import select
from xlnb.stages.translations import translate
from xlnb.stages.tuned import tune


@dataclass(frozen=True)
class Step:
    """A stage of a run: a kind of stage, of an iteration's model or an evaluated one."""

    kind: str
    call: Callable[[], object]
    # what it belongs to, such as icr1 or eval/icr1; empty: the run
    of: str = ""

    @property
    def name(self) -> str:
        return f"{self.of}/{self.kind}" if self.of else self.kind


def steps(run: Run, *, yes: bool = False) -> list[Step]:
    """`yes`: see `judge`."""
    found = [Step("prompts", partial(collect_prompts, run))]
    if run.preset.localise.langs:
        found.insert(0, Step("localised", partial(localise, run, yes=yes)))
    if run.preset.sft.path:
        found.insert(0, Step("sft", partial(tune, run)))
    found += _english(run) if run.trains_dpo else []
    if run.has_shared:
        found.append(Step("samples", partial(sample_shared, run), "shared"))
    for iteration in run.iterations:
        if run.preset.prompts.select != "all":
            found.append(Step("selected", partial(select, run, iteration.number), iteration.target))
        if "gate" in split_scorers(run.preset.scoring.scorers):
            found.append(Step("gate", partial(fit, run, iteration.number), iteration.target))
        sampled = _sampled(iteration)
        if iteration.number == 1 and "comparer" in prompts_read(run.preset.scoring.scorers):
            # It may learn from these samples, and compares the shared ones.
            found += [*sampled, Step("comparer", partial(learn, run))]
            sampled = []
        found += _compared(iteration) if run.has_shared else []
        found += [*sampled, *_trained(iteration)]
    if not run.is_lab and not run.preset.prompts.eval_path:
        return found
    for model in run.models:
        found.append(Step("responses", partial(respond, run, model), f"eval/{model}"))
    # The oracle knows the lab only.
    if run.is_lab or run.preset.evaluation.judge != "oracle":
        for model in run.models:
            found.append(Step("annotations", partial(judge, run, model, yes=yes), f"eval/{model}"))
        found.append(Step("report", partial(report, run)))
    return found


def _english(run: Run) -> list[Step]:
    """From π_I to π^0."""
    found = []
    if not run.preset.preferences.path:
        found.append(Step("samples", partial(sample, run, 0), "dpo"))
    found.append(Step("pairs", partial(prefer, run), "dpo"))
    found.append(Step("adapter", partial(train, run, 0), "dpo"))
    return found


def _compared(iteration: Iteration) -> list[Step]:
    """Scores of π_I's responses, to be held against the truth."""
    kinds: dict[str, Callable[..., Path]] = {"logps": logps, "scores": score}
    if _translates(iteration.run):
        kinds = {"translations": translate, **kinds}
    found = []
    for kind, stage in kinds.items():
        call = partial(stage, iteration.run, iteration.number, shared=True)
        found.append(Step(kind, call, iteration.shared.target))
    return found


def _sampled(iteration: Iteration) -> list[Step]:
    """π^{t−1}'s own responses."""
    kinds: dict[str, Callable[..., Path]] = {"samples": sample}
    if _translates(iteration.run):
        kinds["translations"] = translate
    return _steps_of(iteration, kinds)


def _trained(iteration: Iteration) -> list[Step]:
    """From them to π^t."""
    return _steps_of(iteration, {"logps": logps, "scores": score, "pairs": pair, "adapter": train})


def _steps_of(iteration: Iteration, kinds: dict[str, Callable[..., Path]]) -> list[Step]:
    found = []
    for kind, stage in kinds.items():
        call = partial(stage, iteration.run, iteration.number)
        found.append(Step(kind, call, iteration.target))
    return found


def _translates(run: Run) -> bool:
    return "translated" in prompts_read(run.preset.scoring.scorers)


def run_until(run: Run, last: str = "report", *, yes: bool = False) -> Run:
    """Run every stage up to and with `last`; finished and current ones are skipped.

    `yes`: see `judge`.
    """
    todo = steps(run, yes=yes)
    names = [step.name for step in todo]
    if last not in names:
        raise InputError(f"unknown stage '{last}'; this run has {', '.join(names)}")
    todo = todo[: names.index(last) + 1]
    if processes.world() > 1 and any(step.kind == "adapter" for step in todo):
        # For several processes there is more to check. It imports TRL, which takes seconds.
        from xlnb.training import check_training

        check_training(run.preset.training)
    for step in todo:
        step.call()
        interruption.go_on()
    return run
