"""Every stage of a run in order, and the one way through them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.rewards import prompts_read
from xlnb.runs.layout import Run
from xlnb.stages.adapters import train
from xlnb.stages.annotations import judge
from xlnb.stages.localised import localise
from xlnb.stages.logprobs import logps
from xlnb.stages.metrics import report
from xlnb.stages.pairs import pair
from xlnb.stages.preferences import prefer
from xlnb.stages.prompts import collect_prompts
from xlnb.stages.responses import respond
from xlnb.stages.samples import sample
from xlnb.stages.scores import score
from xlnb.stages.translations import translate


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
    if run.trains_dpo:
        if not run.preset.preferences.path:
            found.append(Step("samples", partial(sample, run, 0), "dpo"))
        found.append(Step("pairs", partial(prefer, run), "dpo"))
        found.append(Step("adapter", partial(train, run, 0), "dpo"))
    kinds = {"samples": sample, "logps": logps, "scores": score, "pairs": pair, "adapter": train}
    for iteration in run.iterations:
        for kind, stage in kinds.items():
            if kind == "logps" and "translated" in prompts_read(run.preset.scoring.scorers):
                call = partial(translate, run, iteration.number)
                found.append(Step("translations", call, iteration.target))
            found.append(Step(kind, partial(stage, run, iteration.number), iteration.target))
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
    return run
