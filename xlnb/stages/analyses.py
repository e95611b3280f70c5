"""What is measured on the runs of the analyses: a record a run, of what its stages wrote."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xlnb.common.errors import InputError
from xlnb.common.files import json_text, read_json
from xlnb.evaluation.annotations import read_judged
from xlnb.evaluation.clusters import fact_of
from xlnb.evaluation.tax import document_loss, facts_known, held_out
from xlnb.lab.oracle import judge
from xlnb.lab.world import load_world
from xlnb.models.adapters import active, load_model
from xlnb.models.chat import load_tokenizer
from xlnb.presets import Preset, preset_from_dict
from xlnb.presets.analyses import ANALYSES
from xlnb.presets.claims import BASE, Values
from xlnb.presets.grid import Point
from xlnb.rewards import split_scorers
from xlnb.runs import provenance
from xlnb.runs.layout import Iteration, Run
from xlnb.stages.individuals import of_tastes
from xlnb.stages.metrics import read_metrics
from xlnb.stages.sweeping import as_written, finished

# Of metrics.json's entries, by the name in the record, with the digits kept.
OF_MODELS = {"wr": ("wr", 2), "lc": ("lc", 2), "chars": ("mean_chars", 1)}
OF_MODELS |= {"in_language": ("in_language", 3)}
OF_PAIRS = ("pairs", "alpha", "length_gap", "length_gap_before")
OF_TRAINING = {"margin": "rewards/margins", "accuracy": "rewards/accuracies"}

# Steps at a training's end whose mean is kept.
LAST = 10

# What takes seconds a model, and is measured where a claim is about it.
OF_TAX = ("loss", "known")


def collect(folder: Path, points: Sequence[Point], *, with_users: bool = False) -> dict[str, Any]:
    """{"facts": their names, "runs": a record of each point with a finished report, "made_by": what
    made them, each once}. `with_users`: the method's own runs have `individuals.of_tastes` too."""
    facts: list[str] = []
    runs: list[dict[str, Any]] = []
    made_by: list[provenance.Environment] = []
    without: list[str] = []
    for point in points:
        run = Run(folder / point.name, point.preset)
        if not finished(run, "report"):
            if run.path.is_dir() and any(run.path.iterdir()):
                without.append(point.name)
            continue
        with as_written(run):
            metrics = read_metrics(run)
            by_fact = {}
            for model in run.models:
                by_fact[model] = _facts(run, model, metrics["win_rates"][model])
            record = _record(run, point.values, metrics, by_fact)
            made = provenance.made_by(run)
        facts = facts or list(by_fact["dpo"])
        if any(list(found) != facts for found in by_fact.values()):
            raise InputError(f"{run.path}: other questions than the other runs'; use one preset")
        for model in _taxed(record["values"], run.models):
            record["models"][model] |= _tax(run, model)
        if with_users and record["values"] == BASE:
            record["users"] = of_tastes(run)
        runs.append(record)
        if made not in made_by:
            made_by.append(made)
    if without:
        print(f"not in the record, without a finished report: {', '.join(without)}", flush=True)
    return {"facts": facts, "runs": runs, "made_by": made_by}


def read_also(paths: Sequence[Path], preset: Preset) -> list[dict[str, Any]]:
    """Records of runs that other machines have finished. Raises InputError for one of another
    preset."""
    records = []
    for path in paths:
        record = read_json(path)
        if not _is_record(record):
            raise InputError(f"{path}: no record of analyses; expected what --collect writes")
        try:
            theirs = preset_from_dict(record["preset"])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        if theirs != preset:
            raise InputError(
                f"{path}: its runs are of another preset ({theirs.name}, not {preset.name}, or "
                "with other values); give what the same command wrote"
            )
        records.append(record)
    return records


def _is_record(value: Any) -> bool:
    """Whether it has the form of what `collect` returns, as far as what joins several goes."""
    if not isinstance(value, dict) or not isinstance(value.get("preset"), dict):
        return False
    lists = all(isinstance(value.get(name), list) for name in ("facts", "runs", "made_by"))
    if "name" not in value["preset"] or not lists:
        return False
    needed = {"values", "seed", "models"}
    return all(isinstance(run, dict) and needed <= set(run) for run in value["runs"])


def is_in(records: Iterable[Mapping[str, Any]], point: Point) -> bool:
    values = {key: value for key, value in point.values.items() if key != "seed"}
    for record in records:
        for run in record["runs"]:
            if run["values"] == values and str(run["seed"]) == str(point.values["seed"]):
                return True
    return False


