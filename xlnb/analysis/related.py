"""Related methods on one footing: what each should bring by its authors, and what it brings in the
lab over plain ICR or its control.

`record`: related_methods.json, as `stages.analyses.collect` makes it.
"""

from collections.abc import Callable, Mapping

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
from xlnb.presets.claims import Analysis, Claim

# What a verdict on an author's claim is called here: nothing told is a result like any other.
CALLED = {"undecided": "null", "disagree": "worse"}


def method_table(record: Record, methods: Mapping[str, Analysis]) -> pd.DataFrame:
    """A row a claim: method, claim, by its authors, Δ accuracy (of the score that makes the pairs,
    shared responses), Δ win rate (points), Δ seconds (of an iteration), seeds, p (Holm's, over all
    rows), verdict (agree, null, worse or too few seeds) and why. Languages other than English; a
    mean over seeds with its 95% interval."""
    found = verdicts(record, methods)
    accuracy, seconds = [], []
    for analysis in methods.values():
        for claim in analysis.claims:
            accuracy.append(_cell(record, analysis, claim, _accuracy, "pair_accuracy"))
            seconds.append(_cell(record, analysis, claim, _seconds, "seconds"))
    return pd.DataFrame(
        {
            "method": found["analysis"],
            "claim": found["claim"],
            "by its authors": found["the paper's"],
            "Δ accuracy": accuracy,
            "Δ win rate": found["ours"],
            "Δ seconds": seconds,
            "seeds": found["seeds"],
            "p": found["p"],
            "verdict": found["verdict"].replace(CALLED),
            "why": found["why"],
        }
    )


def _accuracy(model: Record) -> float:
    return value(model, "pair_accuracy")


def _seconds(model: Record) -> float:
    return float(model["seconds"])


def _cell(
    record: Record,
    analysis: Analysis,
    claim: Claim,
    measured: Callable[[Record], float],
    measure: str,
) -> str:
    """The difference of a claim's arms, in words; empty without a seed that has both, "same" where
    none differs."""
    differences = [measured(a) - measured(b) for a, b in both_arms(record, analysis, claim)]
    if not differences:
        return ""
    if not np.any(differences):
        return "same"
    return in_words(over_seeds(differences), measure)


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
