"""Many responses to a few evaluation prompts: what a model answers at the k-th draw at last."""

import numpy as np

from xlnb.analysis.read import Record
from xlnb.analysis.responses import verdict
from xlnb.models.chat import prompt_ids
from xlnb.runs.layout import Run
from xlnb.stages.loading import load_sampler


def right_draws(run: Run, model: str, asked: list[Record], n: int) -> np.ndarray:
    """(prompts, n): whether each of n draws at the evaluation temperature is the right answer in
    the asked language. `asked`: annotations of one language of the lab."""
    sampler, tokenizer = load_sampler(run, model)
    prompts = [prompt_ids(tokenizer, record["instruction"]) for record in asked]
    how = run.preset.evaluation
    drawn = sampler.sample(
        prompts,
        n=n,
        temperature=how.temperature,
        top_p=how.top_p,
        max_new_tokens=how.max_new_tokens,
        seed=run.preset.seed,
    )
    rows = []
    for record, responses in zip(asked, drawn, strict=True):
        seen = [verdict(record["id"], record["lang"], each.text) for each in responses]
        rows.append([each.features["right"] == 1 for each in seen])
    return np.array(rows)
