"""Exercises of 07: intervals over facts, the error of a paired difference, a planted failure."""

from typing import Any

import numpy as np

from xlnb.common.columns import Floats
from xlnb.exercises.exercise import Exercise, WrongAnswer, expect, given

# What can be wrong with a language in the planted failure.
CAUSES = ("another language", "baseline and model swapped", "shifted by one prompt", "noise")


def bootstrap_interval(
    wins: Floats, facts: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    of_fact = [np.flatnonzero(facts == fact) for fact in np.unique(facts)]
    means = []
    for _ in range(1000):
        drawn = rng.integers(len(of_fact), size=len(of_fact))
        prompts = np.concatenate([of_fact[fact] for fact in drawn])
        means.append(100 * wins[prompts].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return low, high


def paired_se(after: Floats, before: Floats) -> float:
    difference = 100 * (after - before)
    return difference.std(ddof=1) / np.sqrt(len(difference))


def _bootstrap_interval(attempt: Any) -> None:
    cases = {
        # sqrt(0.25 / 100) is 5 points, times 1.96
        "100 prompts, each a fact of its own": (np.tile([0.0, 1.0], 50), np.arange(100), 9.8),
        # as if there were 25 prompts
        "25 facts, four phrasings each, alike": (
            np.repeat([0.0, 1.0] * 12 + [1.0], 4), np.repeat(np.arange(25), 4), 19.6
        ),
    }  # fmt: skip
    for case, (wins, facts, reach) in cases.items():
        low, high = _interval(attempt, wins, facts)
        wr = 100 * wins.mean()
        expect(f"{case}: middle of the interval", (low + high) / 2, wr, 0.04)
        expect(f"{case}: half its width", (high - low) / 2, reach, 0.12)
    # Half of the facts have one phrasing, and win; half have nine, and lose.
    wins = np.repeat([1.0, 0.0], [40, 360])
    facts = np.concatenate([np.arange(40), np.repeat(np.arange(40, 80), 9)])
    low, high = _interval(attempt, wins, facts)
    expect("facts of unlike size: the win rate is of prompts", low < 10 < high, True)


def _interval(attempt: Any, wins: Floats, facts: np.ndarray) -> tuple[float, float]:
    low, high = given(attempt(wins, facts, np.random.default_rng(0)))
    return float(low), float(high)


def _paired_se(attempt: Any) -> None:
    before = np.array([0.0, 0.5, 1.0, 0.0, 1.0])
    expect("the same gain everywhere", attempt(before + 0.25, before), 0.0)
    after = np.array([1.0, 0.5, 1.0, 1.0, 1.0])
    expect("two gains of 1 among five prompts", attempt(after, before), 24.494897)
    expect("more ties, more prompts", attempt(np.tile(after, 4), np.tile(before, 4)), 11.239029)


def _planted_failure(attempt: Any) -> None:
    if given(attempt) != CAUSES[2]:
        raise WrongAnswer(
            f"got {attempt!r}; it is one of {', '.join(CAUSES)}: read the responses beside their "
            "questions"
        )


EXERCISES = {
    "bootstrap_interval": Exercise(
        bootstrap_interval,
        _bootstrap_interval,
        (
            "Draw as many facts as there are, with replacement; a fact drawn twice counts twice.",
            "A fact brings all of its prompts. The win rate is 100 times the mean over prompts.",
            "np.quantile(means, [0.025, 0.975]) of a thousand such win rates.",
        ),
    ),
    "paired_se": Exercise(
        paired_se,
        _paired_se,
        (
            "One number a prompt: how much better the later model did on it, in points.",
            "The standard error of a mean is the standard deviation over the root of n (ddof=1).",
        ),
    ),
    "planted_failure": Exercise(
        CAUSES[2],
        _planted_failure,
        (
            "In the asked language? As polite as elsewhere? So what is left?",
            "Read each response and ask which question it answers.",
        ),
    ),
}
