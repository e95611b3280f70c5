"""The run's prompts: prompts/<lang>.jsonl, parallel by id."""

import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlnb.checks.instructions import INSTRUCTIONS, ask_for, split_kinds
from xlnb.checks.tastes import check_taste
from xlnb.common.errors import InputError
from xlnb.common.given import comparable
from xlnb.common.languages import split_langs
from xlnb.common.processes import main_alone
from xlnb.common.records import Prompt, write_records
from xlnb.evaluation.clusters import fact_of
from xlnb.inputs.parallel_prompts import prompt_sources, read_parallel
from xlnb.inputs.sources import source_files
from xlnb.lab.world import load_world, world_fields
from xlnb.models.places import base_path
from xlnb.presets import Models
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import source_fields
from xlnb.stages.reading import read_prompts

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
    inputs = [file for source in sources for file in source_files(source)]
    read = ("langs", "limit", "references", "reward", "english", "checks")
    names = [f"prompts.{name}" for name in read]
    stage = Stage(
        run,
        "prompts",
        inputs=[*inputs, INSTRUCTIONS] if config.checks else inputs,
        uses={
            **fields(run.preset, *names),
            **fields(run.preset, "lab.train", "lab.reward", "lab.eval"),
            **source_fields(texts, sources),
            **({} if path else world_fields()),
        },
        out=run.prompts,
    )
    if stage.current():
        if run.verifies_by:
            check_taste(run.verifies_by, read_prompts(run))
        return stage.out
    prompts = _given_prompts(run, path) if path else _lab_prompts(run)
    if run.verifies_by:
        check_taste(run.verifies_by, prompts)
    with stage.working():
        for lang, records in prompts.items():
            write_records(stage.out / f"{lang}.jsonl", records)
        _say_languages(prompts)
    return stage.out


def split_prompts(
    records: Mapping[str, Sequence[Mapping[str, Any]]], split: str, most: int
) -> ByLanguage:
    """The first `most` (0: all) prompts of every language, as a split of the run."""
    found: ByLanguage = {}
    for lang, lines in records.items():
        some = lines[:most] if most else lines
        found[lang] = [Prompt(**line, split=split) for line in some]
    return found


def _given_prompts(run: Run, path: str) -> ByLanguage:
    config = run.preset.prompts
    given = read_parallel(path, config.langs, references=config.references)
    prompts = split_prompts(given, "train", config.limit)
    some = itertools.chain.from_iterable(prompts.values())
    if config.references and not any(prompt.reference for prompt in some):
        raise InputError(f"prompts.references: no prompt of {path} has a `reference`; leave it out")
    for split in ("reward", "english"):
        most = getattr(config, split)
        if most:
            prompts = hold_out(prompts, most, split)
    if config.eval_path:
        _add_eval(run, prompts)
    return ask_for(prompts, split_kinds(config.checks)) if config.checks else prompts


def hold_out(prompts: ByLanguage, most: int, split: str) -> ByLanguage:
    """The prompts with at most so many a language of those to train on in another split: whole
    clusters of them, such as the questions on one paragraph, in the order of a shuffle by their
    names."""
    train = [prompt for prompt in prompts["en"] if prompt.split == "train"]
    sizes = Counter(fact_of(prompt.prompt_id) for prompt in train)
    held: set[str] = set()
    left = most
    for cluster in sorted(sizes, key=lambda name: random.Random(f"{split} {name}").random()):
        if sizes[cluster] <= left:
            held.add(cluster)
            left -= sizes[cluster]
    if not held or len(held) == len(sizes):
        raise InputError(
            f"prompts.{split} {most}: holds out {len(held)} of {len(sizes)} groups of training "
            "prompts; expected some, and some left to train on"
        )
    found: ByLanguage = {}
    for lang, some in prompts.items():
        found[lang] = [
            replace(prompt, split=split) if fact_of(prompt.prompt_id) in held else prompt
            for prompt in some
        ]
    return found


def _add_eval(run: Run, prompts: ByLanguage) -> None:
    config = run.preset.prompts
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
        if run.preset.prompts.references:
            prompts[lang] = [_answered(prompt) for prompt in prompts[lang]]
    return prompts


def _answered(prompt: Prompt) -> Prompt:
    """A training prompt with the world's answer as its reference; others as they are."""
    if prompt.split != "train":
        return prompt
    world = load_world()
    answer = world.answer(world.fact(prompt.prompt_id), prompt.lang)
    return replace(prompt, reference=answer)


def lab_questions(split: str, size: int, lang: str) -> list[Prompt]:
    """So many of the lab's questions of a split, the same ones in every language, by a fixed
    shuffle."""
    prompts = [prompt for prompt in load_world().prompts(lang) if prompt.split == split]
    random.Random(split).shuffle(prompts)
    return prompts[:size]
