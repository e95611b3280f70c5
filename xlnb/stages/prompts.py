""""""

import random
from dataclasses import asdict
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.files import write_jsonl
from xlnb.common.languages import split_langs
from xlnb.common.processes import main_alone
from xlnb.inputs.parallel_prompts import prompt_sources, read_parallel
from xlnb.inputs.sources import source_files, source_versions
from xlnb.lab.world import load_world
from xlnb.models.base import base_path
from xlnb.presets import Models
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage


@main_alone
def collect_prompts(run: Run) -> Path:
    """Write the run's prompts: prompts/<lang>.jsonl {prompt_id, lang, instruction, split}, parallel by id."""
    config = run.preset.prompts
    path = config.path
    if run.preset.localise.langs:
        path = str(run.path / "localised" / "prompts")
        if not Path(path).exists():
            raise InputError(
                f"stage prompts needs {path}, which is not there; run stage localise first"
            )
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
        records = limited(read_parallel(path, config.langs), "train", config.limit)
        if config.eval_path:
            for lang, more in limited(
                read_parallel(config.eval_path, config.langs), "eval", config.limit
            ).items():
                ids = {record["prompt_id"] for record in records.get(lang, [])}
                for shared in [
                    record["prompt_id"] for record in more if record["prompt_id"] in ids
                ][:1]:
                    raise InputError(
                        f"{config.eval_path}: id {shared} is a training prompt too; ids must differ"
                    )
                records[lang] = records.get(lang, []) + more
    else:
        records = _lab_prompts(run)
    with stage.working():
        for lang, lines in records.items():
            write_jsonl(stage.out / f"{lang}.jsonl", lines)
        _say_languages(records)
    return stage.out


def limited(prompts: dict[str, list[dict]], split: str, most: int) -> dict[str, list[dict]]:
    return {
        lang: [r | {"split": split} for r in (rs[:most] if most else rs)]
        for lang, rs in prompts.items()
    }


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
        print(
            f"prompts: prompts.path is empty, so {models.base} is asked the lab's questions",
            flush=True,
        )
    langs = split_langs(run.preset.prompts.langs) or list(world.langs)
    for lang in langs:
        if lang not in world.langs:
            raise InputError(
                f"prompts.langs: the lab does not speak '{lang}'; it speaks {', '.join(world.langs)}"
            )
    sizes = {"train": config.train, "reward": config.reward, "eval": config.eval}
    return {
        lang: [
            record for split, size in sizes.items() for record in lab_questions(split, size, lang)
        ]
        for lang in ["en", *(lang for lang in langs if lang != "en")]
    }


def lab_questions(split: str, size: int, lang: str) -> list[dict]:
    """So many of the lab's questions of a split, the same ones in every language, by a fixed shuffle."""
    records = [record for record in load_world().prompts(lang) if record["split"] == split]
    random.Random(split).shuffle(records)
    return records[:size]
