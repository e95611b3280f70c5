"""Several responses of a model to one prompt (`evaluation.runs`): a prompt is one draw, its
responses are draws within it, and a win rate's error has a part of each."""

from collections.abc import Sequence

import numpy as np

# The rows of one prompt.
Rows = list[int]


def rows_of(prompts: Sequence[str]) -> dict[str, Rows]:
    """The rows of each prompt, prompts in the order of their first."""
    found: dict[str, Rows] = {}
    for row, prompt in enumerate(prompts):
        found.setdefault(prompt, []).append(row)
    return found


def mean_of(values: Sequence[float], rows: Rows) -> float:
    """The mean of a prompt's values, of those that are there; NaN where none is."""
    some = np.array([values[row] for row in rows], float)
    judged = some[~np.isnan(some)]
    return float(judged.mean()) if len(judged) else np.nan


def split_error(preferences: Sequence[Sequence[float]]) -> tuple[float, float]:
    """What prompts and what sampling add to the standard error of a win rate, in points.

        SE² = sd(ȳ_i)² / n,   SE_s² = s² Σ_i 1/R_i / n²,   SE_p² = SE² − SE_s², at least 0

    n prompts have R_i judged responses each, of mean ȳ_i, and s² is the variance of responses
    within prompts, pooled: sampling in two stages (Cochran 1977, Sampling Techniques, chapter 10;
    of models' evaluations Miller 2024, arXiv 2411.00640). More responses a prompt lower SE_s
    alone, more prompts lower both. NaN where no prompt has two judged responses, or there is one
    prompt.
    """
    judged = [np.array(some, float) for some in preferences]
    judged = [some[~np.isnan(some)] for some in judged]
    judged = [some for some in judged if len(some)]
    free = sum(len(some) - 1 for some in judged)
    n = len(judged)
    if n < 2 or not free:
        return np.nan, np.nan
    within = sum(float(((some - some.mean()) ** 2).sum()) for some in judged) / free
    sampling = within * sum(1 / len(some) for some in judged) / n**2
    total = float(np.var([some.mean() for some in judged], ddof=1)) / n
    return 100 * max(0.0, total - sampling) ** 0.5, 100 * sampling**0.5
