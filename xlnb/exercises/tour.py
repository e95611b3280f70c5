"""Exercises of 00: what a win rate is."""

from collections.abc import Sequence
from typing import Any

from xlnb.exercises.exercise import Exercise, expect


def share_won(preferences: Sequence[float]) -> float:
    return 100 * sum(preference - 1 for preference in preferences) / len(preferences)


def _share_won(attempt: Any) -> None:
    expect("a win and a loss", attempt([2.0, 1.0]), 50.0)
    expect("three wins, a tie", attempt([2.0, 2.0, 2.0, 1.5]), 87.5)
    expect("two losses", attempt([1.0, 1.0]), 0.0)


EXERCISES = {
    "share_won": Exercise(
        share_won,
        _share_won,
        (
            "A preference is 2 for a win, 1.5 for a tie and 1 for a loss.",
            "preference - 1 is what the comparison counts: 1, a half or 0.",
        ),
    ),
}
