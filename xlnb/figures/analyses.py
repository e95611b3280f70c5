"""Notebook 11, analyses: an analysis' arms, its claims, and the paper's figures beside ours."""

import re
import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xlnb.figures.style import BLUE, GREY, ORANGE
from xlnb.presets.claims import Analysis, unit

# More rows than these lie closer.
FEW = 12

MEASURES = {
    "wr": "win rate (%), languages other than English",
    "lc": "length-controlled win rate (%), languages other than English",
    "chars": "characters a response, languages other than English",
    "loss": "nats a token of held-out documents",
    "wr en": "win rate in English (%)",
    "wr sw": "win rate in Swahili (%)",
}


def beside_paper(
    table: pd.DataFrame, gaps: pd.DataFrame, measure: str, analysis: Analysis
) -> Figure:
    """An analysis' arms on the left, its claims beside them, and on the right the paper's figures
    of the arms, where it has some.

    `table`: of `analysis.analyses.arm_table`; `gaps`: of `gap_table`.
    """
    n = 3 if analysis.published else 2
    rows = max(len(analysis.arms), len(gaps))
    size = (5.2 * n, 1.9 + (0.42 if rows <= FEW else 0.27) * rows)
    figure, axes = plt.subplots(1, n, figsize=size)
    figure.suptitle(analysis.question, x=0.01, ha="left", weight="bold")
    arms(table, axes[0])
    axes[0].set(xlabel=MEASURES[measure], title="the lab's runs")
    differences(gaps, axes[1])
    axes[1].set(xlabel=f"difference, {unit(measure)}", title="claims, with 95% intervals")
    if analysis.published:
        published(analysis.published, axes[2])
        axes[2].set(xlabel=analysis.published_as, title="the paper")
    return figure


def differences(gaps: pd.DataFrame, ax: Axes) -> None:
    """A claim a row, the first on top: the difference of its arms, paired by seed, with its
    interval; right of the line the claim holds."""
    ax.axvline(0, color="#555555", linewidth=1)
    for place, row in enumerate(gaps.itertuples()):
        ax.plot([row.low, row.high], [place, place], color=BLUE, linewidth=2.5)
        ax.scatter(row.mean, place, color=BLUE, s=70, zorder=3)
    _rows([textwrap.fill(claim, 30) for claim in gaps["claim"]], ax)
    ax.margins(x=0.1)


def arms(table: pd.DataFrame, ax: Axes) -> None:
    """A measure by arm, the first on top: a small dot a seed, a large one at the mean.

    `table`: a row an arm and seed: arm, seed, value.
    """
    names = list(dict.fromkeys(table["arm"]))
    for place, name in enumerate(names):
        values = table.loc[table["arm"] == name, "value"]
        ax.scatter(values, [place] * len(values), color=GREY, s=22)
        ax.scatter(values.mean(), place, color=BLUE, s=70, zorder=3)
        seeds = f"{len(values)} seed" + "s" * (len(values) != 1)
        ax.annotate(
            seeds, (1, place), (-4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="center", fontsize=9, color="#555555",
        )  # fmt: skip
    _rows(names, ax)
    ax.margins(x=0.1)
    # space for the numbers of seeds
    low, high = ax.get_xlim()
    ax.set_xlim(low, high + 0.3 * (high - low))


def published(values: Mapping[str, float], ax: Axes) -> None:
    """The paper's figures by arm, the first on top."""
    ax.scatter(list(values.values()), range(len(values)), color=ORANGE, marker="D", s=55)
    _rows(list(values), ax)
    ax.margins(x=0.15)


def _rows(names: list[str], ax: Axes) -> None:
    labels = [re.sub(r"π\^\d|π_I|R_\w", r"$\g<0>$", name) for name in names]
    ax.set_yticks(range(len(names)), labels)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")


def layers(accuracies: Mapping[str, Mapping[str, float]]) -> Figure:
    """How often rewards by the first layers find the better of best and worst: a thin line a
    language, a thick one their mean without English. `accuracies`: `analysis.inside.by_layer`."""
    table = 100 * pd.DataFrame(accuracies).T
    figure, ax = plt.subplots(figsize=(7, 3.6))
    for lang in table:
        look = {"color": ORANGE, "linestyle": "--"} if lang == "en" else {"color": GREY}
        ax.plot(table.index, table[lang], linewidth=1, **look)
        ax.annotate(str(lang), (len(table) - 1, table[lang].iloc[-1]), (4, 0),
                    textcoords="offset points", va="center", fontsize=9)  # fmt: skip
    others = table.drop(columns="en").mean(axis=1)
    ax.plot(table.index, others, color=BLUE, linewidth=3, marker="o")
    ax.axhline(50, color="#555555", linewidth=1)
    ax.set(xlabel="layers that read", ylabel="pairs in the right order (%)")
    ax.set_title("Where the reward lives: accuracy by the first layers")
    return figure


def alike(tables: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Languages' gradients, DPO's and the NLL's: cosines as shares of what noise allows."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    for loss, ax in zip(("DPO", "NLL"), axes, strict=True):
        table = pd.DataFrame(tables[f"{loss}, of the ceiling"])
        sns.heatmap(table, ax=ax, annot=True, fmt=".2f", vmin=0, vmax=1, cmap="Blues", cbar=False)
        ax.set_title(f"{loss}: which way languages push")
    return figure
