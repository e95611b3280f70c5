"""metrics.json: win rates by model and language, rewards against the truth, seconds a stage."""

from pathlib import Path
from typing import Any

from xlnb.common.files import write_json
from xlnb.common.processes import main_alone
from xlnb.common.records import Sample, Score, read_records
from xlnb.evaluation.annotations import read_judged
from xlnb.evaluation.summaries import summarise
from xlnb.lab.truth import reward_accuracy
from xlnb.rewards import split_scorers
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.records import stage_seconds
from xlnb.runs.stage import Stage, fields
from xlnb.stages.reading import eval_prompts


@main_alone
def report(run: Run) -> Path:
    """Win rates from all annotations, and how far rewards agree with the lab's truth."""
    langs = list(eval_prompts(run))
    inputs = []
    for model in run.models:
        inputs += [run.evaluated(model).annotations(lang) for lang in langs]
    for here in run.iterations:
        for lang in here.langs:
            inputs += [here.samples(lang), here.scores(lang)]
    stage = Stage(
        run,
        "report",
        inputs=inputs,
        uses=fields(run.preset, "evaluation.resamples"),
        out=run.metrics,
    )

    def make() -> None:
        metrics = {
            "preset": run.preset.name,
            "seed": run.preset.seed,
            "win_rates": {model: win_rates(run, model, langs) for model in run.models},
            "rewards": {here.source: rewards_against_truth(here) for here in run.iterations},
            "seconds": stage_seconds(run),
        }
        write_json(stage.out, metrics)

    return stage.make(make)


def win_rates(run: Run, model: str, langs: list[str]) -> dict[str, dict[str, Any]]:
    """A model's entry of each language."""
    here = run.evaluated(model)
    entries = {}
    for lang in langs:
        judged = read_judged(here.annotations(lang), model, lang)
        entries[lang] = summarise(judged, resamples=run.preset.evaluation.resamples)
    return entries


def rewards_against_truth(here: Iteration) -> dict[str, dict[str, dict]]:
    """`reward_accuracy` on an iteration's held-out `reward` prompts: {score: {lang: …}}."""
    scorers = split_scorers(here.run.preset.scoring.scorers)
    tables: dict[str, dict[str, dict]] = {scorer: {} for scorer in scorers}
    for lang in here.langs:
        samples = read_records(here.samples(lang), Sample)
        scores = [s for s in read_records(here.scores(lang), Score) if s.split == "reward"]
        for scorer in scorers:
            table = reward_accuracy(samples, scores, scorer)
            if table["n"]:
                tables[scorer][lang] = table
    return {scorer: by_lang for scorer, by_lang in tables.items() if by_lang}
