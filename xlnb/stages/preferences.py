"""English preferences, which π^0 is trained on: dpo/pairs/en.jsonl."""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from xlnb.common.errors import InputError
from xlnb.common.files import write_json
from xlnb.common.processes import main_alone
from xlnb.common.records import Sample, read_records, write_records
from xlnb.inputs.preferences import COLUMNS, preference_pairs
from xlnb.inputs.sources import parse_source, read_rows, source_files
from xlnb.lab.truth import english_preferences
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import source_fields


@main_alone
def prefer(run: Run) -> Path:
    """English preferences from `preferences.path`, with counts in report.json.

    Without a path the lab's stand-in for them: π_I's samples in random pairs, ordered by the oracle
    (`xlnb.lab.truth`).
    """
    if not run.trains_dpo:
        raise InputError(
            "stage prefer: this run's π^0 is given (models.dpo or models.dpo_adapter); "
            "there is none to make"
        )
    here = run.iteration(0)
    config = run.preset.preferences
    inputs = [here.samples("en")]
    uses: dict[str, Any] = fields(run.preset, "seed")
    if config.path:
        source = parse_source(config.path)
        inputs = source_files(source)
        uses = fields(run.preset, "preferences") | source_fields([config.path], [source])
        del uses["preferences"]["path"]
    stage = Stage(run, "dpo/pairs", inputs=inputs, uses=uses, out=here.folder / "pairs")

    def make() -> None:
        if config.path:
            rows = tqdm(read_rows(source, COLUMNS), desc=stage.name)
            pairs, report = preference_pairs(rows, config.limit)
            print(
                f"{stage.name}: {report['pairs']} of {report['rows']} pairs; "
                f"dropped: {report['dropped']}",
                flush=True,
            )
            write_json(here.pair_report, {"en": report})
        else:
            samples = read_records(here.samples("en"), Sample)
            pairs = english_preferences(samples, run.preset.seed)
        write_records(here.pairs("en"), pairs)

    return stage.make(make)
