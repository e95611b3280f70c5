"""The analyses' pictures say how many seeds a dot stands for."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from xlnb.figures.analyses import MEASURES, alike, beside_paper, layers
from xlnb.presets.analyses import ANALYSES

ROWS = [("R_c", 0, 60.0), ("R_c", 1, 62.0), ("π^0", 0, 50.0)]
TABLE = pd.DataFrame(ROWS, columns=["arm", "seed", "value"])
COLUMNS = ["claim", "mean", "low", "high", "seeds"]
GAPS = pd.DataFrame(
    [("R_c beats chance", 5.0, 2.0, 8.0, 5), ("R_c beats π_I", -1.0, np.nan, np.nan, 1)],
    columns=COLUMNS,
)


def test_ours_beside_the_papers():
    figure = beside_paper(TABLE, GAPS, "lc", ANALYSES["rewards"])
    ours, claims, papers = figure.axes
    assert [label.get_text() for label in ours.get_yticklabels()] == ["$R_c$", "$π^0$"]
    assert [text.get_text() for text in ours.texts] == ["2 seeds", "1 seed"]
    dots = [dot.get_offsets().tolist() for dot in ours.collections]
    assert dots[1] == [[61.0, 0.0]]
    assert papers.get_xlabel() == "mean LC over five languages"
    assert claims.get_xlabel() == "difference, points"
    plt.close(figure)


def test_a_claims_interval_is_drawn_and_a_single_seed_has_none():
    figure = beside_paper(TABLE, GAPS, "wr", ANALYSES["nll"])
    assert len(figure.axes) == 2
    claims = figure.axes[1]
    zero, first, second = claims.lines
    assert zero.get_xdata() == [0, 0]
    assert first.get_xdata().tolist() == [2.0, 8.0]
    assert np.isnan(second.get_xdata()).all()
    means = [dot.get_offsets()[0].tolist() for dot in claims.collections]
    assert means == [[5.0, 0.0], [-1.0, 1.0]]
    labels = [label.get_text() for label in claims.get_yticklabels()]
    assert labels == ["$R_c$ beats chance", "$R_c$ beats $π_I$"]
    plt.close(figure)


def test_many_arms_lie_closer():
    heights = {}
    for name in ("tastes", "rewards"):
        figure = beside_paper(TABLE, GAPS, "wr", ANALYSES[name])
        heights[name] = figure.get_figheight() / len(ANALYSES[name].arms)
        plt.close(figure)
    assert heights["tastes"] < heights["rewards"] / 1.5


def test_every_analysis_first_measure_has_a_name():
    assert {analysis.claims[0].measure for analysis in ANALYSES.values()} <= MEASURES.keys()


def test_accuracy_by_layer_is_in_percent_with_a_line_a_language():
    figure = layers({"1": {"en": 0.5, "es": 0.6, "sw": 0.4}, "2": {"en": 1, "es": 0.9, "sw": 0.8}})
    (ax,) = figure.axes
    lines = [list(line.get_ydata()) for line in ax.lines]
    expected = [[50, 100], [60, 90], [40, 80], [50, 85]]
    assert lines[:4] == [pytest.approx(values) for values in expected]
    assert [text.get_text() for text in ax.texts] == ["en", "es", "sw"]
    plt.close(figure)


def test_languages_that_push_alike_are_a_table_of_shares():
    table = {"en": {"en": 1.0, "es": 0.25}, "es": {"en": 0.25, "es": 1.0}}
    figure = alike({"DPO, of the ceiling": table, "NLL, of the ceiling": table})
    for ax in figure.axes:
        assert [text.get_text() for text in ax.texts] == ["1.00", "0.25", "0.25", "1.00"]
    plt.close(figure)
