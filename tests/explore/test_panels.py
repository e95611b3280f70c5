"""The panels, without a browser: widgets are moved and clicked, and what they display is kept."""

import ipywidgets as widgets
import pandas as pd
import pytest
from matplotlib.figure import Figure

from xlnb.analysis import read
from xlnb.common.errors import InputError
from xlnb.explore import panels, tables
from xlnb.explore.asking import Player
from xlnb.figures import style
from xlnb.lab.tastes import get_taste


@pytest.fixture
def shown(monkeypatch):
    """What was displayed: tables, and pictures."""
    style()
    found = []

    def keep(value):
        found.append(value if isinstance(value, Figure) else value.data)

    monkeypatch.setattr(panels, "display", keep)
    return found


def every(panel, kind, description=None):
    """All widgets of a kind inside a panel, in their order."""
    inside = []
    for child in panel.children:
        if isinstance(child, kind) and description in (None, child.description):
            inside.append(child)
        if hasattr(child, "children"):
            inside += every(child, kind, description)
    return inside


def one(panel, kind, description=None):
    (widget,) = every(panel, kind, description)
    return widget


def test_a_question_is_asked_when_the_button_is_clicked(run, shown):
    panel = panels.ask(Player(run))
    assert not shown
    one(panel, widgets.Dropdown, "language").value = "es"
    question = one(panel, widgets.Combobox)
    some = tables.questions(run, "es")
    kind = one(panel, widgets.Dropdown, "kind")
    assert list(kind.options) == list(dict.fromkeys(some["kind"])) and len(kind.options) > 1
    kind.value = kind.options[-1]
    of_kind = list(some["instruction"][some["kind"] == kind.options[-1]])
    assert list(question.options) == of_kind and question.value == of_kind[0]
    # Of the same kind in another language, and back.
    one(panel, widgets.Dropdown, "language").value = "en"
    assert kind.value == kind.options[-1] and question.value not in of_kind
    one(panel, widgets.Dropdown, "language").value = "es"
    one(panel, widgets.IntSlider, "answers").value = 1
    one(panel, widgets.Button).click()
    (table,) = shown
    assert list(table["model"]) == ["π_I", "π^0", "π^1"] and "R_c" in table


def test_a_blank_question_is_a_line_in_the_panel(run, shown, capsys):
    panel = panels.ask(Player(run))
    one(panel, widgets.Combobox).value = ""
    one(panel, widgets.Button).click()
    assert not shown and capsys.readouterr().out.endswith("expected a question, got nothing\n")


def test_an_answer_is_scored_when_it_is_written(run, shown):
    panel = panels.write(Player(run))
    assert not shown
    one(panel, widgets.Text, "answer").value = "Paris."
    worth, picture = shown
    assert list(worth.columns) == ["R_c", "R_m"] and isinstance(picture, Figure)


def test_alpha_is_moved_by_hand(run, shown):
    panel = panels.alpha(run)
    pairing = tables.Pairing(run, 1, "en")
    _, table, candidates = shown[-3:]
    assert table.loc["here"].equals(table.loc["the run's"])
    assert candidates["side"].iloc[0] == "chosen"
    slider = one(panel, widgets.FloatSlider)
    assert (slider.min, slider.max) == (-1000 * pairing.reach, 1000 * pairing.reach)
    slider.value = slider.max
    _, table, candidates = shown[-3:]
    assert table.loc["here"].equals(pd.Series(pairing.at(pairing.reach), name="here"))
    assert not table.loc["here"].equals(table.loc["the run's"])
    one(panel, widgets.Dropdown, "language").value = "es"
    assert one(panel, widgets.FloatSlider).value == pytest.approx(
        1000 * tables.Pairing(run, 1, "es").alpha
    )


def test_a_language_without_pairs_is_a_line_in_the_panel(run, shown, monkeypatch, capsys):
    def refused(run, iteration, lang):
        raise InputError(f"no prompt in {lang} gives a pair")

    monkeypatch.setattr(panels, "Pairing", refused)
    panels.alpha(run)
    assert not shown and capsys.readouterr().out.endswith("no prompt in en gives a pair\n")


def test_a_taste_moves_the_weights_and_the_weights_the_win_rates(run, shown):
    panel = panels.weights(run)
    (own,) = shown
    assert own.loc["π_I", "en"] == 50
    one(panel, widgets.Dropdown, "taste").value = "anti-polite"
    assert len(shown) == 2
    for name, weight in get_taste("anti-polite").items():
        assert one(panel, widgets.FloatSlider, name).value == weight
    assert ((shown[-1] + own) == 100).all(axis=None)
    one(panel, widgets.FloatSlider, "right").value = 4
    assert not shown[-1].equals(own)


def test_a_cell_of_the_leaderboard_shows_its_rows(run, shown, capsys):
    panel = panels.leaderboard(run)
    assert not shown
    rates = read.metrics(run)["win_rates"]
    buttons = every(panel, widgets.Button)
    texts = [f"{entry['wr']:.1f}" for by_lang in rates.values() for entry in by_lang.values()]
    assert [button.description for button in buttons] == texts
    buttons[-1].click()
    assert [button.button_style for button in buttons[-2:]] == ["", "primary"]
    table = tables.wins_and_losses(run, "icr1", "es")
    losses = table.query("result == 'loss'")
    said = f"π^1 in es: {tables.results(table)}; of 'loss' the first {len(losses)}\n"
    assert capsys.readouterr().out.endswith(said)
    assert list(shown[-1]["model"]) == list(losses["model"])
    one(panel, widgets.ToggleButtons).value = "win"
    assert list(shown[-1]["model"]) == list(table.query("result == 'win'")["model"])
    buttons[0].click()
    assert [button.button_style for button in (buttons[0], buttons[-1])] == ["primary", ""]


def test_what_was_not_judged_is_said(run, shown, monkeypatch, capsys):
    annotations = read.annotations(run)
    annotations["icr1"]["es"][3]["preference"] = None
    monkeypatch.setattr(read, "annotations", lambda _: annotations)
    panel = panels.leaderboard(run)
    every(panel, widgets.Button)[-1].click()
    assert ", 1 not judged; " in capsys.readouterr().out
    one(panel, widgets.ToggleButtons).value = "not judged"
    assert list(shown[-1]["model"]) == [annotations["icr1"]["es"][3]["output_2"]]
