"""Notebook 11, analyses: an analysis' arms, ours beside the paper's."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from xlnb.figures.style import BLUE, GREY, ORANGE


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
    labels = [f"${name}$" if name.startswith("π^") else name for name in names]
    ax.set_yticks(range(len(names)), labels)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
