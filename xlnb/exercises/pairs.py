"""Exercises of 04: the length gap at an α, and a test that it never rises."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from xlnb.exercises.exercise import Exercise, WrongAnswer, expect, given

# Scores and characters of each prompt's candidates.
Rows = Sequence[Sequence[float]]


def length_gap(alpha: float, rewards: Rows, n_chars: Rows) -> float:
    gaps = []
    for reward, chars in zip(rewards, n_chars, strict=True):
        controlled = np.asarray(reward) - alpha * np.asarray(chars)
        chosen, rejected = controlled.argmax(), controlled.argmin()
        gaps.append(np.asarray(chars)[chosen] - np.asarray(chars)[rejected])
    return np.mean(gaps)


def never_rises(gap_of: Callable[[float], float], alphas: Sequence[float]) -> bool:
    gaps = [gap_of(alpha) for alpha in sorted(alphas)]
    return all(later <= earlier for earlier, later in pairwise(gaps))


def _length_gap(attempt: Any) -> None:
    rewards, chars = [[5.0, 4.0, 0.0]], [[10, 4, 1]]
    found = given(attempt(0.0, rewards, chars))
    expect("α = 0: chosen of 10 characters, rejected of 1", float(found), 9.0)
    expect("α = 0.2: chosen of 4", float(attempt(0.2, rewards, chars)), 3.0)
    expect("α = 1: chosen of 4, rejected of 10", float(attempt(1.0, rewards, chars)), -6.0)
    expect("α = 2: chosen of 1, rejected of 10", float(attempt(2.0, rewards, chars)), -9.0)
    two = ([*rewards, [1.0, 2.0]], [*chars, [3, 8]])
    expect("a mean over two prompts of 9 and 5", float(attempt(0.0, *two)), 7.0)


def _never_rises(attempt: Any) -> None:
    alphas = [0.3, 0.0, 0.2, 0.1, 0.4]
    staircases = {
        "a staircase that falls": ([4.0, 4.0, 1.0, -2.0, -2.0], True),
        "no step at all": ([4.0, 4.0, 4.0, 4.0, 4.0], True),
        "one that rises": ([-2.0, 0.0, 1.0, 4.0, 4.0], False),
        "one that rises once, in the middle, and ends lower": ([4.0, 1.0, 2.0, 0.0, -1.0], False),
        "one that rises at its end": ([4.0, 1.0, 0.0, -3.0, -2.0], False),
    }
    for name, (gaps, falls) in staircases.items():
        by_alpha = dict(zip(sorted(alphas), gaps, strict=True))
        found = given(attempt(by_alpha.__getitem__, alphas))
        if bool(found) != falls:
            raise WrongAnswer(f"{name}, {gaps}: got {bool(found)}, expected {falls}")


EXERCISES = {
    "length_gap": Exercise(
        length_gap,
        _length_gap,
        (
            "Of each prompt: subtract α times the characters from every reward.",
            "Chosen is the argmax of what is left, rejected its argmin.",
            "The gap is the mean over prompts of the chosen's characters less the rejected's.",
        ),
    ),
    "never_rises": Exercise(
        never_rises,
        _never_rises,
        (
            "Sort the α first.",
            "First against last is not enough: compare each gap with the next.",
            "A staircase has flat parts, which are no rise.",
        ),
    ),
}
