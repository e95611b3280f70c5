""""""

from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.generation import generate
from xlnb.stages.keys import adapter_files, model_fields, sampling_fields
from xlnb.stages.loading import load_sampler
from xlnb.stages.prompts import lab_questions
from xlnb.stages.reading import iteration_prompts, prompt_files, read_prompts


def sample(run: Run, iteration: int) -> Path:
    """Sample N responses a prompt from π^{t−1}, each prompt in its own language: <model>/samples/<lang>.jsonl.

    Iteration 0 samples π_I on English training prompts, the raw material of the English preferences.
    """
    out = run.folder(iteration) / "samples"
    source = run.models[iteration]
    everything = read_prompts(run)
    if iteration == 0:
        if not run.preset.lab.english:
            raise InputError(
                f"preset {run.preset.name}: there is no π^0; name it (models.dpo or models.dpo_adapter) or give "
                "English preferences to train it on (preferences.path)"
            )
        texts = {"en": lab_questions("train", run.preset.lab.english, "en")}
    else:
        wanted = {
            lang: iteration_prompts(run, iteration, records) for lang, records in everything.items()
        }
        texts = {
            lang: records for lang, records in wanted.items() if records
        }  # some are for evaluation only
    config = run.preset.sampling
    stage = Stage(
        run,
        f"{out.parent.name}/samples",
        inputs=[*prompt_files(run), *adapter_files(run, source)],
        uses={
            "sampling": sampling_fields(config),
            **(
                {
                    "prompts": {"fresh": run.preset.prompts.fresh},
                    "iterations": run.preset.iterations,
                }
                if iteration
                else {"lab": {"english": run.preset.lab.english}}
            ),
            **model_fields(run),
        },
        out=out,
    )
    if stage.current():
        return out
    with stage.working():
        model, tokenizer = load_sampler(run, source)
        for lang, records in texts.items():
            generate(
                run,
                model,
                source,
                tokenizer,
                records,
                out / f"{lang}.jsonl",
                n=config.n,
                config=config,
                label=f"{stage.name} {lang}",
            )
    return out
