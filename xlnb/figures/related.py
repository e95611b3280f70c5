"""Notebook 13, related methods: what each brings over plain ICR or its control."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from xlnb.figures.style import BLUE, GREY, ORANGE

COLORS = {"agree": BLUE, "worse": ORANGE, "null": GREY, "too few seeds": GREY}


def gains(table: pd.DataFrame) -> Figure:
    """Δ win rate of every claim, the first on top: the mean over seeds with its 95% interval, which
    a single seed has not. `table`: see `analysis.related.gains`."""
    figure, ax = plt.subplots(figsize=(11, 1.4 + 0.36 * len(table)))
    ax.axvline(0, color="#555555", linewidth=1)
    for place, row in enumerate(table.itertuples()):
        if not np.isnan(row.mean):
            color = COLORS[row.verdict]
            ax.plot([row.low, row.high], [place, place], color=color, linewidth=2)
            filled = color if row.verdict in ("agree", "worse") else "white"
            ax.scatter(row.mean, place, color=filled, edgecolors=color, s=60, zorder=3)
        seeds = f"{row.seeds} seed" + "s" * (row.seeds != 1)
        ax.annotate(
            seeds, (1, place), (6, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=9, color="#555555",
        )  # fmt: skip
    ax.set_yticks(range(len(table)), list(table["name"]))
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlabel("Δ win rate (points), languages other than English")
    ax.grid(visible=False, axis="y")
    ax.margins(x=0.15)
    return figure
