"""Notebook 12: scores of a real model's responses against a truth."""

import pandas as pd
from matplotlib.axes import Axes

from xlnb.figures.scores import SCORER_NAMES, scorer_look


def accuracies(table: pd.DataFrame, ax: Axes) -> None:
    """How often each score's best response is truly better than its worst, with intervals; a row a
    score, the truth's own as a dashed line, a coin's as a dotted one.

    `table`: scorer, mean (0 to 1), low and high.
    """
    scores = table[table["scorer"] != "oracle"].reset_index(drop=True)
    for place, row in scores.iterrows():
        look = scorer_look(row["scorer"]) | {"label": None, "markersize": 7, "capsize": 3}
        reach = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        ax.errorbar(row["mean"], place, xerr=reach, **look)
    ax.axvline(0.5, color="black", linestyle=":", linewidth=1)
    ax.axvline(table.loc[table["scorer"] == "oracle", "mean"].item(), color="black", linestyle="--")
    ax.set_yticks(range(len(scores)), [SCORER_NAMES[scorer] for scorer in scores["scorer"]])
    ax.set(ylim=(len(scores) - 0.5, -0.5), xlim=(0, 1))
    ax.grid(axis="y", visible=False)
