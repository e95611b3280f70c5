"""Notebook 05, judging: how many responses reach which score."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from xlnb.figures.style import model_line


def score_curves(scores: Mapping[str, ArrayLike], ax: Axes) -> None:
    """The share of responses with at least a score, a line a model: the higher, the better.

    `scores`: {model: (n,)}, the oracle's points.
    """
    given = {model: np.asarray(values, float) for model, values in scores.items()}
    every = np.concatenate(list(given.values()))
    for model, reached in given.items():
        points = np.unique([every.min(), every.max(), *reached])
        share = [100 * np.mean(reached >= point) for point in points]
        ax.step(points, share, where="pre", **model_line(model), linewidth=2)
    ax.set(xlabel="oracle score (points)")
    ax.set(ylabel="at least that score (%)", ylim=(0, 102))
