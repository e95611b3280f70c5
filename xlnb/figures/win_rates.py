"""Notebook 07, win rates: models by languages, gains with their intervals, length, seeds.

`win_rates` is that of metrics.json: {model: {lang: {"wr", "wr_ci", "lc", …}}}, in points.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xlnb.evaluation.summaries import WinRate
from xlnb.figures.style import (
    BLUE,
    GREY,
    MODEL_NAMES,
    ORANGE,
    Look,
    model_color,
    model_dots,
    model_label,
)
from xlnb.winrates import PairedDifference

WinRates = Mapping[str, Mapping[str, WinRate]]

# A line at what is to be told from: 50 points, no gain, equal values.
EVEN: Look = {"color": "black", "linewidth": 1.2, "linestyle": "--"}


def win_rate_bars(win_rates: WinRates, ax: Axes) -> None:
    """Win rates in points, a group of bars a language, a bar a model, with 95% intervals.

    Of `win_rates`: "wr" and "wr_ci", [lo, hi], clustered where prompts are.
    """
    langs = list(next(iter(win_rates.values())))
    width = 0.84 / len(win_rates)
    places = np.arange(len(langs))
    for position, (model, rows) in enumerate(win_rates.items()):
        wr = np.array([rows[lang]["wr"] for lang in langs])
        interval = np.array([rows[lang]["wr_ci"] for lang in langs]).T
        x = places + (position - (len(win_rates) - 1) / 2) * width
        ax.bar(x, wr, width * 0.94, color=model_color(model), label=model_label(model))
        whiskers: Look = {"fmt": "none", "ecolor": "#333333", "elinewidth": 1.3, "capsize": 2.5}
        ax.errorbar(x, wr, np.abs(interval - wr), **whiskers)
        for at, value, top in zip(x, wr, interval[1], strict=True):
            ax.text(at, top + 1, f"{value:.0f}", ha="center", va="bottom", fontsize=9)
    ax.axhline(50, **EVEN)
    ax.grid(visible=False, axis="x")
    ax.set_xticks(places, langs)
    ax.set(xlabel="language of the prompts", ylabel="win rate (%)", ylim=(0, 100))
    _legend_above(ax, len(win_rates))


def gains(table: Mapping[str, PairedDifference], ax: Axes) -> None:
    """Differences of two win rates in points with 95% intervals, a row each; grey where that has 0.

    `table`: {row's name: what `winrates.paired_difference` returns}.
    """
    for row, entry in enumerate(table.values()):
        lo, hi = entry["ci"]
        difference = entry["difference"]
        color = GREY if lo <= 0 <= hi else BLUE
        ax.plot([lo, hi], [row, row], color=color, linewidth=3, solid_capstyle="round")
        ax.plot(difference, row, "o", color=color, markersize=9)
        beside: Look = {"textcoords": "offset points", "va": "center"}
        ax.annotate(f"{difference:+.1f}", (hi, row), (7, 0), **beside)
    ax.axvline(0, **EVEN)
    ax.set_yticks(range(len(table)), list(table))
    ax.set(ylim=(len(table) - 0.5, -0.5))
    clustered = any(entry["clusters"] < entry["n"] for entry in table.values())
    kind = "clustered interval" if clustered else "interval over prompts"
    ax.set(xlabel=f"gain in win rate (points), 95% {kind}")
    ax.margins(x=0.15)
    ax.grid(visible=False, axis="y")


def length_and_win_rate(win_rates: WinRates, ax: Axes) -> None:
    """Mean characters of the responses against win rate in points: a dot a model and language.

    Of `win_rates`: "wr" and "mean_chars". A grey line joins a language's models in their order; its
    name stands at the last.
    """
    for lang in next(iter(win_rates.values())):
        chars = [rows[lang]["mean_chars"] for rows in win_rates.values()]
        wr = [rows[lang]["wr"] for rows in win_rates.values()]
        ax.plot(chars, wr, color="#c4c4c4", linewidth=1.2, zorder=1)
        ax.annotate(lang, (chars[-1], wr[-1]), (7, 3), textcoords="offset points")
    for model, rows in win_rates.items():
        chars = [row["mean_chars"] for row in rows.values()]
        wr = [row["wr"] for row in rows.values()]
        ax.scatter(chars, wr, **model_dots(model), s=60, zorder=2)
    ax.axhline(50, **EVEN, zorder=0)
    ax.set(xlabel="mean length of the responses (characters)", ylabel="win rate (%)")


def win_rate_and_lc(win_rates: WinRates, ax: Axes) -> None:
    """Win rate against length-controlled win rate, both in points: a dot a model and language.

    Of `win_rates`: "wr" and "lc". Above the diagonal, length held it back.
    """
    for model, rows in win_rates.items():
        wr = [row["wr"] for row in rows.values()]
        lc = [row["lc"] for row in rows.values()]
        ax.scatter(wr, lc, **model_dots(model), s=60, zorder=2)
    limits = [*ax.get_xlim(), *ax.get_ylim()]
    ends = [min(limits), max(limits)]
    ax.plot(ends, ends, **EVEN, zorder=1)
    ax.set(xlabel="win rate (%)", ylabel="length-controlled win rate (%)")
    ax.legend(loc="upper left")


def leaderboard(win_rates: WinRates, ax: Axes, *, key: Literal["wr", "lc"] = "lc") -> None:
    """Models by languages, best mean on top: a cell a win rate in points, coloured around 50.

    `key`: "wr" or "lc". Where less than 95% of the responses are in the asked language (where
    "in_language", from 0 to 1, is there and says so), the share stands below the win rate.
    """
    values = pd.DataFrame(dtype=float)
    for model, rows in win_rates.items():
        for lang, entry in rows.items():
            values.loc[model, lang] = entry[key]
    langs = list(values.columns)
    values = values.loc[values.mean(axis=1).sort_values(ascending=False).index]
    colors = sns.diverging_palette(30, 250, as_cmap=True)
    ax.imshow(values, cmap=colors, vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        if np.isnan(value):
            continue
        lang = langs[column]
        share = win_rates[values.index[row]][lang].get("in_language", 1.0)
        text = f"{value:.1f}"
        if share < 0.95:
            text += f"\n{share:.0%} in {lang}"
        color = "white" if abs(value - 50) > 35 else "black"
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color=color)
    names = [model_label(m) if m in MODEL_NAMES else m for m in values.index]
    ax.set_xticks(range(len(langs)), langs)
    ax.set_yticks(range(len(values)), names)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.set(xlabel="language of the prompts")


def win_rate_by_length(
    groups: pd.DataFrame, curve: pd.DataFrame, wr: float, lc: float, ax: Axes
) -> None:
    """What a win rate owes to length: see `analysis.length.by_length`, which makes the arguments.

    `groups` (points with their standard errors): longer, in characters, wr and se, in points;
    `curve` (line): longer and wr, the fit behind LC, or nothing; diamond: LC, its value at equal
    lengths; dotted: the plain win rate.
    """
    points: Look = {"fmt": "o", "color": BLUE, "markersize": 6, "capsize": 2.5}
    for longer, rate, se in groups.itertuples(index=False):
        ax.errorbar(longer, rate, se, **points)
    if len(curve):
        ax.plot(curve["longer"], curve["wr"], color=ORANGE, linewidth=2, label="fit")
    ax.plot(0, lc, "D", color=ORANGE, markersize=9, label=f"LC {lc:.1f}", zorder=3)
    ax.axhline(wr, color="black", linewidth=1.2, linestyle=":", label=f"WR {wr:.1f}")
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(xlabel="characters of the model − of the baseline")
    ax.set(ylabel="win rate (%)", ylim=(-2, 102))
    ax.locator_params(axis="x", nbins=5)
    ax.legend()


def length_panels(
    cases: Mapping[str, tuple[pd.DataFrame, pd.DataFrame, float, float]],
) -> Figure:
    """`win_rate_by_length` of each case, a panel each."""
    figure, axes = plt.subplots(1, len(cases), figsize=(11, 3.6), sharey=True, squeeze=False)
    for (title, case), ax in zip(cases.items(), axes[0], strict=True):
        win_rate_by_length(*case, ax)
        ax.set_title(title, fontsize=11)
        ax.label_outer()
    return figure


def seed_points(values: Mapping[str, Mapping[str, Sequence[float]]], ax: Axes) -> None:
    """Runs that differ in their seed: a dot a run, a bar at their mean; a group a language.

    `values`: {model: {lang: a win rate in points a seed}}.
    """
    langs = list(next(iter(values.values())))
    width = 0.84 / len(values)
    for position, (model, rows) in enumerate(values.items()):
        color = model_color(model)
        # (languages, seeds)
        seeds = np.array([rows[lang] for lang in langs])
        x = np.arange(len(langs)) + (position - (len(values) - 1) / 2) * width
        left, right = x - 0.42 * width, x + 0.42 * width
        ax.hlines(seeds.mean(1), left, right, color, lw=4, label=model_label(model))
        jitter = np.linspace(-0.25, 0.25, seeds.shape[1]) * width * (seeds.shape[1] > 1)
        at = (x[:, None] + jitter).ravel()
        ax.plot(at, seeds.ravel(), "o", color=color, ms=5, mec="black", mew=0.6)
    ax.axhline(50, **EVEN, zorder=0)
    ax.grid(visible=False, axis="x")
    ax.set_xticks(range(len(langs)), langs)
    ax.set(xlabel="language of the prompts", ylabel="win rate (%)")
    _legend_above(ax, len(values))


def _legend_above(ax: Axes, columns: int) -> None:
    ax.legend(ncols=columns, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
