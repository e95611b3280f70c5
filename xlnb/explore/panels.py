"""The tables of `asking` and `tables` with something to move, in JupyterLab: five panels.

A panel holds widgets and no logic: what is moved becomes the arguments of one function, whose table
is shown. What that function refuses stands in the panel in a line.
"""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display

from xlnb.analysis import read
from xlnb.analysis.tables import left
from xlnb.common.errors import InputError
from xlnb.common.tastes import OPPOSITE
from xlnb.explore import tables
from xlnb.explore.asking import Player
from xlnb.explore.tables import Pairing
from xlnb.figures import model_name
from xlnb.figures.annotation import length_gap
from xlnb.figures.tokens import token_rewards
from xlnb.lab.oracle import FEATURES
from xlnb.lab.tastes import TASTES, get_taste
from xlnb.runs.layout import Run

WIDE = widgets.Layout(width="42em")
# Rows of wins and losses that are shown at once.
ROWS = 20


def ask(player: Player) -> widgets.VBox:
    """A question to all models: their answers side by side."""
    picker, lang, question = _question(player)
    n = widgets.IntSlider(2, min=1, max=8, description="answers")
    temperature = player.run.preset.sampling.temperature
    warmth = widgets.FloatSlider(temperature, min=0.1, max=1.5, step=0.1, description="temperature")
    warmth.style.description_width = "initial"
    seed = widgets.IntText(0, description="seed", layout=widgets.Layout(width="12em"))
    button = widgets.Button(description="Ask", button_style="primary")

    def answers() -> None:
        asked = player.question(question.value, lang.value)
        table = player.ask(asked, n=n.value, temperature=warmth.value, seed=seed.value)
        display(left(table.assign(model=table["model"].map(model_name)), "asked"))

    out = _shows(answers, button)
    return widgets.VBox([picker, widgets.HBox([n, warmth, seed, button]), out])


def write(player: Player) -> widgets.VBox:
    """An answer of one's own: what it is worth, and which tokens earned it."""
    picker, lang, question = _question(player)
    answer = widgets.Text(
        description="answer", layout=WIDE, continuous_update=False, placeholder="yours, then Enter"
    )

    def worth() -> None:
        table = player.score(player.question(question.value, lang.value), answer.value)
        rewards = [name for name in ("R_c", "R_m") if name in table]
        display(left(table[rewards].sum().to_frame("β nats").T, "worth", index=True))
        rows = [{"tokens": table["token"], "rewards": table[name]} for name in rewards]
        figure, ax = plt.subplots(figsize=(11, 0.6 * len(rows) + 1.2))
        token_rewards(rows, ax)
        ax.set_title(f"Best on top: {' and '.join(rewards)}")
        _drawn(figure)

    return widgets.VBox([picker, answer, _shows(worth, answer)])


def alpha(run: Run, iteration: int = 1) -> widgets.VBox:
    """Length control by hand: the staircase of the length gap, and the pairs at this α."""
    kept: dict[str, Pairing] = {}
    lang = widgets.Dropdown(options=read.languages(run, iteration), description="language")
    prompt = widgets.Dropdown(description="prompt", layout=WIDE)
    slider = widgets.FloatSlider(
        0, description="1000 α", layout=WIDE, readout_format=".3f", continuous_update=False
    )

    def chosen() -> Pairing:
        if lang.value not in kept:
            kept[lang.value] = Pairing(run, iteration, lang.value)
        return kept[lang.value]

    def fill(*_: object) -> None:
        try:
            pairing = chosen()
        except InputError:
            # `pairs`, which comes next, says why.
            prompt.options = []
            return
        some = pairing.prompts.values()
        prompt.options = [(one.sample.instruction, one.sample.prompt_id) for one in some]
        prompt.index = 0
        # The range before the value, which must lie in it.
        reach = 1000 * pairing.reach
        slider.step = reach / 1000
        slider.min, slider.max = min(slider.min, -reach), max(slider.max, reach)
        slider.value = 1000 * pairing.alpha
        slider.min, slider.max = -reach, reach

    def pairs() -> None:
        pairing, value = chosen(), slider.value / 1000
        figure, ax = plt.subplots(figsize=(11, 2.6))
        length_gap(pairing.curve, {}, pairing.reach, ax)
        ax.axvline(slider.value, color="black", linestyle="--")
        ax.set_title("Chosen − rejected, mean length, over α; dashed: here")
        _drawn(figure)
        here, fitted = pairing.at(value), pairing.at(pairing.alpha)
        table = pd.DataFrame([here, fitted], index=["here", "the run's"])
        display(left(table, "alpha", precision=2, index=True))
        display(left(pairing.responses(prompt.value, value), "candidates"))

    fill()
    lang.observe(fill, "value")
    return widgets.VBox([lang, prompt, slider, _shows(pairs, lang, prompt, slider)])


