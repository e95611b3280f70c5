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


def cascade(
    first: Sequence[float], whole: Sequence[float], of: Sequence[object], keep: int
) -> tuple[np.ndarray, float]:
    """Scores (n,) where the first layers choose what the whole model reads: of each prompt's
    responses the `keep` highest and the `keep` lowest by `first`; they have the score of `whole`,
    the others NaN. And the share of responses that the whole model reads: with k of L layers first
    the compute is (k + (L − k) share) / L of the whole."""
    scores = np.full(len(of), np.nan)
    for prompt in dict.fromkeys(of):
        places = [place for place, each in enumerate(of) if each == prompt]
        ranked = sorted(places, key=lambda place: first[place])
        for place in {*ranked[:keep], *ranked[-keep:]}:
            scores[place] = whole[place]
    return scores, float(np.mean(~np.isnan(scores)))
