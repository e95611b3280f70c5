""""""

import math
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from xlnb.common.languages import split_langs
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.lab.world import load_world
from xlnb.models.base import base_path
from xlnb.models.chat import load_tokenizer, prompt_ids
from xlnb.presets import Preset

PAPER_LANGS = ["en", "es", "ru", "de", "fr"]


class Workload(NamedTuple):
    """What a run reads and writes: prompts, and mean lengths in tokens."""

    langs: int
    english: int  # prompts of the English preferences
    train: int  # an iteration's training prompts, a language
    reward: int  # the lab's held-out prompts on which rewards are compared, a language
    eval: int  # evaluation prompts, a language
    prompt: float
    response: float
    source: str


def workload(
    preset: Preset, prompts: int = 0, prompt_tokens: float = 0, response_tokens: float = 0
) -> Workload:
    """What the preset's prompts amount to. What is not given is counted, where the prompts and the model's tokenizer
    are folders here, else assumed: 3,000 prompts in each of the paper's five languages, 200 tokens a prompt, and for a
    response a quarter of `sampling.max_new_tokens`. `source` says which."""
    config, lab = preset.prompts, preset.lab
    texts = instructions(preset, config.path)
    train, held_out = lab.train, lab.eval
    if config.path or not train:  # a preset without lab questions waits for its user's prompts
        train = len(texts["en"]) if texts else 3000
        held_out = (
            len(instructions(preset, config.eval_path).get("en", [])) or train
            if config.eval_path
            else 0
        )
    if config.limit:
        train, held_out = min(train, config.limit), min(held_out, config.limit)
    train, length, response = (
        prompts or train,
        prompt_tokens,
        response_tokens or preset.sampling.max_new_tokens / 4,
    )
    how = "as given"
    if not length and texts and Path(base_path(preset.models.base)).is_dir():
        tokenizer, how = load_tokenizer(preset.models), "counted"
        length = fmean(
            len(prompt_ids(tokenizer, text)) for some in texts.values() for text in some[:200]
        )
    elif not length:
        length, how = 200, "assumed, see --prompt-tokens"
    langs = len(texts or split_langs(config.langs) or PAPER_LANGS)
    source = (
        f"{train} prompts a language ({'as given' if prompts else 'counted' if texts else 'assumed, see --prompts'}), "
        f"{langs} languages, {length:.0f} tokens a prompt ({how}), {response:.0f} a response "
        f"({'as given' if response_tokens else 'assumed, see --response-tokens'})"
    )
    train = math.ceil(train / config.parts) if config.parts else train
    return Workload(
        langs,
        lab.english,
        train,
        0 if config.path else lab.reward,
        held_out,
        length,
        response,
        source,
    )


def instructions(preset: Preset, path: str) -> dict[str, list[str]]:
    """By language; none where `path` names no folder here, and the lab's, if it asks any, where it is empty."""
    if not Path(path).is_dir() if path else not preset.lab.train:
        return {}
    langs, world = preset.prompts.langs, load_world()
    if path:
        records = read_parallel(path, langs)
        return {lang: [record["instruction"] for record in some] for lang, some in records.items()}
    return {
        lang: [prompt.instruction for prompt in world.prompts(lang)]
        for lang in split_langs(langs) or world.langs
    }
