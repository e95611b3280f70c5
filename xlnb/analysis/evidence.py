"""Scores beside the truth: under tastes and their opposites, what a preference explains and what
likelihood, length or chance does; by the errors of a translator, what a translated reward is worth.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from xlnb.analysis.read import Record
from xlnb.common.intervals import seed_interval
from xlnb.common.tastes import OPPOSITE

# {scorer: {lang: what `evaluation.truth.reward_accuracy` returns}}
Table = Mapping[str, Mapping[str, Record]]


def accuracies(table: Table) -> pd.DataFrame:
    """Pair accuracy (0 to 1), scores by languages."""
    rows = {}
    for scorer, by_lang in table.items():
        rows[scorer] = {lang: entry["pair_accuracy"] for lang, entry in by_lang.items()}
    return pd.DataFrame(rows).T


def in_and_outside_english(table: Table) -> pd.DataFrame:
    """Pair accuracy (0 to 1) of each score in English and in the mean of the other languages."""
    every = accuracies(table)
    found = {"English": every["en"]} if "en" in every else {}
    return pd.DataFrame(found | {"others": non_english(table)})


def non_english(table: Table) -> pd.Series:
    """The mean pair accuracy of each score over the languages that had no preference."""
    return accuracies(table).drop(columns="en", errors="ignore").mean(axis=1)


def opposites(records: Iterable[Record]) -> pd.DataFrame:
    """A row a taste, score and seed: liked and disliked, the score's mean accuracy in other
    languages than English under the taste and under its opposite, and mean, that of both.

    `records`: as `stages.evidence` writes them.
    """
    rows = []
    for record in records:
        tastes = record["tastes"]
        for taste in tastes:
            if taste.startswith(OPPOSITE):
                continue
            liked = non_english(tastes[taste])
            disliked = non_english(tastes[OPPOSITE + taste])
            for scorer in liked.index:
                both = {"liked": liked[scorer], "disliked": disliked[scorer]}
                names = {"taste": taste, "scorer": scorer, "seed": record["seed"]}
                rows.append({**names, **both, "mean": (both["liked"] + both["disliked"]) / 2})
    return pd.DataFrame(rows)


def opposites_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of a taste and its opposite with 95% intervals, scores by tastes, in words;
    the last column: how far a score is on its way from a coin's .5 to the truth's own accuracy."""
    found: dict[str, dict[str, str]] = {}
    for (taste, scorer), some in rows.groupby(["taste", "scorer"], sort=False):
        found.setdefault(str(taste), {})[str(scorer)] = in_words(list(some["mean"]))
    table = pd.DataFrame(found)
    means = rows.groupby(["taste", "scorer"], sort=False)["mean"].mean().unstack("taste")
    way = (means - 0.5) / (means.loc["oracle"] - 0.5)
    table["way to the truth"] = [
        f"{100 * share:.0f}%" for share in way.loc[table.index].mean(axis=1)
    ]
    return table


def translators(records: Iterable[Record]) -> pd.DataFrame:
    """A row a reward, share of errors (noise, 0 to 1) and: mean accuracy in other languages than
    English, over seeds, with its 95% interval, low and high, NaN for a single seed."""
    found: dict[tuple[str, float], list[float]] = {}
    for record in records:
        for noise, table in record["translators"].items():
            for scorer, value in non_english(table).items():
                found.setdefault((str(scorer), float(noise)), []).append(value)
    rows = []
    for (scorer, noise), values in found.items():
        mean, low, high = values[0], np.nan, np.nan
        if len(values) > 1:
            mean, low, high = seed_interval(values)
        rows.append({"scorer": scorer, "noise": noise, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def in_words(values: Sequence[float], digits: int = 3) -> str:
    """The mean over seeds with its 95% interval, as 0.843 [0.801, 0.885]; of one seed its value."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    mean, low, high = seed_interval(values)
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
