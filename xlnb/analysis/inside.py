"""Where a finished run's reward lives, and what the release's ways to sum it cost: accuracies
against the truth by layer and by way of summing, and which way languages' pairs push."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from xlnb.analysis.gradients import cosines, gradients, halves, of_ceiling
from xlnb.analysis.layers import rewards_by_layer
from xlnb.analysis.masks import masked_scores
from xlnb.common.errors import InputError
from xlnb.common.records import Pair, Sample, Score, Truth, read_records
from xlnb.engine.rows import tokenize_pairs
from xlnb.evaluation.truth import reward_accuracy
from xlnb.models.adapters import load_model
from xlnb.models.chat import load_tokenizer, prompt_ids
from xlnb.presets.claims import BASE
from xlnb.presets.grid import Point
from xlnb.prompts import scorer_prompt
from xlnb.rewards import Values, score_responses
from xlnb.runs.layout import Run
from xlnb.stages.loading import policy_and_reference
from xlnb.stages.reading import read_prompts
from xlnb.stages.sweeping import finished
from xlnb.stages.truth import truth_of

# {way to sum, or number of layers: {lang: share of prompts whose best is truly better than their
# worst, ties half}}
Accuracies = dict[str, dict[str, float | None]]


class Read(NamedTuple):
    """π^0 and π_I of a run, and its shared samples as R_c reads them, a row a response."""

    model: Any
    policy: str | None
    ref_model: Any
    pad: int
    samples: list[Sample]
    prompts: list[list[int]]
    responses: list[list[int]]


def read_shared(run: Run) -> Read:
    """Raises InputError for a run without prompts on which rewards are compared."""
    if not run.has_shared:
        raise InputError(f"{run.path}: no responses to held-out prompts (lab.reward)")
    model, ref_model, tokenizer = policy_and_reference(run, "dpo")
    english = {prompt.prompt_id: prompt.instruction for prompt in read_prompts(run)["en"]}
    here = run.iteration(1).shared
    samples, prompts, responses = [], [], []
    for lang in here.langs:
        for sample in read_records(here.samples(lang), Sample):
            asked = english[sample.prompt_id]
            text = scorer_prompt("cross_lingual", lang, sample.instruction, asked)
            samples.append(sample)
            prompts += [prompt_ids(tokenizer, text)] * len(sample.responses)
            responses += [response.token_ids for response in sample.responses]
    name = run.adapter_name("dpo")
    return Read(model, name, ref_model, tokenizer.pad_token_id, samples, prompts, responses)


def accuracies(
    samples: Sequence[Sample], ways: Mapping[str, Sequence[float]], truth: Truth
) -> Accuracies:
    """`ways`: by a name a value of every response of the samples, in their order."""
    scores: list[Score] = []
    start = 0
    for sample in samples:
        rows = slice(start, start + len(sample.responses))
        start = rows.stop
        values: dict[str, Values] = {name: list(of[rows]) for name, of in ways.items()}
        scores.append(Score(sample.prompt_id, sample.lang, sample.split, [], values, None))
    found: Accuracies = {name: {} for name in ways}
    for lang in dict.fromkeys(sample.lang for sample in samples):
        some = [sample for sample in samples if sample.lang == lang]
        mine = [score for score in scores if score.lang == lang]
        for name, by_lang in found.items():
            by_lang[lang] = reward_accuracy(some, mine, name, truth)["pair_accuracy"]
    return found


def by_layer(run: Run, read: Read, truth: Truth) -> Accuracies:
    """Of rewards by the first 1, 2 … layers."""
    rewards = rewards_by_layer(
        read.model,
        read.policy,
        None,
        read.prompts,
        read.responses,
        beta=run.preset.scoring.beta,
        batch_tokens=run.preset.scoring.batch_tokens,
        ref_model=read.ref_model,
    )
    ways = {str(layers + 1): values.tolist() for layers, values in enumerate(rewards)}
    return accuracies(read.samples, ways, truth)


def by_summing(run: Run, read: Read, truth: Truth) -> Accuracies:
    """Of rewards as they are here; under the release's mask, in batches as responses come and in
    another order; and of log-probabilities summed in bf16."""
    padded = [[*response, read.pad] for response in read.responses]
    both = score_responses(
        read.model,
        read.policy,
        None,
        read.prompts,
        padded,
        batch_tokens=run.preset.scoring.batch_tokens,
        ref_model=read.ref_model,
    )
    values = [policy - ref for policy, ref in zip(*both, strict=True)]
    rows = zip(read.prompts, read.responses, strict=True)
    lengths = [len(prompt) + len(response) for prompt, response in rows]
    table = masked_scores([sample.to_json() for sample in read.samples], values, lengths)
    ways = {
        "here": table["score"].tolist(),
        "release's mask": table["release"].tolist(),
        "release's mask, reshuffled": table["reshuffled"].tolist(),
        "bf16 sums": [_bf16(*sides) for sides in zip(*both, strict=True)],
    }
    return accuracies(read.samples, ways, truth)


def _bf16(policy: torch.Tensor, ref: torch.Tensor) -> float:
    sums = [side[:-1].bfloat16().sum() for side in (policy, ref)]
    return float(sums[0] - sums[1])


def by_language(run: Run) -> dict[str, dict[str, dict[str, float]]]:
    """Of the first iteration's pairs at π^0: {"DPO, cosines", "DPO, of the ceiling", …: a table},
    languages by languages, and {"DPO and NLL": the same two}, by language."""
    here = run.iteration(1)
    model = load_model(run.base("dpo"), {"default": run.adapter("dpo")})
    model.set_adapter("default")
    tokenizer = load_tokenizer(run.base("dpo"))
    found: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {"DPO": {}, "NLL": {}}
    for path in here.pair_files:
        pairs = read_records(path, Pair)
        rows, _ = tokenize_pairs(tokenizer, pairs, here.training.max_tokens)
        one, other = (gradients(model, half) for half in halves(rows))
        for loss, of in found.items():
            of[path.stem] = (one[loss], other[loss])
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for loss, of in found.items():
        table = cosines(of)
        tables[f"{loss}, cosines"] = table.round(3).to_dict()
        tables[f"{loss}, of the ceiling"] = of_ceiling(table).round(3).to_dict()
    both = {}
    for lang in found["DPO"]:
        table = cosines({loss: of[lang] for loss, of in found.items()})
        both[lang] = round(float(of_ceiling(table).loc["DPO", "NLL"]), 3)
    tables["DPO and NLL, of the ceiling"] = {"NLL": both}
    return tables


def ceilings(tables: Mapping[str, Mapping[str, Mapping[str, float]]]) -> pd.DataFrame:
    """Of `by_language`, by language: the cosine of its pairs' halves under each loss, and how far
    both losses push the same way, as a share of what noise allows."""
    found = pd.DataFrame()
    for loss in ("DPO", "NLL"):
        by_lang = tables[f"{loss}, cosines"]
        found[f"{loss}, halves"] = pd.Series({lang: row[lang] for lang, row in by_lang.items()})
    found["DPO and NLL"] = pd.Series(tables["DPO and NLL, of the ceiling"]["NLL"])
    return found


def inside(run: Run) -> dict[str, Any]:
    """All of it: {"layers", "sums": `Accuracies`, "gradients": see `by_language`}."""
    truth = truth_of(run)
    assert truth, "the lab's"
    read = read_shared(run)
    return {
        "layers": by_layer(run, read, truth),
        "sums": by_summing(run, read, truth),
        "gradients": by_language(run),
    }


def inside_of_method(folder: Path, points: Sequence[Point]) -> dict[str, Any] | None:
    """`inside` of the first finished run of the method as it stands; None where there is none."""
    for point in points:
        run = Run(folder / point.name, point.preset)
        changed = {key: value for key, value in point.values.items() if key != "seed"}
        if changed == BASE and finished(run, "report"):
            return {"seed": run.preset.seed, **inside(run)}
    return None
