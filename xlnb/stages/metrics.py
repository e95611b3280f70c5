"""metrics.json: win rates by model and language, rewards against the truth, seconds a stage."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlnb.common.files import read_json, write_json
from xlnb.common.processes import main_alone
from xlnb.common.records import Sample, Score
from xlnb.evaluation.annotations import read_judged
from xlnb.evaluation.summaries import WinRate, summarise
from xlnb.evaluation.truth import ceiling, reward_accuracy
from xlnb.lab.world import world_fields
from xlnb.rewards import split_scorers
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.records import stage_seconds
from xlnb.runs.stage import Stage, fields
from xlnb.stages.reading import OfSplit, eval_prompts
from xlnb.stages.truth import truth_of


@main_alone
def report(run: Run) -> Path:
    """Win rates from all annotations, and how far rewards agree with the truth."""
    langs = list(eval_prompts(run))
    inputs = []
    for model in run.models:
        inputs += [run.evaluated(model).annotations(lang) for lang in langs]
    for here in run.iterations:
        for lang in here.langs:
            for scored in here.scored:
                inputs += [scored.samples(lang), scored.scores(lang)]
    uses = ["evaluation.resamples", "lab.taste"]
    if run.verifies_by:
        inputs += run.prompt_files
        uses.append("evaluation.taste")
    # Seconds are the run's own, so that no other run's report will do.
    stage = Stage(
        replace(run, donors=()),
        "report",
        inputs=inputs,
        uses={**fields(run.preset, *uses), **(world_fields() if run.is_lab else {})},
        out=run.metrics,
    )

    def make() -> None:
        metrics = {
            "preset": run.preset.name,
            "seed": run.preset.seed,
            "win_rates": {model: win_rates(run, model, langs) for model in run.models},
            "taste": run.taste or run.verifies_by,
            "rewards": {here.source: rewards_against_truth(here) for here in run.iterations},
            "rewards_shared": {
                here.source: rewards_against_truth(here.shared)
                for here in run.iterations
                if run.has_shared
            },
            "seconds": stage_seconds(run),
        }
        write_json(stage.out, metrics)

    return stage.make(make)


def read_metrics(run: Run) -> dict[str, Any]:
    """metrics.json. The standard error of a single judgement, for which it has no number, is
    NaN."""
    metrics = read_json(run.metrics)
    for by_lang in metrics["win_rates"].values():
        for entry in by_lang.values():
            entry["wr_se"] = math.nan if entry["wr_se"] is None else entry["wr_se"]
    return metrics


def win_rates(run: Run, model: str, langs: list[str]) -> dict[str, WinRate]:
    """A model's entry of each language."""
    here = run.evaluated(model)
    entries = {}
    for lang in langs:
        judged = read_judged(here.annotations(lang), model, lang)
        entries[lang] = summarise(judged, resamples=run.preset.evaluation.resamples)
    return entries


def rewards_against_truth(here: Iteration) -> dict[str, dict[str, dict]]:
    """`reward_accuracy` on held-out `reward` prompts: {score: {lang: …}}, and, named "oracle", what
    the truth itself reaches there, since ties count half."""
    scorers = split_scorers(here.run.preset.scoring.scorers)
    tables: dict[str, dict[str, dict]] = {scorer: {} for scorer in scorers}
    tables["oracle"] = {}
    truth = truth_of(here.run)
    for lang in here.langs if truth else []:
        assert truth
        samples = list(OfSplit(here.samples(lang), Sample, "reward"))
        if samples:
            tables["oracle"][lang] = ceiling(samples, truth)
        scores = list(OfSplit(here.scores(lang), Score, "reward"))
        for scorer in scorers:
            table = reward_accuracy(samples, scores, scorer, truth)
            if table["n"]:
                tables[scorer][lang] = table
    return {scorer: by_lang for scorer, by_lang in tables.items() if by_lang}
