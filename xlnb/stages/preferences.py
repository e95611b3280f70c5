""""""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl, write_json, write_jsonl
from xlnb.common.processes import main_alone
from xlnb.inputs.preferences import COLUMNS, preference_pairs
from xlnb.inputs.sources import parse_source, read_rows, source_files, source_versions
from xlnb.lab.truth import english_preferences
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage


@main_alone
def prefer(run: Run) -> Path:
    """English preferences: dpo/pairs/en.jsonl, from `preferences.path` with counts in report.json.

    Without a path the lab's stand-in for them: π_I's samples in random pairs, ordered by the oracle (`xlnb.lab.truth`).
    """
    if run.preset.models.dpo or run.preset.models.dpo_adapter:
        raise InputError(
            "stage prefer: this run's π^0 is given (models.dpo or models.dpo_adapter); there is none to make"
        )
    folder, config = run.folder(0), run.preset.preferences
    samples = folder / "samples" / "en.jsonl"
    inputs: list[Path] = [samples]
    uses: dict[str, Any] = {"seed": run.preset.seed}
    if config.path:
        source = parse_source(config.path)
        inputs, uses = (
            source_files(source),
            {"preferences": asdict(config), **source_versions([source])},
        )
    stage = Stage(run, "dpo/pairs", inputs=inputs, uses=uses, out=folder / "pairs")
    if stage.current():
        return stage.out
    with stage.working():
        if config.path:
            pairs, report = preference_pairs(
                tqdm(read_rows(source, COLUMNS), desc=stage.name), config.limit
            )
            print(
                f"{stage.name}: {report['pairs']} of {report['rows']} pairs; dropped: {report['dropped']}",
                flush=True,
            )
            write_json(stage.out / "report.json", {"en": report})
        else:
            pairs = english_preferences(read_jsonl(samples), run.preset.seed)
        write_jsonl(stage.out / "en.jsonl", pairs)
    return stage.out
