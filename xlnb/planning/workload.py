"""What a run reads and writes: counted where prompts and tokenizer are here, else assumed."""

import math
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from xlnb.common.languages import split_langs
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.inputs.xquad import PREFIX
from xlnb.lab.world import load_world
from xlnb.models.chat import load_tokenizer, prompt_ids
from xlnb.models.places import is_here
from xlnb.presets import Preset

PAPER_LANGS = ["en", "es", "ru", "de", "fr"]


class Workload(NamedTuple):
    """Numbers of prompts, and mean lengths in tokens."""

    langs: int
    # prompts of the English preferences
    english: int
    # an iteration's training prompts, a language
    train: int
    # held-out prompts on which rewards are compared, a language
    reward: int
    # evaluation prompts, a language
    eval: int
    prompt: float
    response: float
    source: str


class Assumed(NamedTuple):
    """A number, and where it is from."""

    value: float
    source: str


def workload(
    preset: Preset, prompts: int = 0, prompt_tokens: float = 0, response_tokens: float = 0
) -> Workload:
    """What the preset's prompts amount to. What is not given is counted, where the prompts and the
    model's tokenizer are folders here, else assumed. `source` says which."""
    config = preset.prompts
    texts = instructions(preset, config.path)
    train = train_prompts(preset, texts, prompts)
    prompt = prompt_length(preset, texts, prompt_tokens)
    response = response_length(preset, response_tokens)
    langs = len(texts or split_langs(config.langs) or PAPER_LANGS)
    parts = config.parts or 1
    # Of prompts of one's own they are some of the training prompts.
    trained = train.value - config.reward
    a_part = math.ceil(trained / parts)
    # Prompts that carry checks give English pairs as well.
    own = config.path and preset.evaluation.taste
    return Workload(
        langs=langs,
        english=int(trained) if own else preset.lab.english,
        train=min(a_part, config.selected or a_part),
        reward=config.reward if config.path else preset.lab.reward,
        eval=eval_prompts(preset, texts),
        prompt=prompt.value,
        response=response.value,
        source=f"{train.value} prompts a language ({train.source}), {langs} languages, "
        f"{prompt.value:.0f} tokens a prompt ({prompt.source}), "
        f"{response.value:.0f} a response ({response.source})",
    )


def train_prompts(preset: Preset, texts: dict[str, list[str]], given: int) -> Assumed:
    """Training prompts a language, of all parts; 3,000 where they are not here."""
    if given:
        return Assumed(given, "as given")
    value = _asked(preset, texts)
    return Assumed(_limited(preset, value), "counted" if texts else "assumed, see --prompts")


def eval_prompts(preset: Preset, texts: dict[str, list[str]]) -> int:
    """Evaluation prompts a language; as many as for training where they are not here."""
    config, lab = preset.prompts, preset.lab
    if not config.path and lab.train:
        return _limited(preset, lab.eval)
    if not config.eval_path:
        return 0
    found = len(instructions(preset, config.eval_path).get("en", []))
    return _limited(preset, found or _asked(preset, texts))


def _asked(preset: Preset, texts: dict[str, list[str]]) -> int:
    """A preset without lab questions waits for its user's prompts."""
    if not preset.prompts.path and preset.lab.train:
        return preset.lab.train
    return len(texts["en"]) if texts else 3000


def _limited(preset: Preset, prompts: int) -> int:
    limit = preset.prompts.limit
    return min(prompts, limit) if limit else prompts


def prompt_length(preset: Preset, texts: dict[str, list[str]], given: float) -> Assumed:
    """Mean tokens of a prompt with its chat template; 200 where it cannot be counted."""
    if given:
        return Assumed(given, "as given")
    if not texts or not is_here(preset.models.base):
        return Assumed(200, "assumed, see --prompt-tokens")
    tokenizer = load_tokenizer(preset.models)
    lengths = []
    for of_lang in texts.values():
        lengths += [len(prompt_ids(tokenizer, text)) for text in of_lang[:200]]
    return Assumed(fmean(lengths), "counted")


def response_length(preset: Preset, given: float) -> Assumed:
    """Mean tokens of a response; a quarter of `sampling.max_new_tokens` where it is not given."""
    if given:
        return Assumed(given, "as given")
    return Assumed(preset.sampling.max_new_tokens / 4, "assumed, see --response-tokens")


def instructions(preset: Preset, path: str) -> dict[str, list[str]]:
    """By language; none where `path` names no folder here, plain or XQuAD's, and the lab's, if it
    asks any, where it is empty."""
    langs = preset.prompts.langs
    texts = {}
    if path and (Path(path).is_dir() or path.startswith(PREFIX)):
        for lang, records in read_parallel(path, langs).items():
            texts[lang] = [record["instruction"] for record in records]
    elif not path and preset.lab.train:
        world = load_world()
        for lang in split_langs(langs) or world.langs:
            texts[lang] = [prompt.instruction for prompt in world.prompts(lang)]
    return texts
