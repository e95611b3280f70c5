"""What the tour follows is picked by rule, and guesses are scored."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from xlnb.analysis import tour
from xlnb.common.errors import InputError
from xlnb.figures.style import alt_text


def pair(prompt_id, margin, points):
    return {"prompt_id": prompt_id, "lang": "en", "margin": margin, "points": points}


@pytest.fixture
def pairs(monkeypatch):
    monkeypatch.setattr(tour, "_points", lambda pair, taste: pair["points"])
    # Chosen ones are worth 3 on average, rejected ones 1.
    return [
        pair("far", 0.2, [6.0, 1.0]),
        pair("near", 0.9, [3.0, 1.0]),
        pair("near, of middling margin", 0.3, [3.0, 1.0]),
        pair("other", 0.4, [0.0, 1.0]),
    ]


def test_the_typical_pair_is_worth_what_pairs_are_on_average(pairs):
    assert tour.typical_pair(pairs, "polite")["prompt_id"] == "near, of middling margin"


def test_the_median_pair(pairs):
    assert tour.median_pair(pairs[:3])["margin"] == 0.3


def test_guesses_are_counted(capsys):
    table = pd.DataFrame({"answer": ["A", "B", "B"]})
    tour.score_guesses(table, "")
    tour.score_guesses(table, "aba")
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "not attempted; a coin gets 1.5 of 3 right",
        "2 of 3 right; the reward says ABB",
    ]
    with pytest.raises(InputError, match="expected 3 letters, each A or B"):
        tour.score_guesses(table, "AB")


def test_a_figures_alternative_text_is_its_titles():
    figure, ax = plt.subplots()
    ax.set(xlabel="margin", ylabel="loss")
    assert alt_text(figure) == "loss by margin"
    ax.set_title("Against $π_I$", loc="left")
    assert alt_text(figure) == "Against π_I"
    plt.close(figure)
