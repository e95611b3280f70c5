"""The run's prompts: prompts/<lang>.jsonl, parallel by id."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.given import comparable
from xlnb.common.languages import split_langs
from xlnb.common.processes import main_alone
from xlnb.common.records import Prompt, write_records
from xlnb.inputs.parallel_prompts import prompt_sources, read_parallel
from xlnb.inputs.sources import source_files
from xlnb.lab.world import load_world
from xlnb.models.base import base_path
from xlnb.presets import Models
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import source_fields

ByLanguage = dict[str, list[Prompt]]


@main_alone
def collect_prompts(run: Run) -> Path:
    """Write the run's prompts, from `prompts.path` and `prompts.eval_path`, from what stage
    `localise` has made of English ones, or the lab's."""
    config = run.preset.prompts
    path = config.path
    if run.preset.localise.langs:
        path = str(run.localised / "prompts")
        if not Path(path).exists():
            raise InputError(
                f"stage prompts needs {path}, which is not there; run stage localise first"
            )
    texts = [text for text in (path, config.eval_path) if path and text]
    sources = []
    for text in texts:
        sources += prompt_sources(text, config.langs)
    stage = Stage(
        run,
        "prompts",
        inputs=[file for source in sources for file in source_files(source)],
        uses={
            **fields(run.preset, "prompts.langs", "prompts.limit"),
            **fields(run.preset, "lab.train", "lab.reward", "lab.eval"),
            **source_fields(texts, sources),
        },
        out=run.prompts,
    )
    if stage.current():
        return stage.out
    prompts = _given_prompts(run, path) if path else _lab_prompts(run)
    with stage.working():
        for lang, records in prompts.items():
            write_records(stage.out / f"{lang}.jsonl", records)
        _say_languages(prompts)
    return stage.out


def split_prompts(
    records: Mapping[str, Sequence[Mapping[str, str]]], split: str, most: int
) -> ByLanguage:
    """The first `most` (0: all) prompts of every language, as a split of the run."""
    found: ByLanguage = {}
    for lang, lines in records.items():
        some = lines[:most] if most else lines
        found[lang] = [Prompt(line["prompt_id"], lang, line["instruction"], split) for line in some]
    return found


def _given_prompts(run: Run, path: str) -> ByLanguage:
    config = run.preset.prompts
    prompts = split_prompts(read_parallel(path, config.langs), "train", config.limit)
    if not config.eval_path:
        return prompts
    held_out = read_parallel(config.eval_path, config.langs)
    _say_repeated(prompts, held_out)
    for lang, more in split_prompts(held_out, "eval", config.limit).items():
        known = {prompt.prompt_id for prompt in prompts.get(lang, [])}
        for prompt in more:
            if prompt.prompt_id in known:
                raise InputError(
                    f"{config.eval_path}: id {prompt.prompt_id} is a training prompt too; "
                    "ids must differ"
                )
        prompts[lang] = prompts.get(lang, []) + more
    return prompts


def _say_repeated(prompts: ByLanguage, held_out: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print how many evaluation prompts are training prompts, whatever their ids."""
    repeated = {}
    for lang, records in held_out.items():
        known = {_words(prompt.instruction) for prompt in prompts.get(lang, [])}
        repeated[lang] = sum(_words(record["instruction"]) in known for record in records)
    if any(repeated.values()):
        counts = [f"{lang} {count} of {len(held_out[lang])}" for lang, count in repeated.items()]
        print(
            "NOTE: prompts: evaluation prompts are training prompts too, under other ids: "
            f"{', '.join(counts)}; win rates on them say nothing of new prompts",
            flush=True,
        )


def _words(instruction: str) -> str:
    """An instruction in the form in which two are the same to a reader."""
    return " ".join(comparable(instruction).casefold().split())


def _say_languages(prompts: ByLanguage) -> None:
    """Print which languages are only trained on or only evaluated, and whether English is the only
    one to train on."""

    train, held_out = [], []
    for lang, records in prompts.items():
        splits = {record.split for record in records}
        if "train" in splits:
            train.append(lang)
        if "eval" in splits:
            held_out.append(lang)
    only = {
        "trained on but not evaluated": [lang for lang in train if lang not in held_out],
        "evaluated but not trained on": [lang for lang in held_out if lang not in train],
    }
    said = [f"{what}: {', '.join(langs)}" for what, langs in only.items() if langs]
    if held_out and said:
        print(f"NOTE: prompts: {'; '.join(said)}", flush=True)
    if train == ["en"]:
        print(
            "NOTE: prompts: the training prompts are in English only, so nothing in this run is "
            "cross-lingual",
            flush=True,
        )


def _lab_prompts(run: Run) -> ByLanguage:
    world = load_world()
    config = run.preset.lab
    base = run.preset.models.base
    if not config.train:
        raise InputError(
            f"preset {run.preset.name}: prompts.path is empty; name a folder of parallel prompts, "
            "one <lang>.jsonl a language with the same ids, English among them "
            "(-p prompts.path=FOLDER)"
        )
    if base_path(base) != base_path(Models().base):
        print(f"prompts: prompts.path is empty, so {base} is asked the lab's questions", flush=True)
    langs = split_langs(run.preset.prompts.langs) or list(world.langs)
    for lang in langs:
        if lang not in world.langs:
            raise InputError(
                f"prompts.langs: the lab does not speak '{lang}'; "
                f"it speaks {', '.join(world.langs)}"
            )
    prompts: ByLanguage = {}
    for lang in ["en", *(lang for lang in langs if lang != "en")]:
        prompts[lang] = []
        for split in ("train", "reward", "eval"):
            prompts[lang] += lab_questions(split, getattr(config, split), lang)
    return prompts


def lab_questions(split: str, size: int, lang: str) -> list[Prompt]:
    """So many of the lab's questions of a split, the same ones in every language, by a fixed
    shuffle."""
    prompts = [prompt for prompt in load_world().prompts(lang) if prompt.split == split]
    random.Random(split).shuffle(prompts)
    return prompts[:size]
