"""Related methods on one footing: what each should bring by its authors, and what it brings in the
lab over plain ICR or its control.

`record`: related_methods.json, as `stages.analyses.collect` makes it.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from xlnb.analysis.analyses import (
    NOTHING,
    both_arms,
    difference,
    in_words,
    over_seeds,
    value,
    verdicts,
)
from xlnb.analysis.read import Record
from xlnb.presets.claims import Analysis

# What a verdict on an author's claim is called here: nothing told is a result like any other.
CALLED = {"undecided": "null", "disagree": "worse"}


def method_table(record: Record, methods: Mapping[str, Analysis]) -> pd.DataFrame:
    """A row a claim: method, claim, by its authors, Δ accuracy (of the score that makes the pairs,
    shared responses), Δ win rate (points), seconds (of an iteration, with those of what it is
    compared with), seeds, p (Holm's, over all rows), verdict (agree, null, worse or too few seeds)
    and why. Languages other than English; a mean over seeds with its 95% interval; of seconds, to
    which other work on the machine adds, each arm's quickest seed."""
    found = verdicts(record, methods)
    accuracy, seconds = [], []
    for analysis in methods.values():
        for claim in analysis.claims:
            arms = both_arms(record, analysis, claim)
            accuracy.append(_accuracy(arms))
            seconds.append(_seconds(arms))
    return pd.DataFrame(
        {
            "method": found["analysis"],
            "claim": found["claim"],
            "by its authors": found["the paper's"],
            "Δ accuracy": accuracy,
            "Δ win rate": found["ours"],
            "seconds": seconds,
            "seeds": found["seeds"],
            "p": found["p"],
            "verdict": found["verdict"].replace(CALLED),
            "why": found["why"],
        }
    )


def user_table(record: Record) -> pd.DataFrame:
    """A row a user (a taste that π^0 has not learnt): accuracy on contested pairs in the languages
    other than English, by the reward alone, by weights of the oracle's own labels and of 10, 30 and
    100 of the user's, which are English; contested pairs, milliseconds a user, seeds. Means over
    seeds; NaN where a number of labels or a pair is not to be had."""
    found: dict[str, list[Record]] = {}
    for run in record["runs"]:
        for user, measured in run.get("users", {}).items():
            found.setdefault(user, []).append(measured)
    rows = []
    for user, seeds in found.items():
        columns: dict[str, list[float | None]] = {
            "R_c": [one["reward"] for one in seeds],
            "oracle's weights": [one["oracle"] for one in seeds],
        }
        for number in seeds[0]["labels"]:
            columns[f"{number} labels"] = [one["labels"][number] for one in seeds]
        columns["contested"] = [one["contested"] for one in seeds]
        columns["ms a user"] = [1000 * one["seconds"] for one in seeds]
        means = {name: np.array(values, float).mean() for name, values in columns.items()}
        rows.append({"user": user, **means, "seeds": len(seeds)})
    return pd.DataFrame(rows)


def _accuracy(arms: list[tuple[Record, Record]]) -> str:
    """The difference of a claim's arms, in words; empty without a seed that has both, "same" where
    none differs."""
    measure = "pair_accuracy"
    differences = [value(a, measure) - value(b, measure) for a, b in arms]
    if not differences:
        return ""
    if not np.any(differences):
        return "same"
    return in_words(over_seeds(differences), measure)


def _seconds(arms: list[tuple[Record, Record]]) -> str:
    """Of each arm the quickest seed's."""
    if not arms:
        return ""
    method = min(model["seconds"] for model, _ in arms)
    plain = min(model["seconds"] for _, model in arms)
    return f"{method:.0f} (of {plain:.0f})"


def gains(record: Record, methods: Mapping[str, Analysis]) -> pd.DataFrame:
    """The same claims to draw, a row each: name, Δ win rate as mean, low and high (points; NaN
    where there is none), seeds and verdict."""
    rows = []
    for method, analysis in methods.items():
        for claim in analysis.claims:
            found, seeds = difference(record, analysis, claim) or (NOTHING, 0)
            name = f"{method}: {claim.text}"
            rows.append((name, found.mean, found.low, found.high, seeds))
    table = pd.DataFrame(rows, columns=["name", "mean", "low", "high", "seeds"])
    return table.assign(verdict=verdicts(record, methods)["verdict"].replace(CALLED))
