"""English training prompts in other languages: localised/prompts/<lang>.jsonl, parallel."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from xlnb.common.endpoint import ChatEndpoint
from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl, write_json, write_jsonl
from xlnb.common.journal import Journal
from xlnb.common.languages import language_name, split_langs
from xlnb.common.processes import main_alone
from xlnb.common.questions import ask_again, unanswered
from xlnb.common.records import Prompt
from xlnb.inputs.localisation import (
    check_drafts,
    draft_failure,
    draft_text,
    endpoint_translations,
    keep_parallel,
    localisation_consent,
    prompt_task,
    request_fields,
)
from xlnb.inputs.parallel_prompts import prompt_sources, read_parallel
from xlnb.inputs.response_translation import TEMPERATURE
from xlnb.inputs.sources import source_files
from xlnb.models.chat import load_tokenizer
from xlnb.presets import Models
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.sampling import Transformers
from xlnb.stages.generation import generation
from xlnb.stages.keys import model_fields, source_fields
from xlnb.stages.sharing import share_out

# tasks, file, label -> records
Translator = Callable[[list[Prompt], Path, str], list[dict]]

DRAFTS = ("drafts.jsonl", "back.jsonl")


@main_alone
def localise(run: Run, *, yes: bool = False, again: bool = False) -> Path:
    """English prompts translated, checked by translating them back, and kept where no language
    failed; report.json counts.

    A draft that fails a check of `xlnb.inputs.localisation` goes to localised/failed/<lang>.jsonl
    with its reason, and its prompt is dropped in every language. drafts/<lang>/ holds all drafts
    and their translations back into English, which another `localise.min_chrf` does not make anew.
    Where calls cost money, an estimate a language is printed first; `yes` goes on without asking.
    `again`: what had no answer is asked about once more.
    """
    path = run.preset.prompts.path
    langs = [lang for lang in split_langs(run.preset.localise.langs) if lang != "en"]
    if not path or not langs:
        raise InputError(
            "stage localise: set prompts.path to English prompts and localise.langs to languages, "
            "as de,sw"
        )
    sources = prompt_sources(path, "en")
    files = [file for source in sources for file in source_files(source)]
    uses = {
        **fields(run.preset, "prompts.limit"),
        **source_fields([path], sources),
        **request_fields(),
    }
    english = _english(run)
    loaded: list[Translator] = []

    def translator() -> Translator:
        if not loaded:
            loaded.append(_translator(run))
        return loaded[0]

    for lang in langs:
        language_name(lang)
        stage = Stage(
            run,
            f"drafts/{lang}",
            inputs=files,
            uses={**uses, **_translator_uses(run)},
            out=run.drafts(lang),
        )
        files_here = [run.drafts(lang) / name for name in DRAFTS]
        if stage.current() and not (again and unanswered(files_here)):
            continue
        with stage.working():
            if again:
                ask_again(files_here)
            _draft(run, stage, lang, english, translator, yes)
    drafts = [run.drafts(lang) / name for lang in langs for name in DRAFTS]
    stage = Stage(
        run,
        "localised",
        inputs=[*files, *drafts],
        uses={**uses, **fields(run.preset, "localise.langs", "localise.min_chrf")},
        out=run.localised,
    )
    return stage.make(partial(_keep, run, stage, langs, english))


def _english(run: Run) -> list[Prompt]:
    records = read_parallel(run.preset.prompts.path, "en")["en"]
    some = records[: run.preset.prompts.limit] if run.preset.prompts.limit else records
    for record in some:
        if "checks" in record:
            raise InputError(
                f"{run.preset.prompts.path}: id {record['prompt_id']} carries checks, which are "
                "not translated; name parallel prompts, or have checks added by prompts.checks"
            )
    return [Prompt(**record, split="train") for record in some]


def _draft(
    run: Run,
    stage: Stage,
    lang: str,
    english: list[Prompt],
    translator: Callable[[], Translator],
    yes: bool,
) -> None:
    """Translations into one language, and of those back into English."""
    config = run.preset.localise
    translate = translator()
    drafts_path = stage.out / "drafts.jsonl"
    back_path = stage.out / "back.jsonl"
    if config.by.startswith("endpoint:"):
        done = 0
        for path in (drafts_path, back_path):
            done += len(read_jsonl(path) if path.exists() else Journal(path).done)
        localisation_consent(config.by, english, done, price=config.price, yes=yes)
    tasks = [prompt_task(prompt, prompt.instruction, lang) for prompt in english]
    drafts = translate(tasks, drafts_path, f"{stage.name} from English")
    back = []
    for prompt, draft in zip(english, drafts, strict=True):
        if not draft_failure(prompt, draft):
            back.append(prompt_task(prompt, draft_text(draft), "en"))
    translate(back, back_path, f"{stage.name} back to English")


def _keep(run: Run, stage: Stage, langs: list[str], english: list[Prompt]) -> None:
    """What no language failed, what some did, and counts of both."""
    kept = {}
    failed = {}
    for lang in langs:
        kept[lang], failed[lang] = check_drafts(
            english,
            read_jsonl(run.drafts(lang) / "drafts.jsonl"),
            read_jsonl(run.drafts(lang) / "back.jsonl"),
            min_chrf=run.preset.localise.min_chrf,
        )
        write_jsonl(stage.out / "failed" / f"{lang}.jsonl", failed[lang])
    localised, report = keep_parallel(kept, failed, english)
    for lang, records in localised.items():
        write_jsonl(stage.out / "prompts" / f"{lang}.jsonl", records)
    write_json(stage.out / "report.json", report)
    for lang, counts in report["langs"].items():
        print(
            f"{stage.name} {lang}: failed {counts['failed'] or 'none'}, "
            f"mean chrF {counts['mean_chrf']}",
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


def _translator(run: Run) -> Translator:
    """What translates tasks into a file of sample records, by `localise.by`."""
    by = run.preset.localise.by
    if by.startswith("endpoint:"):
        name = by.removeprefix("endpoint:")
        endpoint = ChatEndpoint(name, workers=run.preset.localise.workers, timeout=600.0)
        return partial(endpoint_translations, endpoint)
    models = _translator_models(run)
    tokenizer = load_tokenizer(models)
    sampler = Transformers(models, None, tokenizer)
    config = replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)

    def translate(tasks: list[Prompt], path: Path, label: str) -> list[dict]:
        work = generation(
            run,
            sampler,
            tokenizer,
            tasks,
            path,
            n=1,
            config=config,
            stream=label,
            label=label,
        )
        share_out([work], models=[sampler.model])
        return read_jsonl(path)

    return translate


def _translator_models(run: Run) -> Models:
    by = run.preset.localise.by
    models = replace(run.loaded, dpo="", dpo_adapter="")
    if not by:
        return models
    base = by.removeprefix("local:")
    return replace(models, base=base, chat_template="", chat_template_kwargs="")


def _translator_uses(run: Run) -> dict[str, object]:
    if run.preset.localise.by.startswith("endpoint:"):
        return fields(run.preset, "localise.by")
    sampling = fields(run.preset, "sampling.max_new_tokens", "sampling.batch_tokens", "seed")
    return {**sampling, **model_fields(_translator_models(run))}
