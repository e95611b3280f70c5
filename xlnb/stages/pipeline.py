""""""

from typing import Any

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.languages import split_langs
from xlnb.runs.layout import Run
from xlnb.stages.adapters import train
from xlnb.stages.annotations import judge
from xlnb.stages.localised import localise
from xlnb.stages.metrics import report
from xlnb.stages.pairs import pair
from xlnb.stages.preferences import prefer
from xlnb.stages.prompts import collect_prompts
from xlnb.stages.responses import respond
from xlnb.stages.samples import sample
from xlnb.stages.scores import score
from xlnb.stages.translations import translate


def steps(run: Run, *, yes: bool = False) -> list[tuple[str, Any]]:
    """Every stage of a run in order, as (name, call). `yes`: see `judge`."""
    found: list[tuple[str, Any]] = [("prompts", lambda: collect_prompts(run))]
    if run.preset.localise.langs:
        found.insert(0, ("localised", lambda: localise(run, yes=yes)))
    if not (run.preset.models.dpo or run.preset.models.dpo_adapter):
        if not run.preset.preferences.path:
            found.append(("dpo/samples", lambda: sample(run, 0)))
        found += [("dpo/pairs", lambda: prefer(run)), ("dpo/adapter", lambda: train(run, 0))]
    for t in range(1, run.preset.iterations + 1):
        todo = [("samples", sample), ("scores", score), ("pairs", pair), ("adapter", train)]
        if "translated" in split_langs(run.preset.scoring.scorers):
            todo.insert(1, ("translations", translate))
        for name, function in todo:
            found.append((f"icr{t}/{name}", lambda function=function, t=t: function(run, t)))
    has_eval = not run.preset.prompts.path or bool(run.preset.prompts.eval_path)
    if has_eval:
        found += [(f"eval/{m}/responses", lambda m=m: respond(run, m)) for m in run.models]
    if has_eval and (
        not run.preset.prompts.path or run.preset.evaluation.judge != "oracle"
    ):  # it knows the lab only
        found += [(f"eval/{m}/annotations", lambda m=m: judge(run, m, yes=yes)) for m in run.models]
        found.append(("report", lambda: report(run)))
    return found


def run_until(run: Run, last: str = "report", *, yes: bool = False) -> Run:
    """Run every stage up to and with `last`; finished and current ones are skipped. `yes`: see `judge`."""
    todo = steps(run, yes=yes)
    names = [name for name, _ in todo]
    if last not in names:
        raise InputError(f"unknown stage '{last}'; this run has {', '.join(names)}")
    if processes.world() > 1 and "adapter" in " ".join(names[: names.index(last) + 1]):
        from xlnb.training import check_training

        check_training(run.preset.training)
    for name, step in todo:
        step()
        if name == last:
            break
    return run
