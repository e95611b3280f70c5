""""""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from xlnb.evaluation.biases import length_bias
from xlnb.figures.style import BLUE, GREY, MODEL_NAMES, ORANGE, model_color, model_dots, model_label
from xlnb.winrates import length_controlled, win_rate


def win_rate_bars(win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]], ax: Axes) -> None:
    """Win rates in points, a group of bars a language, a bar a model, with 95% intervals.

    `win_rates`: {model: {lang: {"wr", "wr_ci": [lo, hi]}}}, as in metrics.json.
    """
    langs = list(next(iter(win_rates.values())))
    width, places = 0.84 / len(win_rates), np.arange(len(langs))
    for position, (model, rows) in enumerate(win_rates.items()):
        wr = np.array([rows[lang]["wr"] for lang in langs])
        interval = np.array([rows[lang]["wr_ci"] for lang in langs]).T
        x = places + (position - (len(win_rates) - 1) / 2) * width
        ax.bar(x, wr, width * 0.94, color=model_color(model), label=model_label(model))
        ax.errorbar(
            x, wr, np.abs(interval - wr), fmt="none", ecolor="#333333", elinewidth=1.3, capsize=2.5
        )
        for at, value, top in zip(x, wr, interval[1], strict=True):
            ax.text(at, top + 1, f"{value:.0f}", ha="center", va="bottom", fontsize=9)
    ax.axhline(50, color="black", linewidth=1.2, linestyle="--")
    ax.grid(visible=False, axis="x")
    ax.set_xticks(places, langs)
    ax.set(xlabel="language of the prompts", ylabel="win rate (%)", ylim=(0, 100))
    ax.legend(ncols=len(win_rates), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)


def gains(table: Mapping[str, Mapping[str, Any]], ax: Axes) -> None:
    """Differences of two win rates in points with their 95% intervals, a row each; grey where that holds 0.

    `table`: {row's name: {"difference", "ci": [lo, hi]}}, as `winrates.paired_difference` returns them.
    """
    for row, entry in enumerate(table.values()):
        (lo, hi), difference = entry["ci"], entry["difference"]
        color = GREY if lo <= 0 <= hi else BLUE
        ax.plot([lo, hi], [row, row], color=color, linewidth=3, solid_capstyle="round")
        ax.plot(difference, row, "o", color=color, markersize=9)
        ax.annotate(
            f"{difference:+.1f}", (hi, row), (7, 0), textcoords="offset points", va="center"
        )
    ax.axvline(0, color="black", linewidth=1.2, linestyle="--")
    ax.set_yticks(range(len(table)), list(table))
    ax.set(
        ylim=(len(table) - 0.5, -0.5), xlabel="gain in win rate (points), 95% interval over prompts"
    )
    ax.margins(x=0.15)
    ax.grid(visible=False, axis="y")


def length_and_win_rate(win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]], ax: Axes) -> None:
    """Mean characters of the responses against win rate in points: a dot a model and language.

    `win_rates`: {model: {lang: {"wr", "mean_chars"}}}, as in metrics.json. A grey line joins a language's
    models in their order; its name stands at the last.
    """
    for lang in next(iter(win_rates.values())):
        of_lang = [rows[lang] for rows in win_rates.values()]
        chars, wr = ([row[key] for row in of_lang] for key in ("mean_chars", "wr"))
        ax.plot(chars, wr, color="#c4c4c4", linewidth=1.2, zorder=1)
        ax.annotate(lang, (chars[-1], wr[-1]), (7, 3), textcoords="offset points")
    for model, rows in win_rates.items():
        chars, wr = ([row[key] for row in rows.values()] for key in ("mean_chars", "wr"))
        ax.scatter(chars, wr, **model_dots(model), s=60, zorder=2)
    ax.axhline(50, color="black", linewidth=1.2, linestyle="--", zorder=0)
    ax.set(xlabel="mean length of the responses (characters)", ylabel="win rate (%)")


def win_rate_and_lc(win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]], ax: Axes) -> None:
    """Win rate against length-controlled win rate, both in points: a dot a model and language.

    `win_rates`: {model: {lang: {"wr", "lc"}}}, as in metrics.json. Above the diagonal, length held it back.
    """
    for model, rows in win_rates.items():
        wr, lc = ([row[key] for row in rows.values()] for key in ("wr", "lc"))
        ax.scatter(wr, lc, **model_dots(model), s=60, zorder=2)
    ends = [limit([*ax.get_xlim(), *ax.get_ylim()]) for limit in (min, max)]
    ax.plot(ends, ends, color="black", linewidth=1.2, linestyle="--", zorder=1)
    ax.set(xlabel="win rate (%)", ylabel="length-controlled win rate (%)")
    ax.legend(loc="upper left")


