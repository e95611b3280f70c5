""""""

from dataclasses import replace
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl
from xlnb.common.languages import split_langs
from xlnb.inputs.translation import TEMPERATURE, translation_tasks
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.generation import generate
from xlnb.stages.keys import model_fields, sampling_fields
from xlnb.stages.loading import load_sampler
from xlnb.stages.reading import no_iteration_0, sample_files
from xlnb.stages.scores import scored_by


def translate(run: Run, iteration: int) -> Path:
    """Responses in other languages than English translated by π_I, for R_t: icr<t>/translations/<lang>.jsonl.

    Records are as those of samples, with the request for a translation as their prompt; each text once a prompt.
    """
    no_iteration_0(iteration, "translate")
    if "translated" not in split_langs(run.preset.scoring.scorers):
        raise InputError("stage translate: no scorer needs it; add translated to scoring.scorers")
    folder = run.folder(iteration)
    samples = [path for path in sample_files(folder, "translations") if path.stem != "en"]
    config = replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)
    stage = Stage(
        run,
        f"{folder.name}/translations",
        inputs=samples,
        uses={
            "sampling": sampling_fields(config),
            "scoring": {"scorers": run.preset.scoring.scorers},
            **model_fields(run),
        },
        out=folder / "translations",
    )
    if stage.current():
        return stage.out
    with stage.working():
        model, tokenizer = load_sampler(run, "sft")
        for path in samples:
            generate(
                run,
                model,
                "sft",
                tokenizer,
                list(translation_tasks(scored_by(run, "translated", read_jsonl(path)))),
                stage.out / path.name,
                n=1,
                config=config,
                label=f"{stage.name} {path.stem}",
            )
    return stage.out
