"""Notebook 06, judging: how many responses reach which score, and prompts a right answer."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from xlnb.common.languages import language_name
from xlnb.figures.style import model_line, panels


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


def score_panels(scores: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """`score_curves` of every language, a panel each: {lang: {model: (n,)}}."""
    figure, axes = panels(len(scores), height=2.7, sharex=True, sharey=True)
    for (lang, by_model), ax in zip(scores.items(), axes, strict=True):
        score_curves(by_model, ax)
        ax.set_title(language_name(lang))
        ax.label_outer()
    axes[0].legend(loc="lower left")
    figure.suptitle("How many responses reach a score", fontweight="bold")
    return figure


def coverage_curves(shares: Mapping[str, ArrayLike], ax: Axes) -> None:
    """The share of prompts with a right answer among the first k draws: {model: (draws,)}."""
    for model, share in shares.items():
        percent = 100 * np.asarray(share, float)
        draws = np.arange(1, len(percent) + 1)
        ax.plot(draws, percent, **model_line(model), linewidth=2)
    ax.set(xlabel="draws", ylabel="prompts answered (%)", ylim=(0, 102))
    ax.legend(loc="lower right")