def leaderboard(
    win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]], ax: Axes, *, key: str = "lc"
) -> None:
    """Models by languages, best mean on top: a cell a win rate (`key`: "wr" or "lc", points), coloured around 50.

    `win_rates`: {model: {lang: {"wr", "lc", optionally "in_language" (0 to 1)}}}, as `leaderboard.win_rates` returns
    them. Where less than 95% of the responses are in the asked language, the share stands below the win rate.
    """
    langs = list(dict.fromkeys(lang for rows in win_rates.values() for lang in rows))
    values = pd.DataFrame(
        {m: {k: row[key] for k, row in rows.items()} for m, rows in win_rates.items()}
    ).T[langs]
    values = values.loc[values.mean(axis=1).sort_values(ascending=False).index]
    ax.imshow(
        values, cmap=sns.diverging_palette(30, 250, as_cmap=True), vmin=0, vmax=100, aspect="auto"
    )
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        if np.isnan(value):
            continue
        share = win_rates[values.index[row]][langs[column]].get("in_language", 1.0)
        text = f"{value:.1f}" + (f"\n{share:.0%} in {langs[column]}" if share < 0.95 else "")
        color = "white" if abs(value - 50) > 35 else "black"
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color=color)
    ax.set_xticks(range(len(langs)), langs)
    ax.set_yticks(
        range(len(values)), [model_label(m) if m in MODEL_NAMES else m for m in values.index]
    )
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.set(xlabel="language of the prompts")


def win_rate_by_length(
    preference: ArrayLike,
    len_output: ArrayLike,
    len_baseline: ArrayLike,
    ax: Axes,
    *,
    bins: int = 8,
) -> None:
    """What a win rate owes to length: the win rate by how much longer the model's response is, and what LC reads off.

    Arguments (n,) as for `winrates.length_controlled`, lengths in characters. Points: groups of equal size with their
    standard errors; line: the fit behind LC; diamond: LC, its value at equal lengths; dotted: the plain win rate.
    """
    p, output, baseline = (
        np.asarray(values, float) for values in (preference, len_output, len_baseline)
    )
    p, output, baseline = (values[~np.isnan(p)] for values in (p, output, baseline))
    longer = output - baseline
    for group in np.array_split(np.argsort(longer, kind="stable"), min(bins, len(p))):
        wr, se = win_rate(p[group])
        ax.errorbar(longer[group].mean(), wr, se, fmt="o", color=BLUE, markersize=6, capsize=2.5)
    lc, w_len = length_controlled(p, output, baseline), length_bias(p, output, baseline)["w_len"]
    if w_len and 0 < lc < 100:
        x = np.linspace(min(longer.min(), 0), max(longer.max(), 0), 300)
        z = np.log(lc / (100 - lc)) + w_len * np.tanh(-x / longer.std(ddof=1))
        ax.plot(x, 100 / (1 + np.exp(-z)), color=ORANGE, linewidth=2, label="fit")
    ax.plot(0, lc, "D", color=ORANGE, markersize=9, label=f"LC {lc:.1f}", zorder=3)
    ax.axhline(
        win_rate(p)[0],
        color="black",
        linewidth=1.2,
        linestyle=":",
        label=f"WR {win_rate(p)[0]:.1f}",
    )
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(
        xlabel="characters of the model − of the baseline", ylabel="win rate (%)", ylim=(-2, 102)
    )
    ax.locator_params(axis="x", nbins=5)
    ax.legend()


def seed_points(values: Mapping[str, Mapping[str, Sequence[float]]], ax: Axes) -> None:
    """Runs that differ in their seed: a dot a run, a bar at their mean; a group a language, a colour a model.

    `values`: {model: {lang: a win rate in points a seed}}.
    """
    langs, width = list(next(iter(values.values()))), 0.84 / len(values)
    for position, (model, rows) in enumerate(values.items()):
        color, offset = model_color(model), (position - (len(values) - 1) / 2) * width
        seeds = np.array([rows[lang] for lang in langs])  # (languages, seeds)
        x = np.arange(len(langs)) + offset
        jitter = np.linspace(-0.25, 0.25, seeds.shape[1]) * width * (seeds.shape[1] > 1)
        ax.hlines(
            seeds.mean(1), x - 0.42 * width, x + 0.42 * width, color, lw=4, label=model_label(model)
        )
        ax.plot(
            (x[:, None] + jitter).ravel(),
            seeds.ravel(),
            "o",
            color=color,
            ms=5,
            mec="black",
            mew=0.6,
        )
    ax.axhline(50, color="black", linewidth=1.2, linestyle="--", zorder=0)
    ax.grid(visible=False, axis="x")
    ax.set_xticks(range(len(langs)), langs)
    ax.set(xlabel="language of the prompts", ylabel="win rate (%)")
    ax.legend(ncols=len(values), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
