""""""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from xlnb.figures.judging import RESPONSE_KINDS
from xlnb.figures.style import BLUE, BROWN, GREEN, GREY, PURPLE, YELLOW

# Notebook 03: annotation. R_c, R_m and R_t keep their colours and markers.
SCORER_COLORS = {"cross_lingual": GREEN, "multilingual": PURPLE, "translated": BROWN}

SCORER_MARKERS = {"cross_lingual": "o", "multilingual": "s", "translated": "^"}

SCORER_NAMES = {
    "cross_lingual": "$R_c$ (English question)",
    "multilingual": "$R_m$ (question in the language)",
    "translated": "$R_t$ (response translated)",
}


def truth_by_rank(table: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Mean oracle score (0 to 7) of the responses that a reward ranks first, second …; a language an axes.

    `table`: a row a response and scorer, with `lang`, `scorer`, `rank` (1: highest reward) and `truth`. Bands:
    95% bootstrap intervals over prompts.
    """
    for ax, (lang, rows) in zip(axes, table.groupby("lang", sort=False), strict=True):
        ax.axhline(
            rows["truth"].mean(),
            color="black",
            linestyle=":",
            linewidth=1,
            label="mean of all responses",
        )
        for scorer, ranked in rows.groupby("scorer", sort=False):
            sns.lineplot(
                ranked,
                x="rank",
                y="truth",
                ax=ax,
                color=SCORER_COLORS[scorer],
                label=SCORER_NAMES[scorer],
                errorbar=("ci", 95),
                n_boot=300,
                seed=0,
                marker=SCORER_MARKERS[scorer],
                markersize=5,
                legend=False,
            )
        ax.set(title=lang, xlabel="rank by reward (1: highest)", ylabel="oracle score (0–7)")
        ax.set_xticks(sorted(set(rows["rank"]))[:: 1 + table["rank"].max() // 7])


def intervals(
    table: Mapping[str, Mapping[str, tuple[float, float, float]]], chance: float, ax: Axes
) -> None:
    """A point and a 95% interval for each language and scorer, in percent, beside the value of a coin.

    `table`: {scorer: {lang: (value, low, high)}}; the first scorer has all languages.
    """
    ax.axhline(chance, color="black", linestyle=":", linewidth=1, label="a coin")
    langs = list(next(iter(table.values())))
    for number, (scorer, rows) in enumerate(table.items()):
        if not rows:
            continue
        x = np.array([langs.index(lang) for lang in rows]) + 0.22 * (number - (len(table) - 1) / 2)
        value, low, high = np.array(list(rows.values())).T
        ax.errorbar(
            x,
            value,
            [value - low, high - value],
            fmt=SCORER_MARKERS[scorer],
            markersize=7,
            capsize=3,
            elinewidth=2,
            color=SCORER_COLORS[scorer],
            label=SCORER_NAMES[scorer],
        )
    ax.set_xticks(range(len(langs)), langs)
    ax.set(ylim=(0, 105))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4)


def reward_against_length(table: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Reward (β nats) against characters, both less their prompt's mean, and the least-squares line.

    `table`: a row a response, with `lang`, `prompt_id`, `reward`, `n_chars` and, where it is known, `kind`. A language
    an axes, whose title gives the line's slope in β nats.
    """
    for ax, (lang, rows) in zip(axes, table.groupby("lang", sort=False), strict=True):
        centred = rows[["reward", "n_chars"]] - rows.groupby("prompt_id")[
            ["reward", "n_chars"]
        ].transform("mean")
        for kind, color in (RESPONSE_KINDS if "kind" in rows else {"": BLUE}).items():
            some = centred[rows["kind"] == kind] if kind else centred
            ax.scatter(
                some["n_chars"],
                some["reward"],
                s=7,
                alpha=0.5,
                color=color,
                linewidths=0,
                rasterized=True,
            )
        slope = (centred["n_chars"] * centred["reward"]).sum() / max(
            (centred["n_chars"] ** 2).sum(), 1
        )
        ax.axline((0, 0), slope=slope, color="black", linewidth=1.6)
        ax.set_title(f"{lang}: {100 * slope:+.3f} per 100 characters")
        ax.set(xlabel="characters − prompt's mean", ylabel="reward (β nats)")
        ax.label_outer()
        ax.tick_params(labelleft=True)  # a scale of its own


def length_gap(
    curve: tuple[ArrayLike, ArrayLike],
    marks: Mapping[str, tuple[float, float]],
    reach: float,
    ax: Axes,
) -> None:
    """The staircase of the mean of len(chosen) − len(rejected) (characters) over α, for |α| < `reach`.

    `curve`: see `pairs.length_gap_curve`, α in β nats a character, drawn per 1,000 characters; `marks`:
    {"before" | "exact" | "grid" | "negative": (α, gap)}. α < 0, which the release does not search, is shaded.
    """
    looks: dict[str, tuple[str, dict[str, Any]]] = {
        "before": (
            "α = 0",
            {"marker": "o", "s": 190, "facecolor": "none", "edgecolor": "black", "linewidth": 1.5},
        ),
        "exact": ("exact, α ≥ 0", {"marker": "D", "s": 80, "color": BLUE}),
        "grid": ("release's grid", {"marker": "x", "s": 60, "color": YELLOW, "linewidth": 2}),
        "negative": ("exact, any α", {"marker": "v", "s": 60, "color": PURPLE}),
    }
    alphas, gaps = (np.asarray(values, float) for values in curve)
    inside = (alphas > -reach) & (alphas < reach)
    before = gaps[np.flatnonzero(alphas <= -reach)[-1]]
    x = 1000 * np.concatenate([[-reach], alphas[inside], [reach]])
    y = np.concatenate([[before], gaps[inside], gaps[inside][-1:] if inside.any() else [before]])
    ax.axvspan(x[0], 0, color="#eeeeee")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.step(x, y, where="post", color=GREY, linewidth=1.8)
    for name, (label, look) in looks.items():
        if name in marks:
            ax.scatter(1000 * marks[name][0], marks[name][1], zorder=3, label=label, **look)
    ax.set(xlim=(x[0], x[-1]), xlabel="α (β nats per 1,000 characters)", ylabel="gap (characters)")
