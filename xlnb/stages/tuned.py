"""π_I from a base that is none yet: sft/, a checkpoint."""

import shutil
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import write_json
from xlnb.inputs.demonstrations import COLUMNS, demonstrations
from xlnb.inputs.sources import parse_source, read_rows, source_files
from xlnb.models.base import context_of, read_config
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import model_fields, source_fields


def tune(run: Run) -> Path:
    """Supervised fine-tuning of `models.base` on the demonstrations of `sft.path`, by QLoRA; the
    adapter is merged, so that π_I is a checkpoint as any other. training.json counts what was
    dropped."""
    # They import TRL, which takes seconds.
    from xlnb.training import check_dealt
    from xlnb.tuning import save_merged, tune_adapter

    config = run.preset.sft
    models = run.preset.models
    source = parse_source(config.path)
    settings = asdict(config)
    del settings["path"]
    stage = Stage(
        run,
        "sft",
        inputs=source_files(source),
        uses={
            "sft": settings,
            **fields(run.preset, "seed"),
            **source_fields([config.path], [source]),
            **model_fields(models),
        },
        out=run.tuned,
    )
    check_dealt(config, "sft")

    def make() -> None:
        tokenizer = load_tokenizer(models)

        def read(asked: str, answer: str) -> tuple[list[int], list[int]]:
            return prompt_ids(tokenizer, asked), response_ids(tokenizer, asked, answer)

        rows = tqdm(read_rows(source, COLUMNS), desc=stage.name, disable=not processes.is_main())
        given, report = demonstrations(rows, config.limit, read)
        most = min(config.max_tokens, context_of(read_config(models)))
        fits = [one for one in given if len(one.prompt) + len(one.response) <= most]
        report["dropped_too_long"] = len(given) - len(fits)
        if not fits:
            raise InputError(f"{config.path}: all are longer than {most} tokens")
        checkpoints = stage.out / "checkpoints"
        model, log = tune_adapter(
            models,
            tokenizer,
            fits,
            config,
            seed=run.preset.seed,
            checkpoints=checkpoints,
            label=stage.name,
        )
        if processes.is_main():
            print(f"{stage.name}: {report}", flush=True)
            save_merged(model, tokenizer, models, stage.out)
            write_json(stage.out / "training.json", {**report, "log": log})
            shutil.rmtree(checkpoints)

    return stage.make(make)
