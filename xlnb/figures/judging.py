"""Notebook 05, judging: how many responses reach which score."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from xlnb.figures.style import model_line


def score_curves(scores: Mapping[str, ArrayLike], ax: Axes) -> None:
    """The share of responses with at least a score, a line a model: the higher, the better.

    `scores`: {model: (n,)}, the oracle's points. The area under a line is the model's
    mean score.
    """
    for model, values in scores.items():
        reached = np.asarray(values, float)
        points = np.unique(np.concatenate([[0.0, 7.0], reached]))
        share = [100 * np.mean(reached >= point) for point in points]
        ax.step(points, share, where="pre", **model_line(model), linewidth=2)
    ax.set(xlabel="oracle score (points)")
    ax.set(ylabel="at least that score (%)", ylim=(0, 102))
