""""""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from xlnb.figures.style import BLUE, BROWN, GREEN, GREY, RED, SKY, YELLOW, model_label, model_line

# What the oracle's reasons come to, best first.
RESPONSE_KINDS = {
    "right, full sentence": BLUE,
    "right, padded or repeated": SKY,
    "right, bare word": GREEN,
    "right, other language": YELLOW,
    "refuses": GREY,
    "wrong": RED,
    "off topic or garbled": BROWN,
}


def response_kind(reason: str) -> str:
    """The kind of response, one of `RESPONSE_KINDS`, that a reason of the oracle's describes."""
    if reason.startswith("right, in another language"):
        return "right, other language"
    if reason.startswith("right"):
        if any(clutter in reason for clutter in ("padded", "repeats itself", "stray words")):
            return "right, padded or repeated"
        return "right, full sentence" if "full sentence" in reason else "right, bare word"
    if reason.startswith("refuses"):
        return "refuses"
    return "wrong" if reason.startswith(("wrong", "contradicts itself")) else "off topic or garbled"


def score_curves(scores: Mapping[str, ArrayLike], ax: Axes) -> None:
    """The share of responses with at least a score, a line a model: the higher the line, the better.

    `scores`: {model: (n,)}, the oracle's points from 0 to 7. The area under a line is the model's mean score.
    """
    for model, values in scores.items():
        points = np.unique(np.concatenate([[0.0, 7.0], np.asarray(values, float)]))
        share = [100 * np.mean(np.asarray(values) >= point) for point in points]
        ax.step(points, share, where="pre", **model_line(model), linewidth=2)
    ax.set(
        xlabel="oracle score (points)", ylabel="at least that score (%)", xlim=(0, 7), ylim=(0, 102)
    )


def kind_shares(shares: Mapping[str, Mapping[str, float]], ax: Axes) -> None:
    """Stacked horizontal bars, one a model: what share of its responses is of each kind.

    `shares`: {model: {kind: share in %}}, kinds of `RESPONSE_KINDS`; a kind left out has no share.
    """
    labels, left = [model_label(model) for model in shares], np.zeros(len(shares))
    for kind, color in RESPONSE_KINDS.items():
        width = np.array([row.get(kind, 0.0) for row in shares.values()])
        ax.barh(labels, width, left=left, color=color, edgecolor="white", linewidth=0.7)
        left += width
    ax.grid(visible=False)
    ax.tick_params(axis="y", labelsize="large")
    ax.set(xlim=(0, 100), ylim=(len(shares) - 0.5, -0.5), xlabel="responses (%)")


def kind_legend(figure: Figure) -> None:
    """The legend of `kind_shares`, once for a figure, below its axes."""
    handles = [Patch(color=color, label=kind) for kind, color in RESPONSE_KINDS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
