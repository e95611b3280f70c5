"""English preferences, which π^0 is trained on: dpo/pairs/en.jsonl."""

from functools import partial
from pathlib import Path

from tqdm import tqdm

from xlnb.common.errors import InputError
from xlnb.common.files import write_json
from xlnb.common.processes import main_alone
from xlnb.common.records import Sample, read_records, write_records
from xlnb.evaluation.truth import english_preferences, flip
from xlnb.inputs.preferences import COLUMNS, preference_pairs
from xlnb.inputs.sources import parse_source, read_rows, source_files
from xlnb.lab.truth import lab_truth
from xlnb.lab.world import world_fields
from xlnb.models.chat import load_tokenizer, response_ids
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import model_fields, source_fields
from xlnb.stages.truth import truth_of


@main_alone
def prefer(run: Run) -> Path:
    """English preferences from `preferences.path`, with counts in report.json. What π_I's tokenizer
    and chat template do not give back as it is makes no pair, and is counted.

    Without a path what stands in for them: pairs of π_I's samples, ordered by the truth
    (`truth_of`), of the lab's questions or of prompts that carry checks.
    """
    if not run.trains_dpo:
        raise InputError(
            "stage prefer: this run's π^0 is given (models.dpo or models.dpo_adapter); "
            "there is none to make"
        )
    here = run.iteration(0)
    config = run.preset.preferences
    inputs = [here.samples("en")]
    # label noise is an option, and no part of the key where it is off
    uses = {
        **fields(run.preset, "seed", "lab.taste", "preferences.flipped"),
        **world_fields(),
    }
    if run.verifies_by:
        inputs += run.prompt_files
        uses = fields(run.preset, "seed", "evaluation.taste", "preferences.flipped")
    if config.path:
        source = parse_source(config.path)
        inputs = source_files(source)
        # The base's tokenizer and chat template decide which pairs can be read.
        uses = {
            **fields(run.preset, "preferences.limit"),
            **source_fields([config.path], [source]),
            **model_fields(run.loaded),
        }
    stage = Stage(run, "dpo/pairs", inputs=inputs, uses=uses, out=here.folder / "pairs")

    def make() -> None:
        if config.path:
            rows = tqdm(read_rows(source, COLUMNS), desc=stage.name)
            read = partial(response_ids, load_tokenizer(run.base("sft")))
            pairs, report = preference_pairs(rows, config.limit, read)
            print(
                f"{stage.name}: {report['pairs']} of {report['rows']} pairs; "
                f"dropped: {report['dropped']}",
                flush=True,
            )
            write_json(here.pair_report, {"en": report})
        else:
            samples = read_records(here.samples("en"), Sample)
            truth = truth_of(run) or lab_truth(run.preset.lab.taste)
            pairs = english_preferences(samples, run.preset.seed, truth)
            if not pairs:
                raise InputError(
                    f"{stage.name}: no response of π_I is better than another to the same prompt; "
                    "sample more of them (sampling.n), or choose another taste"
                )
            pairs = flip(pairs, config.flipped, run.preset.seed)
        write_records(here.pairs("en"), pairs)

    return stage.make(make)
