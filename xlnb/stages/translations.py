"""Responses in English, for the translated reward: icr<t>/translations/<lang>.jsonl."""

from dataclasses import replace
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl
from xlnb.inputs.response_translation import TEMPERATURE, response_tasks
from xlnb.rewards import prompts_read
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.generation import generate
from xlnb.stages.keys import model_fields, sampling_fields
from xlnb.stages.loading import load_sampler
from xlnb.stages.reading import no_iteration_0


def translate(run: Run, iteration: int) -> Path:
    """Responses in other languages than English, translated by π_I.

    Records are as those of samples, with the request for a translation as their instruction; each
    text once a prompt.
    """
    no_iteration_0(iteration, "translate")
    here = run.iteration(iteration)
    covers = prompts_read(run.preset.scoring.scorers)
    if "translated" not in covers:
        raise InputError("stage translate: no scorer needs it; add translated to scoring.scorers")
    splits = covers["translated"]
    langs = [lang for lang in here.langs if lang != "en"]
    config = replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)
    stage = Stage(
        run,
        f"{here.target}/translations",
        inputs=[here.samples(lang) for lang in langs],
        uses={
            "sampling": sampling_fields(config),
            "splits": splits,
            "seed": run.preset.seed,
            **model_fields(run.preset.models),
        },
        out=here.folder / "translations",
    )

    def make() -> None:
        sampler, tokenizer = load_sampler(run, "sft")
        for lang in langs:
            samples = [s for s in read_jsonl(here.samples(lang)) if s["split"] in splits]
            generate(
                run,
                sampler,
                tokenizer,
                list(response_tasks(samples)),
                here.translations(lang),
                n=1,
                config=config,
                stream=f"{here.target}/translations {lang}",
                label=f"{stage.name} {lang}",
            )

    return stage.make(make)
