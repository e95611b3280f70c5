"""English training prompts in other languages: localised/prompts/<lang>.jsonl, parallel."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.files import write_json, write_jsonl
from xlnb.common.languages import language_name, split_langs
from xlnb.common.processes import main_alone
from xlnb.common.questions import ask_again, unanswered
from xlnb.common.records import Prompt
from xlnb.inputs.localisation import (
    back_tasks,
    keep_parallel,
    prompt_request,
    prompt_task,
    request_fields,
)
from xlnb.inputs.parallel_prompts import prompt_sources, read_parallel
from xlnb.inputs.sources import source_files
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import source_fields
from xlnb.stages.redrafted import checked, redraft_failures, tell_tries
from xlnb.stages.translators import Translator, ask_consent, load_translator, translator_uses

DRAFTS = ("drafts.jsonl", "back.jsonl")


@main_alone
def localise(run: Run, *, yes: bool = False, again: bool = False) -> Path:
    """English prompts translated, checked by translating them back, and kept where no language
    failed; report.json counts.

    A draft that fails a check of `xlnb.inputs.localisation` goes to localised/failed/<lang>.jsonl
    with its reason, and its prompt is dropped in every language. drafts/<lang>/ holds all drafts
    and their translations back into English, which another `localise.min_chrf` does not make anew.
    With `localise.drafts` above 1 such a prompt is first asked for again: see `redraft_failures`.
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
    translator = cache(partial(load_translator, run))
    for lang in langs:
        language_name(lang)
        stage = Stage(
            run,
            f"drafts/{lang}",
            inputs=files,
            uses={**uses, **translator_uses(run, lang)},
            out=run.drafts(lang),
        )
        files_here = [run.drafts(lang) / name for name in DRAFTS]
        if stage.current() and not (again and unanswered(files_here)):
            continue
        with stage.working():
            if again:
                ask_again(files_here)
            _draft(run, stage, lang, english, translator, yes)
    made = [*files, *(run.drafts(lang) / name for lang in langs for name in DRAFTS)]
    made += redraft_failures(
        run, langs, english, translator, inputs=made, uses=uses, yes=yes, again=again
    )
    kept_by = ("localise.langs", "localise.min_chrf", "localise.drafts")
    stage = Stage(
        run,
        "localised",
        inputs=made,
        uses={**uses, **fields(run.preset, *kept_by)},
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
    translate = translator()
    drafts_path, back_path = (stage.out / name for name in DRAFTS)
    requests = [prompt_request(prompt.instruction, "en") for prompt in english]
    tell_tries(run)
    ask_consent(run, requests, 2, [drafts_path, back_path], yes=yes)
    tasks = [prompt_task(prompt, prompt.instruction, lang) for prompt in english]
    drafts = translate(tasks, drafts_path, f"{stage.name} from English", "en", lang)
    back = back_tasks(english, drafts)
    translate(back, back_path, f"{stage.name} back to English", lang, "en")


def _keep(run: Run, stage: Stage, langs: list[str], english: list[Prompt]) -> None:
    """What no language failed, what some did, and counts of both."""
    tries = run.preset.localise.drafts
    by_try = checked(run, langs, english, tries)
    kept, failed = by_try[-1]
    for lang in langs:
        write_jsonl(stage.out / "failed" / f"{lang}.jsonl", failed[lang])
    localised, report = keep_parallel(kept, failed, english)
    if tries > 1:
        report["kept_by_try"] = [keep_parallel(*one, english)[1]["kept"] for one in by_try]
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
    for number, count in enumerate(report.get("kept_by_try", ()), 1):
        print(f"{stage.name}: {count} with {number} of {tries} tries", flush=True)
    if not report["kept"]:
        raise InputError(
            f"{stage.out / 'failed'}: no prompt is left in every language; see the reasons there"
        )
