"""Exercises of 10: an interval over seeds, and how many seeds an interval takes."""

from typing import Any

import numpy as np
from scipy.stats import t

from xlnb.common.columns import Floats
from xlnb.exercises.exercise import Exercise, expect, given


def interval_over_seeds(values: Floats) -> tuple[float, float]:
    n = len(values)
    reach = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return np.mean(values) - reach, np.mean(values) + reach


def seeds_needed(sd: float, reach: float) -> int:
    n = 2
    while t.ppf(0.975, n - 1) * sd / np.sqrt(n) > reach:
        n += 1
    return n


def _interval_over_seeds(attempt: Any) -> None:
    cases = {
        "two seeds, t = 12.7": ([30.0, 32.0], 18.293795, 43.706205),
        "four seeds, t = 3.18": ([30.0, 32.0, 31.0, 35.0], 28.562565, 35.437435),
        "seeds that agree": ([30.0, 30.0, 30.0], 30.0, 30.0),
    }
    for case, (values, *wanted) in cases.items():
        low, high = given(attempt(np.array(values)))
        expect(case, np.array([float(low), float(high)]), np.array(wanted))


def _seeds_needed(attempt: Any) -> None:
    cases = {(1.0, 1.0): 7, (3.0, 1.0): 38, (3.0, 2.0): 12, (0.1, 1.0): 2, (3.0, 8.0): 3}
    for (sd, reach), wanted in cases.items():
        expect(f"sd {sd:g}, ± {reach:g} points", attempt(sd, reach), wanted)


EXERCISES = {
    "interval_over_seeds": Exercise(
        interval_over_seeds,
        _interval_over_seeds,
        (
            "The standard error of a mean of n values is their sd (ddof=1) over the root of n.",
            "Few values know their sd badly: 1.96 becomes t.ppf(0.975, n - 1), which is 3.18 at 4.",
        ),
    ),
    "seeds_needed": Exercise(
        seeds_needed,
        _seeds_needed,
        (
            "Half the width of the interval is t.ppf(0.975, n - 1) · sd / √n; n is in it twice.",
            "So try n = 2, 3, 4 … until it is no larger than `reach`.",
        ),
    ),
}
