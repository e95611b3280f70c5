"""The stages that make a run's prompts, and what later stages read of them."""

import random
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from xlnb.endpoint import ChatEndpoint
from xlnb.errors import InputError
from xlnb.lab.world import load_world
from xlnb.localisation import (
    check_drafts,
    draft_failure,
    endpoint_translations,
    keep_parallel,
    localisation_consent,
    translation_task,
)
from xlnb.models import (
    base_path,
    load_base,
    load_tokenizer,
)
from xlnb.parallel import main_alone
from xlnb.presets import Models
from xlnb.prompts import language_name, prompt_sources, read_parallel, split_langs
from xlnb.runs import (
    Journal,
    Run,
    Stage,
    read_jsonl,
    write_json,
    write_jsonl,
)
from xlnb.sources import source_files, source_versions
from xlnb.translation import TEMPERATURE
from xlnb.work import generate, model_fields

Translator = Callable[[list[dict], Path, str], list[dict]]  # tasks, file, label -> records


@main_alone
def prompts(run: Run) -> Path:
    """Write the run's prompts: prompts/<lang>.jsonl {prompt_id, lang, instruction, split}, parallel by id."""
    config = run.preset.prompts
    path = config.path
    if run.preset.localise.langs:
        path = str(run.path / "localised" / "prompts")
        if not Path(path).exists():
            raise InputError(f"stage prompts needs {path}, which is not there; run stage localise first")
    texts = [text for text in (path, config.eval_path) if path and text]
    sources = [source for text in texts for source in prompt_sources(text, config.langs)]
    stage = Stage(
        run,
        "prompts",
        inputs=[path for source in sources for path in source_files(source)],
        uses={"prompts": asdict(config), "lab": asdict(run.preset.lab), **source_versions(sources)},
        out=run.path / "prompts",
    )
    if stage.current():
        return stage.out
    if path:
        records = _limited(read_parallel(path, config.langs), "train", config.limit)
        if config.eval_path:
            for lang, more in _limited(read_parallel(config.eval_path, config.langs), "eval", config.limit).items():
                ids = {record["prompt_id"] for record in records.get(lang, [])}
                for shared in [record["prompt_id"] for record in more if record["prompt_id"] in ids][:1]:
                    raise InputError(f"{config.eval_path}: id {shared} is a training prompt too; ids must differ")
                records[lang] = records.get(lang, []) + more
    else:
        records = _lab_prompts(run)
    with stage.working():
        for lang, lines in records.items():
            write_jsonl(stage.out / f"{lang}.jsonl", lines)
        _say_languages(records)
    return stage.out


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
    english = _limited(read_parallel(path, "en"), "train", limit)["en"]
    translator: Translator | None = None
    for lang in langs:
        by = {"localise": {"by": config.by}} | ({} if config.by.startswith("endpoint:") else _translator_uses(run))
        stage = Stage(run, f"drafts/{lang}", inputs=files, uses=uses | by, out=run.path / "drafts" / lang)
        language_name(lang)
        if stage.current():
            continue
        with stage.working():
            translator = translator or _translator(run)
            drafts_path, back_path = stage.out / "drafts.jsonl", stage.out / "back.jsonl"
            if config.by.startswith("endpoint:"):
                done = sum(len(read_jsonl(p) if p.exists() else Journal(p).done) for p in (drafts_path, back_path))
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
        inputs=[*files, *(folder / name for folder in folders.values() for name in ("drafts.jsonl", "back.jsonl"))],
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
                f"{stage.name} {lang}: failed {counts['failed'] or 'none'}, mean chrF {counts['mean_chrf']}", flush=True
            )
        print(f"{stage.name}: {report['kept']} of {report['prompts']} prompts kept in every language", flush=True)
        if not report["kept"]:
            raise InputError(f"{stage.out / 'failed'}: no prompt is left in every language; see the reasons there")
    return stage.out


def _translator(run: Run) -> Translator:
    """What translates tasks into a file of sample records, by `localise.by`."""
    by, config = run.preset.localise.by, replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)
    if by.startswith("endpoint:"):
        endpoint = ChatEndpoint(by.removeprefix("endpoint:"), workers=run.preset.localise.workers, timeout=600.0)
        return partial(endpoint_translations, endpoint)
    models = _translator_models(run)
    tokenizer, model = load_tokenizer(models), load_base(models)
    return lambda tasks, path, label: generate(
        run, model, "sft", tokenizer, tasks, path, n=1, config=config, label=label
    )


