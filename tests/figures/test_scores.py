"""What pictures of scores say in numbers."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from xlnb.figures.scores import SCORER_NAMES, opposite_tastes, translation_noise
from xlnb.rewards import SCORERS


def test_opposite_tastes_are_a_row_a_score_with_a_dot_a_seed_and_its_mean():
    ax = Figure().subplots()
    rows = [
        {"scorer": "cross_lingual", "liked": 0.9, "disliked": 0.8},
        {"scorer": "cross_lingual", "liked": 0.7, "disliked": 0.6},
        {"scorer": "likelihood", "liked": 0.75, "disliked": 0.25},
    ]
    opposite_tastes(pd.DataFrame(rows), ax)
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == [SCORER_NAMES["cross_lingual"], SCORER_NAMES["likelihood"]]
    seeds, mean, *_ = (dots.get_offsets().tolist() for dots in ax.collections)
    assert seeds == [[0.9, 0], [0.7, 0]]
    assert mean == [[pytest.approx(0.8), 0]]


def test_translation_noise_is_in_per_cent_with_intervals_where_there_are_any():
    ax = Figure().subplots()
    rows = [
        {"scorer": "translated", "noise": 0.0, "mean": 0.9, "low": 0.8, "high": 1.0},
        {"scorer": "translated", "noise": 0.4, "mean": 0.5, "low": np.nan, "high": np.nan},
        {"scorer": "oracle", "noise": 0.0, "mean": 0.96, "low": 0.95, "high": 0.97},
    ]
    translation_noise(pd.DataFrame(rows), ax)
    (drawn,) = ax.containers
    line, _, (bars,) = drawn
    assert np.diff(line.get_xdata()) == pytest.approx([40])
    assert line.get_ydata() == pytest.approx([0.9, 0.5])
    first, _ = bars.get_segments()
    assert first[:, 1].tolist() == pytest.approx([0.8, 1.0])
    assert ax.get_legend_handles_labels()[1][0] == SCORER_NAMES["oracle"]


def test_every_score_has_a_name():
    assert SCORERS.keys() <= SCORER_NAMES.keys()
