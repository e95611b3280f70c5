"""N responses a prompt from π^{t−1}: <model>/samples/<lang>.jsonl, and from π_I, to compare scores
on: shared/samples/<lang>.jsonl."""

from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.records import Prompt
from xlnb.lab.world import world_fields
from xlnb.presets import Sampling
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages import selection
from xlnb.stages.generation import generation
from xlnb.stages.keys import adapter_files, model_fields, sampling_fields
from xlnb.stages.loading import load_sampler
from xlnb.stages.prompts import lab_questions
from xlnb.stages.reading import iteration_prompts, read_prompts
from xlnb.stages.sharing import share_out


def sample(run: Run, iteration: int) -> Path:
    """Sample N responses a prompt from π^{t−1}, each prompt in its own language.

    Iteration 0 samples π_I on English training prompts, of the lab or such that carry checks: the
    raw material of the English preferences.
    """
    here = run.iteration(iteration)
    own = iteration or run.verifies_by
    parts = "prompts.parts" if iteration else "lab.english"
    config = run.preset.sampling.of_iterations if iteration else run.preset.sampling
    stage = _stage(
        run,
        here.samples_folder,
        config,
        inputs=[
            *(run.prompt_files if own else []),
            *adapter_files(run, here.source),
            *(selection.inputs(here) if iteration else []),
        ],
        uses={
            **(fields(run.preset, parts) if iteration or not own else {}),
            **({} if own else world_fields()),
        },
    )
    if stage.current():
        return stage.out
    prompts = _training_prompts(here) if iteration else _english_questions(run)
    return _sample(stage, here.source, config, prompts)


def sample_shared(run: Run) -> Path:
    """Sample π_I on the held-out `reward` prompts, in every language."""
    config = run.preset.sampling
    stage = _stage(run, run.shared_samples, config, inputs=run.prompt_files, uses={})
    if stage.current():
        return stage.out
    prompts = {}
    for lang, some in read_prompts(run).items():
        prompts[lang] = [prompt for prompt in some if prompt.split == "reward"]
    return _sample(stage, "sft", config, prompts)


def _stage(
    run: Run, out: Path, config: Sampling, *, inputs: list[Path], uses: dict[str, object]
) -> Stage:
    sampling = {"sampling": sampling_fields(config)}
    uses = {**sampling, **model_fields(run.loaded), **fields(run.preset, "seed"), **uses}
    return Stage(run, out.relative_to(run.path).as_posix(), inputs=inputs, uses=uses, out=out)


def _sample(stage: Stage, model: str, config: Sampling, prompts: dict[str, list[Prompt]]) -> Path:
    run = stage.run
    with stage.working():
        sampler, tokenizer = load_sampler(run, model)
        files = (
            generation(
                run,
                sampler,
                tokenizer,
                some,
                stage.out / f"{lang}.jsonl",
                n=config.n,
                config=config,
                stream=f"{stage.name} {lang}",
                label=f"{stage.name} {lang}",
            )
            for lang, some in prompts.items()
        )
        share_out(files, models=[sampler.model])
    return stage.out


def _training_prompts(iteration: Iteration) -> dict[str, list[Prompt]]:
    """What the iteration samples, of the languages that are not for evaluation only."""
    found = {}
    chosen = selection.selected(iteration)
    for lang, prompts in read_prompts(iteration.run).items():
        some = iteration_prompts(iteration, prompts)
        if chosen is not None:
            some = [each for each in some if each.split != "train" or each.prompt_id in chosen]
        if some:
            found[lang] = some
    return found


def _english_questions(run: Run) -> dict[str, list[Prompt]]:
    if run.verifies_by:
        split = "english" if run.preset.prompts.english else "train"
        return {"en": [prompt for prompt in read_prompts(run)["en"] if prompt.split == split]}
    if not run.preset.lab.english:
        raise InputError(
            f"preset {run.preset.name}: there is no π^0; name it (models.dpo or "
            "models.dpo_adapter) or give English preferences to train it on (preferences.path)"
        )
    return {"en": lab_questions("train", run.preset.lab.english, "en")}