def _translator_models(run: Run) -> Models:
    by = run.preset.localise.by
    if by and not by.startswith("local:"):
        raise InputError(f"localise.by '{by}': expected endpoint:MODEL, local:FOLDER_OR_HUB_ID or nothing for π_I")
    models = replace(run.preset.models, dpo="", dpo_adapter="")
    return replace(models, base=by.removeprefix("local:")) if by else models


def _translator_uses(run: Run) -> dict[str, Any]:
    config = run.preset.sampling
    sampling = {"max_new_tokens": config.max_new_tokens, "batch_tokens": config.batch_tokens}
    return {"sampling": sampling} | model_fields(
        replace(run, preset=replace(run.preset, models=_translator_models(run)))
    )


def prompt_files(run: Run) -> list[Path]:
    files = sorted((run.path / "prompts").glob("*.jsonl"))
    if not files:
        raise InputError(f"{run.path}: no prompts yet; run stage prompts first")
    return files


def read_prompts(run: Run) -> dict[str, list[dict]]:
    """The run's prompts by language, English first."""
    files = {path.stem: path for path in prompt_files(run)}
    return {lang: read_jsonl(files[lang]) for lang in ["en", *(lang for lang in files if lang != "en")]}


def iteration_prompts(run: Run, iteration: int, records: list[dict]) -> list[dict]:
    """What iteration t of T samples: the training prompts, or every T-th (`prompts.fresh`), and the `reward` ones."""
    train = [record for record in records if record["split"] == "train"]
    if run.preset.prompts.fresh:
        train = train[iteration - 1 :: run.preset.iterations]
    return train + [record for record in records if record["split"] == "reward"]


def eval_prompts(run: Run) -> dict[str, list[dict]]:
    records = {lang: [p for p in ps if p["split"] == "eval"] for lang, ps in read_prompts(run).items()}
    return {lang: ps for lang, ps in records.items() if ps}


def _limited(prompts: dict[str, list[dict]], split: str, most: int) -> dict[str, list[dict]]:
    return {lang: [r | {"split": split} for r in (rs[:most] if most else rs)] for lang, rs in prompts.items()}


def _say_languages(records: dict[str, list[dict]]) -> None:
    """Print which languages are only trained on or only evaluated, and whether English is the only one to train on."""
    train, held_out = (
        [lang for lang, lines in records.items() if any(line["split"] == split for line in lines)]
        for split in ("train", "eval")
    )
    only = {
        "trained on but not evaluated": [lang for lang in train if lang not in held_out],
        "evaluated but not trained on": [lang for lang in held_out if lang not in train],
    }
    said = [f"{what}: {', '.join(langs)}" for what, langs in only.items() if langs]
    if held_out and said:
        print(f"NOTE: prompts: {'; '.join(said)}", flush=True)
    if train == ["en"]:
        print(
            "NOTE: prompts: the training prompts are in English only, so nothing in this run is cross-lingual",
            flush=True,
        )


def _lab_prompts(run: Run) -> dict[str, list[dict]]:
    world, config, models = load_world(), run.preset.lab, run.preset.models
    if not config.train:
        raise InputError(
            f"preset {run.preset.name}: prompts.path is empty; name a folder of parallel prompts, one <lang>.jsonl a "
            "language with the same ids, English among them (-p prompts.path=FOLDER)"
        )
    if base_path(models.base) != base_path(Models().base):
        print(f"prompts: prompts.path is empty, so {models.base} is asked the lab's questions", flush=True)
    langs = split_langs(run.preset.prompts.langs) or list(world.langs)
    for lang in langs:
        if lang not in world.langs:
            raise InputError(f"prompts.langs: the lab does not speak '{lang}'; it speaks {', '.join(world.langs)}")
    sizes = {"train": config.train, "reward": config.reward, "eval": config.eval}
    return {
        lang: [record for split, size in sizes.items() for record in lab_questions(split, size, lang)]
        for lang in ["en", *(lang for lang in langs if lang != "en")]
    }


def lab_questions(split: str, size: int, lang: str) -> list[dict]:
    """So many of the lab's questions of a split, the same ones in every language, by a fixed shuffle."""
    records = [record for record in load_world().prompts(lang) if record["split"] == split]
    random.Random(split).shuffle(records)
    return records[:size]
