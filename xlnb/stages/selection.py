"""Which of an iteration's training prompts are sampled, in every language: icr<t>/selected.json.

What costs is to have prompts in other languages and to sample them; that some of them would teach
as much is seen in English, where preferences are there already.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np

from xlnb.common.errors import InputError
from xlnb.common.files import read_json, write_json
from xlnb.common.processes import main_alone
from xlnb.common.records import Pair, each_record
from xlnb.engine.rows import tokenize_pairs
from xlnb.gradients import pair_gradients
from xlnb.matching import distance, match_mean
from xlnb.models.adapters import load_model
from xlnb.models.chat import load_tokenizer
from xlnb.objective import Objective
from xlnb.presets import in_use
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import adapter_files, model_fields
from xlnb.stages.reading import iteration_prompts, no_iteration_0, read_prompts

# Choices at random that the one by gradients is held against.
AT_RANDOM = 50


@main_alone
def select(run: Run, iteration: int) -> Path:
    """So many prompts as `prompts.selected` says, at random, or so that the mean gradient of their
    English preferences at π^{t−1} is near that of all (`xlnb.matching`)."""
    no_iteration_0(iteration, "select")
    here = run.iteration(iteration)
    pairs = run.iteration(0).pairs("en")
    by_gradient = run.preset.prompts.select == "gradient"
    names = ("parts", "select", "selected")
    uses: dict[str, object] = fields(run.preset, "seed", *(f"prompts.{name}" for name in names))
    inputs = [run.prompts / "en.jsonl", pairs]
    if by_gradient:
        settings = in_use(here.training)
        read = ("loss", "beta", "nll", "gamma", "label_smoothing", "sides", "max_tokens")
        uses |= {here.section: {name: settings[name] for name in read if name in settings}}
        uses |= model_fields(run.loaded)
        inputs += adapter_files(run, here.source)
    stage = Stage(run, f"{here.target}/selected", inputs=inputs, uses=uses, out=_file(here))

    def make() -> None:
        known = _english(here, pairs)
        n = run.preset.prompts.selected
        if n > len(known):
            raise InputError(
                f"prompts.selected {n}: {len(known)} training prompts of {here.target} have an "
                "English preference; select at most so many"
            )
        stream = random.Random(f"{run.preset.seed} {stage.name}")
        chosen = sorted(stream.sample(range(len(known)), n))
        found: dict[str, Any] = {"of": len(known)}
        if by_gradient:
            vectors = _gradients(here, known)
            drawn = [stream.sample(range(len(known)), n) for _ in range(AT_RANDOM)]
            chosen = match_mean(vectors, n)
            found["distance"] = distance(vectors, chosen)
            found["at_random"] = float(np.mean([distance(vectors, some) for some in drawn]))
            print(
                f"{stage.name}: {n} of {len(known)} prompts, {found['distance']:.3g} from the mean "
                f"gradient of all; at random {found['at_random']:.3g}",
                flush=True,
            )
        write_json(stage.out, {"prompt_ids": [known[i].prompt_id for i in chosen], **found})

    return stage.make(make)


def inputs(here: Iteration) -> list[Path]:
    """The selection that an iteration's samples depend on; none where all prompts are sampled."""
    return [] if here.run.preset.prompts.select == "all" else [_file(here)]


def selected(here: Iteration) -> set[str] | None:
    """The ids of the training prompts that are sampled; None: all."""
    for path in inputs(here):
        return set(read_json(path)["prompt_ids"])
    return None


def _file(here: Iteration) -> Path:
    return here.folder / "selected.json"


def _english(here: Iteration, path: Path) -> list[Pair]:
    """The first English preference of every training prompt of the iteration that has one."""
    first: dict[str, Pair] = {}
    for pair in each_record(path, Pair):
        first.setdefault(pair.prompt_id, pair)
    prompts = iteration_prompts(here, read_prompts(here.run)["en"])
    asked = [prompt.prompt_id for prompt in prompts if prompt.split == "train"]
    return [first[prompt_id] for prompt_id in asked if prompt_id in first]


def _gradients(here: Iteration, pairs: list[Pair]) -> np.ndarray:
    """(pairs, dims), each of length 1: a long response has a steep gradient, and would speak for
    the others."""
    # It imports TRL, which takes seconds.
    from xlnb.training import add_reference

    run, config = here.run, here.training
    base = run.base(here.source)
    model: Any = load_model(base, {"default": run.adapter(here.source)})
    rows, dropped = tokenize_pairs(load_tokenizer(base), pairs, config.max_tokens)
    if dropped:
        raise InputError(
            f"prompts.select: {dropped} English preferences are longer than training.max_tokens "
            f"{config.max_tokens}; raise it"
        )
    add_reference(model, rows, "default", run.preset.scoring.batch_tokens, config.gamma)
    model.set_adapter("default")
    vectors = pair_gradients(model, rows, Objective.of(config), seed=run.preset.seed)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
