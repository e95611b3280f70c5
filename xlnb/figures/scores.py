"""Scores of responses: how each looks in every picture, and how near each comes to the truth.

The method's rewards have colours, the plain scores that they must beat are grey.
"""

import pandas as pd
from matplotlib.axes import Axes

from xlnb.figures.style import BLUE, BROWN, GREEN, GREY, ORANGE, PURPLE, Look

SCORER_COLORS = {"cross_lingual": GREEN, "multilingual": PURPLE, "translated": BROWN}
SCORER_MARKERS = {"cross_lingual": "o", "multilingual": "s", "translated": "^"}
SCORER_NAMES = {
    "cross_lingual": "$R_c$ (English question)",
    "multilingual": "$R_m$ (question in the language)",
    "translated": "$R_t$ (response translated)",
    "cross_lingual_per_token": "$R_c$, a token",
    "likelihood": "likelihood of $π_I$, a token",
    "likelihood_sum": "likelihood of $π_I$, summed",
    "policy_likelihood": "likelihood of $π^0$, a token",
    "comparer": "a comparer of two",
    "mean": "mean of the scores",
    "gate": "gated scores",
    "brevity": "brevity",
    "random": "chance",
    "oracle": "the truth",
    "oracle_ceiling": "the truth, as a score",
}


SIDES = (("liked", BLUE, "o"), ("disliked", ORANGE, "s"))
SIDE_NAMES = {"liked": "under the taste", "disliked": "under its exact opposite"}


def scorer_look(scorer: str) -> Look:
    """What matplotlib's `plot` takes for a score's markers, with its name as the label."""
    return {
        "color": SCORER_COLORS.get(scorer, GREY),
        "marker": SCORER_MARKERS.get(scorer, "D"),
        "label": SCORER_NAMES[scorer],
    }


def opposite_tastes(table: pd.DataFrame, ax: Axes) -> None:
    """How often each score is right under a taste and under its exact opposite, on the same
    responses; a row a score.

    `table`: a row a score and seed: scorer, liked and disliked (accuracies, 0 to 1). What is blind
    to the preference lies as far above .5 under the one as below it under the other.
    """
    scorers = list(dict.fromkeys(table["scorer"]))
    ax.axvline(0.5, color="black", linestyle=":", linewidth=1)
    for place, scorer in enumerate(scorers):
        rows = table[table["scorer"] == scorer]
        mean = rows[["liked", "disliked"]].mean()
        ax.plot(mean, [place, place], color=SCORER_COLORS.get(scorer, GREY), linewidth=1, alpha=0.6)
        for column, color, marker in SIDES:
            ax.scatter(
                rows[column], [place] * len(rows), color=color, marker=marker, s=8, alpha=0.5
            )
            look: Look = {"color": color, "marker": marker, "s": 48, "zorder": 3}
            ax.scatter(mean[column], place, label=None if place else SIDE_NAMES[column], **look)
    ax.set_yticks(range(len(scorers)), [SCORER_NAMES[scorer] for scorer in scorers])
    ax.set(ylim=(len(scorers) - 0.5, -0.5), xlim=(-0.02, 1.02))
    ax.grid(axis="y", visible=False)


def translation_noise(table: pd.DataFrame, ax: Axes) -> None:
    """How often each reward is right by the translator's share of errors; only R_t knows of it.

    `table`: a row a reward and noise (0 to 1): scorer, noise, mean (accuracy, 0 to 1), low and high
    (a 95% interval over seeds, NaN where there is none). The truth's own accuracy is a dotted line.
    """
    for position, (scorer, rows) in enumerate(table.groupby("scorer", sort=False)):
        look = scorer_look(str(scorer))
        if scorer == "oracle":
            ax.axhline(rows["mean"].mean(), color="black", linestyle=":", label=look["label"])
            continue
        reach = [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
        # Side by side, so that intervals do not hide each other.
        x = 100 * rows["noise"] + 0.4 * (position - 1)
        ax.errorbar(x, rows["mean"], reach, capsize=3, markersize=6, **look)
    ax.set(xlabel="sentences that the translator drops or falsifies (%)")
    ax.set(ylabel="pair accuracy")
    ax.legend(loc="lower left")
