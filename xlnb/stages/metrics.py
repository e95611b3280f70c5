""""""

from pathlib import Path

from xlnb.common.files import read_json, read_jsonl, write_json
from xlnb.common.languages import split_langs
from xlnb.common.processes import main_alone
from xlnb.evaluation.summaries import summarise
from xlnb.lab.truth import reward_accuracy
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, stage_seconds
from xlnb.stages.reading import eval_prompts


@main_alone
def report(run: Run) -> Path:
    """metrics.json: win rates a model and language, rewards against the truth, seconds a stage."""
    langs = list(eval_prompts(run))
    files = {
        (m, lang): run.path / "eval" / m / lang / "annotations.json"
        for m in run.models
        for lang in langs
    }
    folders = {run.models[t]: run.folder(t) for t in range(1, run.preset.iterations + 1)}
    inputs = [
        *files.values(),
        *(path for folder in folders.values() for path in sorted(folder.glob("scores/**/*.jsonl"))),
    ]
    stage = Stage(
        run,
        "report",
        inputs=inputs,
        uses={"evaluation": {"resamples": run.preset.evaluation.resamples}},
        out=run.path / "metrics.json",
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
            "rewards": {
                name: _rewards_against_truth(run, folder) for name, folder in folders.items()
            },
            "seconds": stage_seconds(run),
        }
        write_json(stage.out, metrics)
    return stage.out


def _rewards_against_truth(run: Run, folder: Path) -> dict[str, dict[str, dict]]:
    """`reward_accuracy` of an iteration's held-out `reward` prompts: {scorer: {lang: …}}."""
    tables: dict[str, dict[str, dict]] = {}
    for path in sorted(folder.glob("scores/**/*.jsonl")):
        scorer = (
            split_langs(run.preset.scoring.scorers)[0]
            if path.parent.name == "scores"
            else path.parent.name
        )
        samples = read_jsonl(folder / "samples" / path.name)
        table = reward_accuracy(samples, [r for r in read_jsonl(path) if r["split"] == "reward"])
        if table["n"]:
            tables.setdefault(scorer, {})[path.stem] = table
    return tables
