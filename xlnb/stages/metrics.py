"""metrics.json: win rates, scores against the truth, seconds a stage."""

from pathlib import Path

from xlnb.common.files import read_json, write_json
from xlnb.common.processes import main_alone
from xlnb.common.records import Sample, Score, read_records
from xlnb.evaluation.summaries import summarise
from xlnb.lab.truth import reward_accuracy
from xlnb.rewards import split_scorers
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.stage import Stage, stage_seconds
from xlnb.stages.reading import eval_prompts


@main_alone
def report(run: Run) -> Path:
    """metrics.json: win rates a model and language, rewards against the truth, seconds a stage."""
    langs = list(eval_prompts(run))
    files = {
        (model, lang): run.evaluated(model).annotations(lang)
        for model in run.models
        for lang in langs
    }
    inputs = list(files.values())
    for here in run.iterations:
        for lang in here.langs:
            inputs += [here.samples(lang), here.scores(lang)]
    stage = Stage(
        run,
        "report",
        inputs=inputs,
        uses={"evaluation": {"resamples": run.preset.evaluation.resamples}},
        out=run.metrics,
    )
    if stage.current():
        return stage.out
    with stage.working():
        win_rates: dict[str, dict] = {name: {} for name in run.models}
        for (name, lang), path in files.items():
            win_rates[name][lang] = summarise(
                read_json(path), resamples=run.preset.evaluation.resamples
            )
        metrics = {
            "preset": run.preset.name,
            "seed": run.preset.seed,
            "win_rates": win_rates,
            "rewards": {here.source: rewards_against_truth(here) for here in run.iterations},
            "seconds": stage_seconds(run),
        }
        write_json(stage.out, metrics)
    return stage.out


def rewards_against_truth(here: Iteration) -> dict[str, dict[str, dict]]:
    """`reward_accuracy` on an iteration's held-out `reward` prompts: {score: {lang: …}}."""
    tables: dict[str, dict[str, dict]] = {}
    for scorer in split_scorers(here.run.preset.scoring.scorers):
        for lang in here.langs:
            samples = read_records(here.samples(lang), Sample)
            scores = [s for s in read_records(here.scores(lang), Score) if s.split == "reward"]
            table = reward_accuracy(samples, scores, scorer)
            if table["n"]:
                tables.setdefault(scorer, {})[lang] = table
    return tables
