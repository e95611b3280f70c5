"""Notebooks 03 and 04, annotation: rewards beside the oracle's truth and beside length.

R_c, R_m and R_t keep their colours and markers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from xlnb.common.intervals import clustered_error
from xlnb.evaluation.clusters import fact_of
from xlnb.figures.kinds import KIND_COLORS
from xlnb.figures.scores import scorer_look
from xlnb.figures.style import BLUE, GREY, PURPLE, YELLOW, Look

HOLLOW: Look = {"facecolor": "none", "edgecolor": "black", "linewidth": 1.5}

# How `length_gap` marks an α: label and look.
ALPHA_MARKS: dict[str, tuple[str, Look]] = {
    "before": ("α = 0", {"marker": "o", "s": 190, **HOLLOW}),
    "exact": ("exact, α ≥ 0", {"marker": "D", "s": 80, "color": BLUE}),
    "grid": ("release's grid", {"marker": "x", "s": 60, "color": YELLOW, "linewidth": 2}),
    "negative": ("exact, any α", {"marker": "v", "s": 60, "color": PURPLE}),
}


def truth_by_rank(table: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Mean oracle score (points) of what a reward ranks first, second …; a language an axes.

    `table`: a row a response and scorer, with `lang`, `prompt_id`, `scorer`, `rank` (1: highest
    reward) and `truth`. Bands: 95% intervals, clustered by fact.
    """
    for ax, (lang, rows) in zip(axes, table.groupby("lang", sort=False), strict=True):
        mean: Look = {"color": "black", "linestyle": ":", "linewidth": 1}
        ax.axhline(rows["truth"].mean(), label="mean of all responses", **mean)
        for place, (scorer, ranked) in enumerate(rows.groupby("scorer", sort=False)):
            by_rank = ranked.groupby("rank")["truth"].mean()
            errors = []
            for _, same in ranked.groupby("rank"):
                facts = [fact_of(prompt_id) for prompt_id in same["prompt_id"]]
                errors.append(clustered_error(same["truth"].to_numpy(float), facts))
            reach = 1.96 * np.array(errors)
            look = scorer_look(str(scorer))
            # Two rewards may lie on each other.
            dashes = "--" if place else "-"
            ax.plot(by_rank.index, by_rank, dashes, markersize=5, mec="white", **look)
            band: Look = {"color": look["color"], "alpha": 0.2, "linewidth": 0}
            ax.fill_between(by_rank.index, by_rank - reach, by_rank + reach, **band)
        ax.set(title=lang, xlabel="rank by reward (1: highest)", ylabel="oracle score (points)")
        ax.set_xticks(sorted(set(rows["rank"]))[:: 1 + table["rank"].max() // 7])
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def intervals(
    table: Mapping[str, Mapping[str, tuple[float, float, float]]], chance: float, ax: Axes
) -> None:
    """A point and a 95% interval a language and scorer, in percent, beside the value of a coin.

    `table`: {scorer: {lang: (value, low, high)}}; the first scorer has all languages.
    """
    ax.axhline(chance, color="black", linestyle=":", linewidth=1, label="a coin")
    langs = list(next(iter(table.values())))
    for number, (scorer, rows) in enumerate(table.items()):
        if not rows:
            continue
        places = np.array([langs.index(lang) for lang in rows])
        x = places + 0.22 * (number - (len(table) - 1) / 2)
        value, low, high = np.array(list(rows.values())).T
        look: Look = {"linestyle": "", "markersize": 7, "capsize": 3, "elinewidth": 2}
        ax.errorbar(x, value, [value - low, high - value], **look, **scorer_look(scorer))
    ax.set_xticks(range(len(langs)), langs)
    ax.set(ylim=(0, 105))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4)


def reward_against_length(
    centred: pd.DataFrame, slopes: Mapping[str, float], axes: Sequence[Axes]
) -> None:
    """Reward (β nats) against characters, both less their prompt's mean; a language an axes.

    `centred`: a row a response, with `lang`, `reward`, `n_chars` and, where it is known, `kind`.
    `slopes`: {lang: β nats a character} of the line through the middle; see `analysis.responses`.
    """
    dots: Look = {"s": 7, "alpha": 0.5, "linewidths": 0, "rasterized": True}
    for ax, (lang, rows) in zip(axes, centred.groupby("lang", sort=False), strict=True):
        if "kind" in rows:
            for kind, color in KIND_COLORS.items():
                some = rows[rows["kind"] == kind]
                ax.scatter(some["n_chars"], some["reward"], color=color, **dots)
        else:
            ax.scatter(rows["n_chars"], rows["reward"], color=BLUE, **dots)
        ax.axline((0, 0), slope=slopes[lang], color="black", linewidth=1.6)
        ax.set_title(f"{lang}: {100 * slopes[lang]:+.3f} per 100 characters")
        ax.set(xlabel="characters − prompt's mean", ylabel="reward (β nats)")
        ax.label_outer()
        # Each axes has a vertical scale of its own.
        ax.tick_params(labelleft=True)


def length_gap(
    curve: tuple[ArrayLike, ArrayLike],
    marks: Mapping[str, tuple[float, float]],
    reach: float,
    ax: Axes,
) -> None:
    """The mean of len(chosen) − len(rejected) (characters) over α, a staircase, for |α| < `reach`.

    `curve`: see `length_control.length_gap_curve`, α in β nats a character, drawn per 1,000
    characters; `marks`: {"before" | "exact" | "grid" | "negative": (α, gap)}. α < 0, which the
    release does not search, is shaded.
    """
    alphas, gaps = (np.asarray(values, float) for values in curve)
    inside = (alphas > -reach) & (alphas < reach)
    before = gaps[np.flatnonzero(alphas <= -reach)[-1]]
    after = gaps[inside][-1] if inside.any() else before
    x = 1000 * np.concatenate([[-reach], alphas[inside], [reach]])
    y = np.concatenate([[before], gaps[inside], [after]])
    ax.axvspan(x[0], 0, color="#eeeeee")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.step(x, y, where="post", color=GREY, linewidth=1.8)
    for name, (label, look) in ALPHA_MARKS.items():
        if name in marks:
            alpha, gap = marks[name]
            ax.scatter(1000 * alpha, gap, zorder=3, label=label, **look)
    ax.set(xlim=(x[0], x[-1]), xlabel="α (β nats per 1,000 characters)", ylabel="gap (characters)")
