"""Notebooks 03 to 07: the kinds of responses that the oracle tells apart, as shares."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from xlnb.common.languages import language_name
from xlnb.figures.style import BLUE, BROWN, GREEN, GREY, RED, SKY, YELLOW, model_label, panels
from xlnb.lab.oracle import KINDS

KIND_COLORS = dict(zip(KINDS, (BLUE, SKY, GREEN, YELLOW, GREY, RED, BROWN), strict=True))


def kind_shares(shares: Mapping[str, Mapping[str, float]], ax: Axes) -> None:
    """Stacked horizontal bars, one a model: what share of its responses is of each kind.

    `shares`: {model: {kind: share in %}}, kinds of `oracle.KINDS`; a kind left out has no share.
    """
    labels = [model_label(model) for model in shares]
    left = np.zeros(len(shares))
    for kind, color in KIND_COLORS.items():
        width = np.array([row.get(kind, 0.0) for row in shares.values()])
        ax.barh(labels, width, left=left, color=color, edgecolor="white", linewidth=0.7)
        left += width
    ax.grid(visible=False)
    ax.tick_params(axis="y", labelsize="large")
    ax.set(xlim=(0, 100), ylim=(len(shares) - 0.5, -0.5), xlabel="responses (%)")


def kind_panels(by_lang: Mapping[str, Mapping[str, Mapping[str, float]]], title: str) -> Figure:
    """`kind_shares` of every language, a panel each, with the one legend."""
    figure, axes = panels(len(by_lang), height=2.2, sharex=True, sharey=True)
    for (lang, shares), ax in zip(by_lang.items(), axes, strict=True):
        kind_shares(shares, ax)
        ax.set_title(language_name(lang))
        ax.label_outer()
    kind_legend(figure)
    figure.suptitle(title, fontweight="bold")
    return figure


def kind_legend(figure: Figure) -> None:
    """The legend of `kind_shares`, once for a figure, below its axes."""
    handles = [Patch(color=color, label=kind) for kind, color in KIND_COLORS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
