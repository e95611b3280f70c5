"""The picture of related methods: a row a claim, also where no run is finished yet."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from xlnb.figures.related import COLORS, gains


def test_a_row_a_claim_with_its_interval_and_seeds():
    rows = [("a: gains", 2.0, 1.0, 3.0, 5, "agree"), ("b: gains", -1.0, np.nan, np.nan, 1, "null")]
    rows.append(("c: gains", np.nan, np.nan, np.nan, 0, "too few seeds"))
    columns = ["name", "mean", "low", "high", "seeds", "verdict"]
    figure = gains(pd.DataFrame(rows, columns=columns))
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [row[0] for row in rows]
    assert [text.get_text() for text in ax.texts] == ["5 seeds", "1 seed", "0 seeds"]
    # The line at 0, then an interval a claim that has a difference.
    assert ax.lines[1].get_xdata().tolist() == [1.0, 3.0]
    assert ax.lines[1].get_color() == COLORS["agree"]
    dots = [dot.get_offsets().tolist() for dot in ax.collections]
    assert dots == [[[2.0, 0.0]], [[-1.0, 1.0]]]
    plt.close(figure)
