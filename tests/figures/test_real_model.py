"""The picture of a real model's scores."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from xlnb.figures.real_model import accuracies, tolls


def test_every_score_has_its_place_and_interval_and_the_truth_a_line():
    table = pd.DataFrame(
        [
            {"scorer": "cross_lingual", "mean": 0.8, "low": 0.7, "high": 0.85},
            {"scorer": "random", "mean": 0.5, "low": 0.4, "high": 0.6},
            {"scorer": "multilingual, signed α", "mean": 0.7, "low": 0.6, "high": 0.8},
            {"scorer": "oracle", "mean": 0.9, "low": 0.8, "high": 1.0},
        ]
    )
    _, ax = plt.subplots()
    accuracies(table, ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "$R_c$ (English question)",
        "chance",
        "$R_m$ (question in the language), signed α",
    ]
    (reward, chance, controlled) = ax.containers
    assert controlled.lines[0].get_markerfacecolor() == "white"
    assert reward.lines[0].get_xdata()[0] == 0.8
    assert chance.lines[2][0].get_segments()[0][:, 0] == pytest.approx([0.4, 0.6])
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"] == [0.9]
    plt.close()


def test_what_a_token_costs_stands_over_its_language():
    table = pd.DataFrame(
        [
            {"scorer": "cross_lingual", "lang": "en", "token": -0.01},
            {"scorer": "cross_lingual", "lang": "de", "token": -0.04},
            {"scorer": "multilingual", "lang": "de", "token": -0.02},
        ]
    )
    _, ax = plt.subplots()
    tolls(table, ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["en", "de"]
    cross, own = ax.containers
    assert cross.lines[0].get_ydata().tolist() == [-0.01, -0.04]
    assert own.lines[0].get_xdata().tolist() == [1]
    plt.close()
