"""A run's records for notebooks. The only module of `analysis` that knows where files lie."""

import os
from pathlib import Path
from typing import Any

from xlnb.common.files import ROOT, read_json, read_jsonl
from xlnb.common.languages import split_langs
from xlnb.runs.layout import Run
from xlnb.stages.reading import read_prompts

Record = dict[str, Any]


def scorers(run: Run) -> list[str]:
    """The scorers of a run; the first one's rewards make the pairs."""
    return split_langs(run.preset.scoring.scorers)


def languages(run: Run, iteration: int) -> list[str]:
    """The languages whose prompts were sampled, English first."""
    folder = run.folder(iteration) / "samples"
    return [lang for lang in read_prompts(run) if (folder / f"{lang}.jsonl").exists()]


def samples(run: Run, iteration: int, lang: str) -> list[Record]:
    """A record a prompt, with its responses."""
    return read_jsonl(run.folder(iteration) / "samples" / f"{lang}.jsonl")


def scores(run: Run, iteration: int, scorer: str, lang: str) -> list[Record]:
    """A record a prompt, with the rewards of its responses.

    The first scorer scores every response, the others those of the split `reward`.
    """
    folder = run.folder(iteration) / "scores"
    if scorer != scorers(run)[0]:
        folder = folder / scorer
    return read_jsonl(folder / f"{lang}.jsonl")


def pairs(run: Run, model: str) -> dict[str, list[Record]]:
    """The pairs that `model` was trained on, by language."""
    return {path.stem: read_jsonl(path) for path in _files(run.path / model / "pairs")}


def pair_report(run: Run, iteration: int) -> dict[str, Record]:
    """By language: α, how many pairs, and what was dropped."""
    return read_json(run.folder(iteration) / "pairs" / "report.json")


def trained_here(run: Run) -> list[str]:
    """The models whose adapter this run trained; the others are given by the preset."""
    return [model for model in run.models if (run.path / model / "adapter").exists()]


def training(run: Run, model: str) -> Record:
    """What training logged: `pairs`, how many, and `log`, a record a step."""
    folder = run.adapter(model)
    assert folder is not None, f"{model} is no adapter"
    return read_json(folder / "training.json")


def metrics(run: Run) -> Record:
    """metrics.json: `win_rates` and `rewards`."""
    return read_json(run.path / "metrics.json")


def annotations(run: Run) -> dict[str, dict[str, list[Record]]]:
    """{model: {lang: judged comparisons with the baseline}} of every model of the run."""
    langs = metrics(run)["win_rates"]["sft"]
    found: dict[str, dict[str, list[Record]]] = {}
    for model in run.models:
        folder = run.path / "eval" / model
        found[model] = {lang: read_json(folder / lang / "annotations.json") for lang in langs}
    return found


def annotation_files(run: Run) -> list[Path]:
    """The same as files, for `evaluation.annotations.read_annotations`."""
    return sorted((run.path / "eval").rglob("annotations.json"))


def lab_seeds() -> list[Record]:
    """The metrics of the committed runs of the lab, which differ in their seed."""
    paths = sorted((ROOT / "data" / "results").glob("lab_seed?.json"))
    return [read_json(path) for path in paths]


def published() -> Path:
    """The folder of files that others published, where there is one: `$XLNB_PUBLISHED_DATA`."""
    return Path(os.environ.get("XLNB_PUBLISHED_DATA", ROOT.parent / "shared" / "data"))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))
