"""A run's records for notebooks. The only module of `analysis` that knows where files lie."""

import os
from glob import glob
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json, read_jsonl
from xlnb.common.records import Sample, Score
from xlnb.evaluation.alpaca_eval import Annotation
from xlnb.presets import preset_from_dict
from xlnb.rewards import SCORERS, reward, split_scorers
from xlnb.runs.layout import Run, record_of
from xlnb.runs.run import kept_preset
from xlnb.stages.metrics import read_metrics
from xlnb.stages.reading import read_prompts

Record = dict[str, Any]


def scorers(run: Run) -> list[str]:
    """The scores of a run; the first one makes the pairs."""
    return split_scorers(run.preset.scoring.scorers)


def rewards(run: Run) -> list[str]:
    """Of its scores the implicit rewards; the others are plain ones that a reward must beat."""
    return [name for name in scorers(run) if SCORERS[name].score is reward]


def prompts(run: Run) -> dict[str, list[Record]]:
    """The run's prompts by language, English first."""
    found = {}
    for lang, records in read_prompts(run).items():
        found[lang] = [prompt.to_json() for prompt in records]
    return found


def languages(run: Run, iteration: int) -> list[str]:
    """The languages whose prompts were sampled, English first."""
    sampled = run.iteration(iteration).langs
    return [lang for lang in read_prompts(run) if lang in sampled]


def samples(run: Run, iteration: int, lang: str) -> list[Record]:
    """A record a prompt, with its responses."""
    return read_jsonl(run.iteration(iteration).samples(lang))


def scores(run: Run, iteration: int, scorer: str, lang: str) -> list[Record]:
    """A record a prompt, with the values of its responses by one score as `reward`, and the
    log-probabilities that they were made of, where they were made of any.

    The first score is there for every prompt, the others for those of the split `reward`.
    """
    here = run.iteration(iteration)
    reads = SCORERS[scorer].reads
    read = read_jsonl(here.logps(reads, lang)) if reads else []
    logps = {record["prompt_id"]: record for record in read}
    found = []
    for record in read_jsonl(here.scores(lang)):
        if scorer in record["scores"]:
            made_of = {**record, **logps.get(record["prompt_id"], {})}
            found.append({**made_of, "reward": record["scores"][scorer]})
    return found


def as_sample(record: Record) -> Sample:
    """A record of `samples` as the method's steps take it."""
    return Sample.from_json(record)


def as_score(record: Record) -> Score:
    """A record of `scores` as the method's steps take it, its one score named "reward"."""
    failures = {"reward": record["failures"]} if record.get("failures") else None
    values = {"reward": record["reward"]}
    names = (record["prompt_id"], record["lang"], record["split"])
    return Score(*names, record["n_chars"], values, failures)


def as_annotation(record: Record) -> Annotation:
    """A record of `annotations` as a judge takes it."""
    return Annotation.from_json(record)


def pairs(run: Run, model: str) -> dict[str, list[Record]]:
    """The pairs that `model` was trained on, by language."""
    return {path.stem: read_jsonl(path) for path in run.made_by(model).pair_files}


def pair_report(run: Run, iteration: int) -> dict[str, Record]:
    """By language: α, how many pairs, and what was dropped."""
    return read_json(run.iteration(iteration).pair_report)


def trained_here(run: Run) -> list[str]:
    """The models whose adapter this run trained; the others are given by the preset."""
    return [model for model in run.models[1:] if run.made_by(model).adapter.exists()]


def training(run: Run, model: str) -> Record:
    """What training logged: `pairs`, how many, and `log`, a record a step."""
    return read_json(run.made_by(model).training_record)


def metrics(run: Run) -> Record:
    """metrics.json: `win_rates` and `rewards`."""
    return read_metrics(run)


def annotations(run: Run) -> dict[str, dict[str, list[Record]]]:
    """{model: {lang: judged comparisons with the baseline}} of every model of the run."""
    langs = metrics(run)["win_rates"]["sft"]
    found: dict[str, dict[str, list[Record]]] = {}
    for model in run.models:
        here = run.evaluated(model)
        found[model] = {lang: read_json(here.annotations(lang)) for lang in langs}
    return found


