"""What else could have made a run's result: evidence.json.

Variants of a finished lab run, in folders of their own below it, which copy all that they share.
*Tastes*: π^0 from English pairs of every taste and of its exact opposite; their rewards judge one
and the same set of responses. *Translators*: the translated reward of the same π^0, by a translator
of known quality. *Controls*: π^1 by the same recipe from pairs that a score without a preference
makes.
"""

from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import read_json, write_json
from xlnb.common.tastes import OPPOSITE
from xlnb.lab.tastes import TASTES
from xlnb.rewards import split_scorers
from xlnb.runs.layout import Run, record_of
from xlnb.runs.provenance import environment
from xlnb.runs.run import open_run
from xlnb.stages.metrics import rewards_against_truth
from xlnb.stages.pipeline import run_until

# What `rewards_against_truth` returns.
Accuracies = dict[str, dict[str, dict]]

# Pairs by these have learnt no preference.
CONTROLS = ("likelihood", "random")
# The share of sentences that a translator drops or falsifies.
NOISES = (0.0, 0.05, 0.1, 0.2, 0.4)
REWARDS = "cross_lingual,multilingual,translated"


def evidence(run: Run) -> Path:
    """Rewards under every taste, and win rates of π^1 from pairs without a preference, beside the
    run's own. Finished parts are kept."""
    if not (run.is_lab and run.has_shared):
        raise InputError(f"{run.path}: evidence needs the lab's truth; make a run of preset lab")
    run_until(run)
    names = [name for taste in TASTES for name in (taste, OPPOSITE + taste)]
    tastes = {name: _of_taste(run, name) for name in names}
    translators = {f"{noise:g}": _of_translator(run, noise) for noise in NOISES}
    metrics = read_json(run.metrics)
    win_rates = metrics["win_rates"]
    for scorer in CONTROLS:
        others = [name for name in split_scorers(run.preset.scoring.scorers) if name != scorer]
        changes = {"scoring.scorers": ",".join([scorer, *others]), "iterations": 1}
        found = run_until(_variant(run, f"pairs-by-{scorer}", changes))
        win_rates[f"icr1, pairs by {scorer}"] = read_json(found.metrics)["win_rates"]["icr1"]
    record = {
        "command": f"python -m xlnb evidence --preset {run.preset.name} -p seed={run.preset.seed}",
        **metrics,
        "win_rates": win_rates,
        "tastes": tastes,
        "translators": translators,
        **environment(),
    }
    write_json(run.evidence, record)
    return run.evidence


def _of_taste(run: Run, name: str) -> Accuracies:
    """Scores against the truth of a taste, whose preferences π^0 has learnt."""
    if name != run.taste:
        run = _variant(run, name, {"lab.taste": name, "iterations": 1})
        run_until(run, "icr1/shared/scores")
    return rewards_against_truth(run.iteration(1).shared)


def _of_translator(run: Run, noise: float) -> Accuracies:
    """Rewards against the truth, one of them by a translator with that share of errors."""
    changes = {"lab.translation_noise": noise, "scoring.scorers": REWARDS, "iterations": 1}
    found = _variant(run, f"translator-{noise:g}", changes)
    run_until(found, "icr1/shared/scores")
    return rewards_against_truth(found.iteration(1).shared)


def _variant(run: Run, name: str, changes: dict[str, Any]) -> Run:
    """The run with these fields changed."""
    folder = run.variant(name)
    if not record_of(folder).exists():
        write_json(record_of(folder), read_json(run.record))
    return open_run(folder, "", changes, donors=[run.path])
