"""Scores beside the truth under tastes and their opposites: what a preference explains, and what
likelihood, length or chance does."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from xlnb.analysis.read import Record
from xlnb.lab.tastes import OPPOSITE

# {scorer: {lang: what `lab.truth.reward_accuracy` returns}}
Table = Mapping[str, Mapping[str, Record]]


class Interval(NamedTuple):
    """A mean over seeds and its 95% interval (Student's t, n − 1 degrees of freedom)."""

    mean: float
    low: float
    high: float


def over_seeds(values: Sequence[float]) -> Interval:
    """NaN bounds for a single seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    reach = float(student.ppf(0.975, len(values) - 1) * error)
    return Interval(mean, mean - reach, mean + reach)


def accuracies(table: Table) -> pd.DataFrame:
    """Pair accuracy (0 to 1), scores by languages."""
    rows = {}
    for scorer, by_lang in table.items():
        rows[scorer] = {lang: entry["pair_accuracy"] for lang, entry in by_lang.items()}
    return pd.DataFrame(rows).T


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
        found.setdefault(str(taste), {})[str(scorer)] = in_words(over_seeds(list(some["mean"])))
    table = pd.DataFrame(found)
    means = rows.groupby(["taste", "scorer"], sort=False)["mean"].mean().unstack("taste")
    way = (means - 0.5) / (means.loc["oracle"] - 0.5)
    table["way to the truth"] = [
        f"{100 * share:.0f}%" for share in way.loc[table.index].mean(axis=1)
    ]
    return table


def in_words(interval: Interval, digits: int = 3) -> str:
    """As 0.843 [0.801, 0.885]; the mean alone where there is one seed."""
    mean = f"{interval.mean:.{digits}f}"
    if np.isnan(interval.low):
        return mean
    return f"{mean} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