def annotation_files(run: Run) -> list[Path]:
    """The same as files, for `evaluation.annotations.read_annotations`."""
    return sorted((run.path / "eval").rglob("annotations.json"))


def lab_seeds() -> list[Record]:
    """The evidence of the committed runs of the lab, which differ in their seed."""
    paths = sorted((ROOT / "data" / "results").glob("lab_seed?.json"))
    return [read_json(path) for path in paths]


def evidence_records(run: Run) -> list[Record]:
    """The run's own evidence.json where it has one, else those of the committed runs of the lab, a
    record a seed. Raises InputError where there is neither."""
    records = [read_json(run.evidence)] if run.evidence.exists() else lab_seeds()
    if not records:
        raise InputError(
            f"no {run.evidence.name} in {run.path.name} and no data/results/lab_seed?.json: "
            "python -m xlnb evidence --run FOLDER makes one"
        )
    return records


def several(run_dirs: str) -> list[Record]:
    """A record a run: `where` it lies, its whole `preset`, its `models`, and what metrics.json, or
    in its place evidence.json, says, win rates of those models alone.

    `run_dirs`: run folders with a report, or records as evidence.json, commas between, * for any
    name; a relative one is taken from the project's root. Raises InputError for any other.
    """
    found = []
    for pattern in filter(None, (part.strip() for part in run_dirs.split(","))):
        paths = [Path(path) for path in sorted(glob(str(ROOT / pattern)))]
        if not paths:
            raise InputError(f"{pattern}: nothing there; expected run folders, or records of runs")
        found += [_one_of_several(path) for path in paths]
    if not found:
        raise InputError("run_dirs names no run; expected folders, such as runs/s0,runs/s1")
    return found


def _one_of_several(path: Path) -> Record:
    where = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    if path.suffix == ".json":
        record = read_json(path)
        if not _is_record(record):
            raise InputError(f"{where}: no run's record, which has a seed, a preset and win_rates")
        own = Run(path, preset_from_dict(record["preset"])).models
        return _with_models({**record, "where": where}, own)
    if not record_of(path).exists():
        raise InputError(f"{where}: no run folder; runs/sweep/*/ would name folders alone")
    run = Run(path, kept_preset(path))
    preset = read_json(record_of(path))["preset"]
    if not run.metrics.exists():
        raise InputError(f"{where}: no report yet; finish the run, or leave it out")
    return _with_models({**read_metrics(run), "preset": preset, "where": where}, run.models)


def _with_models(record: Record, models: list[str]) -> Record:
    missing = [model for model in models if model not in record["win_rates"]]
    if missing:
        raise InputError(f"{record['where']}: no win rates of {missing[0]}; finish the run")
    rates = {model: record["win_rates"][model] for model in models}
    return {**record, "models": models, "win_rates": rates}


def _is_record(record: Any) -> bool:
    """Whether it has the form of evidence.json, as far as `several` goes."""
    if not isinstance(record, dict) or not {"seed", "preset", "win_rates"} <= record.keys():
        return False
    preset, rates = record["preset"], record["win_rates"]
    if not isinstance(preset, dict) or not isinstance(rates, dict):
        return False
    return isinstance(preset.get("iterations"), int)


def analyses() -> Record:
    """The committed record of the runs that decide the paper's claims."""
    return read_json(ROOT / "data" / "results" / "analyses.json")


def related_methods() -> Record:
    """The same of related methods."""
    return read_json(ROOT / "data" / "results" / "related_methods.json")


def real_model(size: str = "large") -> Record:
    """The committed record of Gemma 3 270M's run on a GPU, or the `small` one's on a CPU."""
    name = {"large": "gemma3_270m", "small": "gemma3_270m_small"}[size]
    return read_json(ROOT / "data" / "results" / f"{name}.json")


def published() -> Path:
    """The folder of files that others published, where there is one: `$XLNB_PUBLISHED_DATA`."""
    return Path(os.environ.get("XLNB_PUBLISHED_DATA", ROOT.parent / "shared" / "data"))
