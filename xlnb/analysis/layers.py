"""Rewards by the first layers of policy and reference: how soon they are those of the whole."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from xlnb.analysis.sums import sums
from xlnb.models.batches import Rows
from xlnb.models.sharding import causal_of
from xlnb.rewards import score_responses


def rewards_by_layer(
    model: Any,
    policy: str | None,
    ref: str | None,
    prompts: Rows,
    responses: Rows,
    *,
    beta: float,
    batch_tokens: int,
    **options: Any,
) -> list[np.ndarray]:
    """The implicit reward of every response, (n,), by the first 1, 2 … layers; the last are those
    of the whole. Other arguments as for `score_responses`."""
    found = []
    for layers in range(1, causal_of(model).config.get_text_config().num_hidden_layers + 1):
        sides = score_responses(
            model,
            policy,
            ref,
            prompts,
            responses,
            batch_tokens=batch_tokens,
            layers=layers,
            **options,
        )
        found.append(sums(sides, beta)["reward"])
    return found


def rank_agreement(scores: Sequence[float], whole: Sequence[float], of: Sequence[object]) -> float:
    """How often two responses to one prompt are ordered by `scores` as by `whole`, (n,) both: a
    share of the pairs that `whole` does not tie, where a tie of `scores` counts half; NaN without
    any. `of`: the prompt of each response."""
    agreed = []
    for a, b in combinations(range(len(of)), 2):
        truth = np.sign(whole[a] - whole[b])
        if of[a] == of[b] and truth:
            agreed.append((1 + truth * np.sign(scores[a] - scores[b])) / 2)
    return float(np.mean(agreed)) if agreed else np.nan
