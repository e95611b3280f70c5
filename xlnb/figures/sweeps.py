"""A sweep's picture."""

import pandas as pd
from matplotlib.axes import Axes

from xlnb.figures.style import BLUE


def settings(rows: pd.DataFrame, ax: Axes) -> None:
    """A measure by setting, first on top: a dot at the mean with its interval over seeds.

    `rows`: setting (its name), mean, low, high; without an interval NaN.
    """
    y = range(len(rows))
    reach = [(rows["mean"] - rows["low"]).fillna(0), (rows["high"] - rows["mean"]).fillna(0)]
    ax.errorbar(rows["mean"], y, xerr=reach, fmt="o", color=BLUE, markersize=7, capsize=3)
    ax.set_yticks(y, list(rows["setting"]))
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.margins(y=0.15)
    ax.set(xlabel="mean win rate of non-English languages (%), 95% interval over seeds")
