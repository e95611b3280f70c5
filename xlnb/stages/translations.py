"""Responses in English, for the translated reward: icr<t>/translations/<lang>.jsonl."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl
from xlnb.common.processes import main_alone
from xlnb.common.records import Prompt, Response, Sample, write_records
from xlnb.inputs.response_translation import (
    TEMPERATURE,
    request_fields,
    response_request,
    response_tasks,
)
from xlnb.lab.translator import translate as translate_response
from xlnb.lab.world import load_world, world_fields
from xlnb.models.chat import load_tokenizer
from xlnb.presets import Preset
from xlnb.rewards import prompts_read
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.sampling import Sampler, Transformers
from xlnb.stages.generation import generation
from xlnb.stages.keys import model_fields, sampling_fields
from xlnb.stages.loading import load_sampler
from xlnb.stages.reading import no_iteration_0
from xlnb.stages.sharing import share_out
from xlnb.stages.translators import SEQ2SEQ, chat_models, seq2seq_loader, seq2seq_uses, seq2seq_work


def translate(run: Run, iteration: int, *, shared: bool = False) -> Path:
    """Responses in other languages than English, translated by π_I or what
    `scoring.translated_by` names; in the lab, whose π_I has never seen a translation, by the
    world's own translator.

    Records are as those of samples, with the request for a translation as their instruction; each
    text once a prompt. `shared`: those to the lab's shared responses.
    """
    no_iteration_0(iteration, "translate")
    here = run.iteration(iteration).of(shared=shared)
    covers = prompts_read(run.preset.scoring.scorers)
    if "translated" not in covers:
        raise InputError("stage translate: no scorer needs it; add translated to scoring.scorers")
    splits = covers["translated"]
    langs = [lang for lang in here.langs if lang != "en"]
    config = replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)
    translator = run.preset.scoring.translated_by
    by_world = run.is_lab and not translator
    by: dict[str, Any] = fields(run.preset, "seed")
    if by_world:
        by |= {**fields(run.preset, "lab.translation_noise"), **world_fields()}
    elif translator.startswith(SEQ2SEQ):
        by |= fields(run.preset, "sampling.max_new_tokens", "sampling.batch_tokens")
        by |= seq2seq_uses(run, translator, [(lang, "en") for lang in langs])
    elif translator:
        by |= {"sampling": sampling_fields(config), **model_fields(chat_models(run, translator))}
    else:
        by |= {"sampling": sampling_fields(config), **model_fields(run.loaded)}
    stage = Stage(
        run,
        f"{here.target}/translations",
        inputs=[here.samples(lang) for lang in langs],
        uses={"splits": splits, **by, **request_fields()},
        out=here.folder / "translations",
    )

    def tasks(lang: str) -> list[Prompt]:
        samples = [s for s in read_jsonl(here.samples(lang)) if s["split"] in splits]
        return list(response_tasks(samples))

    def make_by_world() -> None:
        for lang in langs:
            records = [_by_world(task, run.preset) for task in tasks(lang)]
            write_records(here.translations(lang), records)

    def make_by_seq2seq() -> None:
        load = seq2seq_loader(run, translator)
        for lang in langs:
            load(lang, "en").direction(lang, "en")
        files = (
            seq2seq_work(
                run,
                load,
                tasks(lang),
                here.translations(lang),
                response_request(""),
                lang,
                "en",
                f"{stage.name} {lang}",
            )
            for lang in langs
        )
        share_out(files, models=[])

    def make() -> None:
        sampler, tokenizer = _sampler(run, translator)
        files = (
            generation(
                run,
                sampler,
                tokenizer,
                tasks(lang),
                here.translations(lang),
                n=1,
                config=config,
                stream=f"{here.target}/translations {lang}",
                label=f"{stage.name} {lang}",
            )
            for lang in langs
        )
        share_out(files, models=[sampler.model])

    if by_world:
        return stage.make(main_alone(make_by_world))
    return stage.make(make_by_seq2seq if translator.startswith(SEQ2SEQ) else make)


def _sampler(run: Run, translator: str) -> tuple[Sampler, PreTrainedTokenizerBase]:
    """π_I, or the chat model that is named."""
    if not translator:
        return load_sampler(run, "sft")
    models = chat_models(run, translator)
    tokenizer = load_tokenizer(models)
    return Transformers(models, None, tokenizer), tokenizer


def _by_world(task: Prompt, preset: Preset) -> Sample:
    prompt_id = task.prompt_id.rpartition("#")[0]
    fact = load_world().fact(prompt_id)
    text = task.instruction.removeprefix(response_request(""))
    stream = random.Random(f"{preset.seed} translation {task.lang} {prompt_id} {text}")
    found = translate_response(fact, task.lang, text, preset.lab.translation_noise, stream)
    response = Response(found, [], "stop")
    return Sample(task.prompt_id, task.lang, task.split, task.instruction, [response])
