"""Opening a run folder."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import existing_folder, read_json, sweep, write_text
from xlnb.models.checkpoint import check_two
from xlnb.models.hub import is_hub_id
from xlnb.presets import Preset, get_preset, override, preset_from_dict, to_json
from xlnb.runs.layout import Run, record_of
from xlnb.runs.lock import held
from xlnb.runs.provenance import environment
from xlnb.runs.stage import refuse_outdated

# Bytes of disk that a run must find: adapters, checkpoints and samples of the lab fit well.
MIN_FREE = 256 * 2**20


def open_run(
    path: str | Path,
    preset: str = "",
    overrides: Mapping[str, object] | None = None,
    *,
    redo: bool = True,
    donors: Iterable[Path] = (),
) -> Run:
    """Open a run folder, making it where it is new.

    Without `preset`, the folder's own `preset.json` is used, with `overrides` on top. A changed
    preset does not undo anything here: each stage finds out by itself whether what it made is still
    current. Without `redo` such a stage is not made again but an InputError, and so is a preset
    that shows beforehand that there would be one. `donors`: see `Run`.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, not a run folder; name a folder")
    above = existing_folder(path)
    if not above.is_dir():
        raise InputError(f"{path}: {above} is a file, not a folder; name another")
    chosen = get_preset(preset, overrides) if preset else kept_preset(path, overrides)
    run = Run(path, chosen, redo, tuple(donors))
    check_run(run)
    _record(run)
    if processes.is_main():
        sweep(run.path)
    return run


def kept_preset(path: Path, overrides: Mapping[str, object] | None = None) -> Preset:
    """The preset that the folder holds, with `overrides` on top."""
    record = record_of(path)
    if not record.exists():
        raise InputError(
            f"{path} is not a run folder (it has no {record.name}); name a preset to start one"
        )
    saved = read_json(record)
    values = saved.get("preset") if isinstance(saved, dict) else None
    if not isinstance(values, dict) or "name" not in values:
        raise InputError(f"{record}: holds no preset; name one to start again in this folder")
    try:
        preset = preset_from_dict(values)
    except InputError as error:
        raise InputError(f"{record}: {error}") from None
    return override(preset, overrides or {})


def check_run(run: Run) -> None:
    """What of a preset only the method's steps, this machine and this folder can tell."""
    if not run.redo and run.record.exists():
        refuse_outdated(run, kept_preset(run.path))
    # They import torch, which takes a second.
    from xlnb.judges.registry import find_judge
    from xlnb.lab.tastes import get_taste
    from xlnb.losses import check_loss
    from xlnb.rewards import check_truth, split_scorers
    from xlnb.sampling import choose_backend

    scorers = split_scorers(run.preset.scoring.scorers)
    check_truth(scorers, is_lab=run.is_lab)
    find_judge(run.preset.evaluation.judge)
    get_taste(run.preset.lab.taste)
    _check_verified(run)
    _check_user(run, scorers)
    if run.preset.prompts.select != "all" and not run.trains_dpo:
        raise InputError(
            "prompts.select goes by the English preferences that π^0 is trained on, and this run's "
            "is given; leave it out"
        )
    if run.preset.prompts.select == "gradient" and run.preset.models.shard:
        raise InputError(
            "prompts.select=gradient: one process alone computes them; set models.shard=false"
        )
    for name, instead in {"gate": "take mean", "comparer": "leave it out"}.items():
        if name in scorers and not run.trains_dpo:
            raise InputError(
                f"scoring.scorers: {name} is fitted to the English preferences that π^0 is trained "
                f"on, and this run's is given; {instead}"
            )
    if {"gate", "comparer"} <= {*scorers}:
        raise InputError(
            "scoring.scorers: the gate would weigh the comparer by pairs that it was trained on; "
            "take mean, or leave one of them out"
        )
    check_loss(run.preset.english, "english")
    check_loss(run.preset.training, "training")
    choose_backend(run.preset.sampling.backend, run.preset.models)
    check_two(run.preset.models)
    adapter = run.preset.models.dpo_adapter
    if adapter and not is_hub_id(adapter) and not Path(adapter).is_dir():
        raise InputError(
            f"models.dpo_adapter {adapter}: neither a folder here nor ORG/NAME on the Hub; "
            "mend the name"
        )
    baseline = run.preset.evaluation.baseline
    if "{lang}" not in baseline and baseline not in run.models:
        raise InputError(
            f"evaluation.baseline '{baseline}': expected {', '.join(run.models)}, or files as "
            "FOLDER/{lang}/NAME.json"
        )
    free = shutil.disk_usage(existing_folder(run.path)).free
    if free < MIN_FREE:
        raise InputError(
            f"{run.path}: only {free / 2**20:.0f} MiB of disk are free, a run needs "
            f"{MIN_FREE / 2**20:.0f}; free some"
        )


def _check_verified(run: Run) -> None:
    """What a program verifies: of prompts of one's own, by a taste that there is."""
    from xlnb.checks.instructions import split_kinds
    from xlnb.checks.tastes import TASTES, get_taste

    prompts, config = run.preset.prompts, run.preset.evaluation
    split_kinds(prompts.checks)
    if config.taste:
        get_taste(config.taste)
    if prompts.references and run.preset.localise.langs:
        raise InputError(
            "prompts.references: translated prompts have none; set prompts.path to parallel ones "
            "that do"
        )
    if run.is_lab and (config.taste or prompts.reward or prompts.checks):
        raise InputError(
            "evaluation.taste, prompts.reward and prompts.checks: the lab's prompts carry no "
            "checks; set prompts.path, or lab.taste and lab.reward for the lab"
        )
    if not run.verifies_by and (config.judge == "verifiable" or prompts.reward):
        raise InputError(
            "evaluation.judge=verifiable and prompts.reward need a truth: set prompts.path to "
            f"prompts that carry checks, and evaluation.taste to one of {', '.join(TASTES)}"
        )


def _check_user(run: Run, scorers: list[str]) -> None:
    """A user's preference, where there is one: of a file, and of what is known of responses."""
    path = run.preset.pairing.preference
    if path and not Path(path).is_file():
        raise InputError(f"pairing.preference {path}: no such file; mend the name")
    if path and not (run.has_shared and "likelihood" in scorers):
        raise InputError(
            "pairing.preference weighs reward and likelihood, by pairs of shared/samples: add "
            "likelihood to scoring.scorers, and hold out prompts (lab.reward or prompts.reward)"
        )


def _record(run: Run) -> None:
    """Write down what the run is and what makes it.

    Opening a run with a later revision, or on another machine, leaves the record as it is; a stage
    that works there notes what it is made by (`provenance.note`).
    """
    if run.record.exists() and _is_recorded(run):
        return
    if processes.is_main():
        # A command at work here goes by the record that there is.
        with held(run.path):
            record = {"preset": json.loads(to_json(run.preset)), **environment()}
            write_text(run.record, json.dumps(record, indent=2) + "\n")


def _is_recorded(run: Run) -> bool:
    """Whether the record says these values, be it of a revision that had fewer fields."""
    try:
        return kept_preset(run.path) == run.preset
    except InputError:
        return False
