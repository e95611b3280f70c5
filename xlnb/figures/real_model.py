"""Notebook 12: scores of a real model's responses against a truth."""

import pandas as pd
from matplotlib.axes import Axes

from xlnb.figures.scores import SCORER_NAMES, scorer_look

# rewards less α a character
CONTROLLED = ", signed α"


def accuracies(table: pd.DataFrame, ax: Axes) -> None:
    """How often each score's best response is truly better than its worst, with intervals; a row a
    score, the truth's own as a dashed line, a coin's as a dotted one.

    `table`: scorer, mean (0 to 1), low and high.
    """
    scores = table[table["scorer"] != "oracle"].reset_index(drop=True)
    for place, row in scores.iterrows():
        scorer = row["scorer"].removesuffix(CONTROLLED)
        look = scorer_look(scorer) | {"label": None, "markersize": 7, "capsize": 3}
        look |= {"markerfacecolor": "white"} if scorer != row["scorer"] else {}
        reach = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        ax.errorbar(row["mean"], place, xerr=reach, **look)
    ax.axvline(0.5, color="black", linestyle=":", linewidth=1)
    ax.axvline(table.loc[table["scorer"] == "oracle", "mean"].item(), color="black", linestyle="--")
    ax.set_yticks(range(len(scores)), [_name(scorer) for scorer in scores["scorer"]])
    ax.set(ylim=(len(scores) - 0.5, -0.5), xlim=(0, 1))
    ax.grid(axis="y", visible=False)


def tolls(table: pd.DataFrame, ax: Axes) -> None:
    """What a token costs in a reward, by language, English first: β nats, of responses that are
    alike sentences.

    `table`: scorer, lang and token, a row each.
    """
    langs = sorted(set(table["lang"]), key=lambda lang: (lang != "en", lang))
    for scorer, some in table.groupby("scorer", sort=False):
        places = [langs.index(lang) for lang in some["lang"]]
        ax.errorbar(
            places, some["token"], **(scorer_look(scorer) | {"markersize": 7, "linestyle": ""})
        )
    ax.axhline(0, color="black", linewidth=1)
    ax.set_xticks(range(len(langs)), langs)
    ax.grid(axis="x", visible=False)


def _name(scorer: str) -> str:
    plain = scorer.removesuffix(CONTROLLED)
    return SCORER_NAMES[plain] + scorer.removeprefix(plain)