def weights(run: Run) -> widgets.VBox:
    """The judge's weights: win rates under another taste, of the same responses."""
    taste = get_taste(run.taste) if run.is_lab else {}
    sliders = {}
    for name in FEATURES:
        sliders[name] = widgets.FloatSlider(
            taste.get(name, 0), min=-4, max=4, step=0.5, description=name, continuous_update=False
        )
    names = [taste for name in TASTES for taste in (name, OPPOSITE + name)]
    picker = widgets.Dropdown(options=["", *names], value=run.taste, description="taste")

    taking: list[str] = []

    def take(change: dict[str, Any]) -> None:
        table = get_taste(change["new"]) if change["new"] else {}
        # The table once for all sliders, not once for each.
        taking.append(change["new"])
        for name, slider in sliders.items():
            slider.value = table.get(name, 0)
        taking.clear()

    def win_rates() -> None:
        if taking:
            return
        asked = {name: slider.value for name, slider in sliders.items()}
        display(
            left(tables.rejudge(run, asked).rename(model_name), "weights", precision=1, index=True)
        )

    picker.observe(take, "value")
    grid = widgets.GridBox(
        list(sliders.values()), layout=widgets.Layout(grid_template_columns="repeat(3, 22em)")
    )
    return widgets.VBox([picker, grid, _shows(win_rates, picker, *sliders.values())])


def leaderboard(run: Run) -> widgets.VBox:
    """Win rates by model and language: click one and read its wins and losses."""
    board = tables.leaderboard(run)
    clicked: list[widgets.Button] = []
    result = widgets.ToggleButtons(options=tables.RESULTS)
    out = widgets.Output()

    def rows() -> None:
        model, lang = clicked[-1].tooltip.split(", ")
        table = tables.wins_and_losses(run, model, lang)
        some = table[table["result"] == result.value]
        said = f"{model_name(model)} in {lang}: {tables.results(table)}"
        print(f"{said}; of '{result.value}' the first {min(ROWS, len(some))}")
        display(left(some.drop(columns="result").head(ROWS), "rows"))

    def show(*_: object) -> None:
        if clicked:
            _show(out, rows)

    def click(button: widgets.Button) -> None:
        for before in clicked:
            before.button_style = ""
        button.button_style = "primary"
        clicked[:] = [button]
        show()

    def cell(model: str, lang: str) -> widgets.Button:
        layout = widgets.Layout(width="auto")
        said = f"{board.loc[model, lang]:.1f}"
        button = widgets.Button(description=said, tooltip=f"{model}, {lang}", layout=layout)
        button.on_click(click)
        return button

    cells = [widgets.Label(""), *map(widgets.Label, board.columns)]
    for model in board.index:
        cells += [widgets.Label(model_name(model)), *(cell(model, lang) for lang in board.columns)]
    layout = widgets.Layout(grid_template_columns=f"4em repeat({len(board.columns)}, 6em)")
    result.observe(show, "value")
    return widgets.VBox([widgets.GridBox(cells, layout=layout), result, out])


def _question(player: Player) -> tuple[widgets.VBox, widgets.Dropdown, widgets.Combobox]:
    """A language, and a question in it: one of the run's, of a kind, or any other."""
    lang = widgets.Dropdown(options=list(read.prompts(player.run)), description="language")
    kind = widgets.Dropdown(description="kind")
    question = widgets.Combobox(
        description="question", layout=WIDE, ensure_option=False, continuous_update=False
    )

    def take(*_: object) -> None:
        if kind.value is None:
            return
        table = tables.questions(player.run, lang.value)
        question.options = list(table["instruction"][table["kind"] == kind.value])
        question.value = question.options[0]

    def fill(*_: object) -> None:
        kinds = list(dict.fromkeys(tables.questions(player.run, lang.value)["kind"]))
        before = kind.value
        # Questions are filled anew also where the kind stays.
        kind.options = kinds
        kind.value = before if before in kinds else kinds[0]
        take()

    fill()
    lang.observe(fill, "value")
    kind.observe(take, "value")
    return widgets.VBox([widgets.HBox([lang, kind]), question]), lang, question


def _shows(function: Callable[[], None], *moved: widgets.Widget) -> widgets.Output:
    """Where `function` displays what it does, now (but for a button) and whenever one of these
    widgets is moved or clicked."""
    out = widgets.Output()

    def show(*_: object) -> None:
        _show(out, function)

    for widget in moved:
        if isinstance(widget, widgets.Button):
            widget.on_click(show)
        else:
            widget.observe(show, "value")
    if not isinstance(moved[0], widgets.Button | widgets.Text):
        show()
    return out


def _show(out: widgets.Output, function: Callable[[], None]) -> None:
    out.clear_output(wait=True)
    with out:
        try:
            function()
        except InputError as error:
            print(error)


def _drawn(figure: Any) -> None:
    display(figure)
    plt.close(figure)
