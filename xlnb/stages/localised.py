""""""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from xlnb.common.endpoint import ChatEndpoint
from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl, write_json, write_jsonl
from xlnb.common.journal import Journal
from xlnb.common.languages import language_name, split_langs
from xlnb.common.processes import main_alone
from xlnb.inputs.localisation import (
    check_drafts,
    draft_failure,
    endpoint_translations,
    keep_parallel,
    localisation_consent,
    translation_task,
)
from xlnb.inputs.parallel_prompts import prompt_sources, read_parallel
from xlnb.inputs.sources import source_files, source_versions
from xlnb.inputs.translation import TEMPERATURE
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer
from xlnb.presets import Models
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.generation import generate
from xlnb.stages.keys import model_fields
from xlnb.stages.prompts import limited

Translator = Callable[[list[dict], Path, str], list[dict]]  # tasks, file, label -> records


@main_alone
def localise(run: Run, *, yes: bool = False) -> Path:
    """English training prompts in other languages: localised/prompts/<lang>.jsonl, parallel, and report.json of counts.

    A draft that fails a check of `xlnb.localisation` goes to localised/failed/<lang>.jsonl with its reason, and its
    prompt is dropped in every language. drafts/<lang>/ holds all drafts and their translations back into English, which
    another `localise.min_chrf` does not make anew. Where calls cost money, an estimate a language is printed first;
    `yes` goes on without asking.
    """
    config, path = run.preset.localise, run.preset.prompts.path
    langs = [lang for lang in split_langs(config.langs) if lang != "en"]
    if not path or not langs:
        raise InputError(
            "stage localise: set prompts.path to English prompts and localise.langs to languages, as de,sw"
        )
    sources, limit = prompt_sources(path, "en"), run.preset.prompts.limit
    files = [file for source in sources for file in source_files(source)]
    uses = {"prompts": {"path": path, "limit": limit}, **source_versions(sources)}
    english = limited(read_parallel(path, "en"), "train", limit)["en"]
    translator: Translator | None = None
    for lang in langs:
        by = {"localise": {"by": config.by}} | (
            {} if config.by.startswith("endpoint:") else _translator_uses(run)
        )
        stage = Stage(
            run, f"drafts/{lang}", inputs=files, uses=uses | by, out=run.path / "drafts" / lang
        )
        language_name(lang)
        if stage.current():
            continue
        with stage.working():
            translator = translator or _translator(run)
            drafts_path, back_path = stage.out / "drafts.jsonl", stage.out / "back.jsonl"
            if config.by.startswith("endpoint:"):
                done = sum(
                    len(read_jsonl(p) if p.exists() else Journal(p).done)
                    for p in (drafts_path, back_path)
                )
                localisation_consent(config.by, english, done, price=config.price, yes=yes)
            tasks = [translation_task(record, record["instruction"], lang) for record in english]
            drafts = translator(tasks, drafts_path, f"{stage.name} from English")
            back = [
                translation_task(record, draft["responses"][0]["text"].strip(), "en")
                for record, draft in zip(english, drafts, strict=True)
                if not draft_failure(record, draft)
            ]
            translator(back, back_path, f"{stage.name} back to English")
    folders = {lang: run.path / "drafts" / lang for lang in langs}
    stage = Stage(
        run,
        "localised",
        inputs=[
            *files,
            *(
                folder / name
                for folder in folders.values()
                for name in ("drafts.jsonl", "back.jsonl")
            ),
        ],
        uses={"localise": {"langs": config.langs, "min_chrf": config.min_chrf}} | uses,
        out=run.path / "localised",
    )
    if stage.current():
        return stage.out
    with stage.working():
        kept, failed = {}, {}
        for lang, folder in folders.items():
            kept[lang], failed[lang] = check_drafts(
                english,
                read_jsonl(folder / "drafts.jsonl"),
                read_jsonl(folder / "back.jsonl"),
                min_chrf=config.min_chrf,
            )
            write_jsonl(stage.out / "failed" / f"{lang}.jsonl", failed[lang])
        localised, report = keep_parallel(kept, failed, english)
        for lang, records in localised.items():
            write_jsonl(stage.out / "prompts" / f"{lang}.jsonl", records)
        write_json(stage.out / "report.json", report)
        for lang, counts in report["langs"].items():
            print(
                f"{stage.name} {lang}: failed {counts['failed'] or 'none'}, mean chrF {counts['mean_chrf']}",
                flush=True,
            )
        print(
            f"{stage.name}: {report['kept']} of {report['prompts']} prompts kept in every language",
            flush=True,
        )
        if not report["kept"]:
            raise InputError(
                f"{stage.out / 'failed'}: no prompt is left in every language; see the reasons there"
            )
    return stage.out


def _translator(run: Run) -> Translator:
    """What translates tasks into a file of sample records, by `localise.by`."""
    by, config = (
        run.preset.localise.by,
        replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0),
    )
    if by.startswith("endpoint:"):
        endpoint = ChatEndpoint(
            by.removeprefix("endpoint:"), workers=run.preset.localise.workers, timeout=600.0
        )
        return partial(endpoint_translations, endpoint)
    models = _translator_models(run)
    tokenizer, model = load_tokenizer(models), load_base(models)
    return lambda tasks, path, label: generate(
        run, model, "sft", tokenizer, tasks, path, n=1, config=config, label=label
    )


def _translator_models(run: Run) -> Models:
    by = run.preset.localise.by
    if by and not by.startswith("local:"):
        raise InputError(
            f"localise.by '{by}': expected endpoint:MODEL, local:FOLDER_OR_HUB_ID or nothing for π_I"
        )
    models = replace(run.preset.models, dpo="", dpo_adapter="")
    return replace(models, base=by.removeprefix("local:")) if by else models


def _translator_uses(run: Run) -> dict[str, Any]:
    config = run.preset.sampling
    sampling = {"max_new_tokens": config.max_new_tokens, "batch_tokens": config.batch_tokens}
    return {"sampling": sampling} | model_fields(
        replace(run, preset=replace(run.preset, models=_translator_models(run)))
    )
