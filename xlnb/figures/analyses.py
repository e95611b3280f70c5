"""Notebook 11, analyses: an analysis' arms, ours beside the paper's."""

import re
from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xlnb.figures.style import BLUE, GREY, ORANGE
from xlnb.presets.claims import Analysis

MEASURES = {
    "wr": "win rate (%), languages other than English",
    "lc": "length-controlled win rate (%), languages other than English",
    "chars": "characters a response, languages other than English",
    "loss": "nats a token of held-out documents",
    "wr en": "win rate in English (%)",
    "wr sw": "win rate in Swahili (%)",
}


def beside_paper(table: pd.DataFrame, measure: str, analysis: Analysis) -> Figure:
    """An analysis' arms, ours on the left, where the paper has figures of them those on the
    right."""
    n = 2 if analysis.published else 1
    figure, axes = plt.subplots(1, n, figsize=(11, 1.6 + 0.42 * len(analysis.arms)), squeeze=False)
    figure.suptitle(analysis.question, x=0.01, ha="left", weight="bold")
    arms(table, axes[0, 0])
    axes[0, 0].set(xlabel=MEASURES[measure], title="the lab" if n == 2 else "")
    if analysis.published:
        published(analysis.published, axes[0, 1])
        axes[0, 1].set(xlabel=analysis.published_as, title="the paper")
    return figure


def arms(table: pd.DataFrame, ax: Axes) -> None:
    """A measure by arm, the first on top: a small dot a seed, a large one at the mean.

    `table`: a row an arm and seed: arm, seed, value.
    """
    names = list(dict.fromkeys(table["arm"]))
    for place, name in enumerate(names):
        values = table.loc[table["arm"] == name, "value"]
        ax.scatter(values, [place] * len(values), color=GREY, s=22)
        ax.scatter(values.mean(), place, color=BLUE, s=70, zorder=3)
        seeds = f"{len(values)} seed" + "s" * (len(values) != 1)
        ax.annotate(
            seeds, (1, place), (-4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="center", fontsize=9, color="#555555",
        )  # fmt: skip
    _rows(names, ax)
    ax.margins(x=0.25)


def published(values: Mapping[str, float], ax: Axes) -> None:
    """The paper's figures by arm, the first on top."""
    ax.scatter(list(values.values()), range(len(values)), color=ORANGE, marker="D", s=55)
    _rows(list(values), ax)
    ax.margins(x=0.15)


def _rows(names: list[str], ax: Axes) -> None:
    labels = [re.sub(r"π\^\d|R_\w", r"$\g<0>$", name) for name in names]
    ax.set_yticks(range(len(names)), labels)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