def together(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One of several, of what `collect` returns; the first may have no run. A run that several
    hold is the first one's."""
    facts: list[str] = next((record["facts"] for record in records if record["runs"]), [])
    runs: list[dict[str, Any]] = []
    made_by: list[provenance.Environment] = []
    seen: set[str] = set()
    twice = 0
    for record in records:
        if record["runs"] and record["facts"] != facts:
            raise InputError("--also: its runs were asked other questions; use one preset")
        for run in record["runs"]:
            name = json_text([sorted(run["values"].items()), str(run["seed"])])
            runs += [] if name in seen else [run]
            twice += name in seen
            seen.add(name)
        made_by += [made for made in record["made_by"] if made not in made_by]
    if twice:
        print(f"--also: {twice} runs are in several records; the first of each counts", flush=True)
    return {"facts": facts, "runs": runs, "made_by": made_by}


def _record(
    run: Run,
    values: Mapping[str, str],
    metrics: Mapping[str, Any],
    by_fact: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    models: dict[str, dict[str, Any]] = {}
    for model, found in by_fact.items():
        models[model] = {}
        by_lang = metrics["win_rates"][model]
        for name, (field, digits) in OF_MODELS.items():
            models[model][name] = {
                lang: round(entry[field], digits) for lang, entry in by_lang.items()
            }
        models[model]["right"] = {lang: _right(run, model, lang) for lang in by_lang}
        models[model]["facts"] = [round(value, 2) for value in found.values()]
    for here in run.iterations:
        models[here.target] |= _scored(here, metrics) | _trained(here)
    return {
        "values": {key: value for key, value in values.items() if key != "seed"},
        "seed": run.preset.seed,
        "models": models,
        "rewards": metrics["rewards_shared"],
    }


def _scored(here: Iteration, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """How often the score that made a model's pairs is right on shared responses, by language, and
    the seconds from the model before it to this one."""
    scorer = split_scorers(here.run.preset.scoring.scorers)[0]
    right = metrics["rewards_shared"].get(here.source, {}).get(scorer, {})
    own = [
        seconds
        for stage, seconds in metrics["seconds"].items()
        if stage.startswith(f"{here.target}/") and not stage.startswith(f"{here.shared.target}/")
    ]
    return {
        "pair_accuracy": {lang: entry["pair_accuracy"] for lang, entry in right.items()},
        "seconds": round(sum(own), 1),
    }


def _trained(here: Iteration) -> dict[str, Any]:
    """What a model's training began with and ended with."""
    pairs = {}
    for lang, report in read_json(here.pair_report).items():
        pairs[lang] = {name: report[name] for name in OF_PAIRS}
    log = read_json(here.training_record)["log"]
    found: dict[str, Any] = {"pairs": pairs}
    for name, field in OF_TRAINING.items():
        found[name] = round(float(np.mean([step[field] for step in log[-LAST:]])), 4)
    return found


def _facts(run: Run, model: str, langs: Iterable[str]) -> dict[str, float]:
    """The win rate on each fact, in points, mean over its questions in all languages but
    English."""
    found: dict[str, list[float]] = {}
    here = run.evaluated(model)
    for lang in langs:
        if lang == "en":
            continue
        judged = read_judged(here.annotations(lang), model, lang)
        for prompt, preference in zip(judged.prompt, judged.preference, strict=True):
            found.setdefault(fact_of(prompt), []).append(100 * (preference - 1))
    return {fact: float(np.mean(found[fact])) for fact in sorted(found)}


def _right(run: Run, model: str, lang: str) -> float:
    """The share of responses that give the right answer, in whatever form and language."""
    found = []
    for judged in read_json(run.evaluated(model).annotations(lang)):
        fact = load_world().fact(judged["id"])
        found.append(judge(fact, lang, judged["output_2"]).answer == "right")
    return round(float(np.mean(found)), 3)


def _taxed(values: Values, models: Sequence[str]) -> set[str]:
    """The models of a run that a claim about the tax looks at."""
    found = set()
    for analysis in ANALYSES.values():
        if any(claim.measure in OF_TAX for claim in analysis.claims):
            arms = [arm for arm in analysis.arms.values() if arm.changed == values]
            found |= {arm.model or models[-1] for arm in arms}
    return found


def _tax(run: Run, model: str) -> dict[str, dict[str, float]]:
    """`evaluation.tax` of a model of the lab."""
    base, size = run.base(model), run.preset.scoring.batch_tokens
    tokenizer = load_tokenizer(base)
    langs = [path.stem for path in run.prompt_files]
    with active(load_model(base, {model: run.adapter(model)}), run.adapter_name(model)) as loaded:
        loss = document_loss(loaded, tokenizer, held_out(), size)
        known = facts_known(loaded, tokenizer, langs, size)
    return {
        "loss": {"documents": round(loss, 4)},
        "known": {lang: round(share, 3) for lang, share in known.items()},
    }
