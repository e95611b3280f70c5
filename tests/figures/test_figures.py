"""What figures say in numbers and colours."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xlnb.figures import tokens as pictures
from xlnb.figures.annotation import truth_by_rank
from xlnb.figures.judging import coverage_curves, score_panels
from xlnb.figures.kinds import kind_panels
from xlnb.figures.tour import ranked_responses
from xlnb.figures.win_rates import length_panels


def test_token_rewards_are_ordered_summed_and_coloured_by_sign():
    ax = Figure().subplots()
    rows = [
        {"tokens": ["no", " sé"], "rewards": [-0.5, 0.1]},
        {"tokens": ["Es", " París", "<|end|>"], "rewards": [0.4, 0.2, 0.0]},
    ]
    pictures.token_rewards(rows, ax)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["+0.600", "-0.400"]
    assert [text.get_text() for text in ax.texts] == ["Es", "␣París", "‹end›", "no", "␣sé"]
    colors = matplotlib.colormaps["PuOr"]
    shown = [patch.get_facecolor() for patch in ax.patches]
    expected = [
        colors((value + 0.5) / 1.0) for value in (0.4, 0.2, 0.0, -0.5, 0.1)
    ]  # ± the largest part is the range
    assert np.array(shown) == pytest.approx(np.array(expected))
    ends = [patch.get_x() + patch.get_width() for patch in ax.patches]
    assert ax.get_xlim() == (0, max(ends))


def test_dollars_in_texts_of_others_are_no_mathematics():
    # Between two dollars matplotlib would set, or fail at, a formula.
    text = r"$\frac$ of $5"
    figure = Figure()
    rewards, layout, ranked = figure.subplots(3)
    pictures.token_rewards([{"tokens": [text], "rewards": [0.5]}], rewards)
    pictures.batch_layout([["a", text]], [[1, 1]], [[1]], [[False, False]], layout)
    row = {"text": [text], "times": [1], "reward": [0.5], "oracle": [1.0], "role": ["chosen"]}
    ranked_responses(pd.DataFrame(row), ranked)
    FigureCanvasAgg(figure).draw()


def test_token_rewards_of_a_model_against_itself():
    ax = Figure().subplots()
    pictures.token_rewards([{"tokens": ["a"], "rewards": [0.0]}], ax)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["+0.000"]


def test_bands_of_truth_by_rank_are_clustered_by_fact():
    ids = [f"capital/{fact}/{phrasing}" for fact in ("france", "portugal") for phrasing in (0, 1)]
    rows = {"lang": "es", "scorer": "cross_lingual", "prompt_id": ids, "rank": 1}
    (ax,) = axes = [Figure().subplots()]
    truth_by_rank(pd.DataFrame(rows | {"truth": [1.0, 1.0, 3.0, 3.0]}), axes)
    (band,) = ax.collections
    # over two facts the error of the mean 2 is 1
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((2 - 1.96, 2 + 1.96))


def test_panels_are_a_language_each_and_models_stand_in_mathematics():
    shares = {"chosen, for $π^1$": {"wrong": 100.0}, "sft": {"refuses": 50.0, "wrong": 50.0}}
    figure = kind_panels({"en": shares, "de": shares}, "title")
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes] == [
        "English",
        "German",
    ]
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["chosen, for $π^1$", "$π_I$"]
    scores = {"sft": [0.0, 2.0], "dpo": [2.0, 2.0]}
    figure = score_panels({"en": scores, "de": scores, "sw": scores})
    (first, second) = figure.axes[2].lines
    assert list(first.get_ydata()) == [100, 50] and list(second.get_ydata()) == [100, 100]
    groups = pd.DataFrame({"longer": [-5.0, 5.0], "wr": [40.0, 60.0], "se": [1.0, 1.0]})
    case = (groups, groups[["longer", "wr"]], 50.0, 52.0)
    figure = length_panels({"one": case, "two": case})
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes] == ["one", "two"]
    plt.close("all")


def test_coverage_is_in_percent_by_the_number_of_draws():
    ax = Figure().subplots()
    coverage_curves({"sft": np.array([0.5, 0.75])}, ax)
    (line,) = ax.lines
    assert line.get_xydata().tolist() == [[1, 50], [2, 75]]
