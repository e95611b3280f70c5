"""Exercises of 06: a judge of one's own, what noise does to a win rate, and what draws cover."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xlnb.exercises.exercise import Exercise, WrongAnswer, expect, given


def own_judge(baseline: str, model: str) -> float:
    longer = len(model) - len(baseline)
    return 1.5 + 0.5 * np.sign(longer)


def coverage(right: ArrayLike) -> np.ndarray:
    found = np.maximum.accumulate(np.asarray(right), axis=1)
    return found.mean(axis=0)


# Two responses each, unlike in length, manner, script and end; and alike in most of it.
TEXTS = (
    ("Six.", "An ant has six legs."),
    (
        "I do not know the answer. I do not know the answer.",
        "It is an honour. An ant has six legs!",
    ),
    ("Ameisen haben sechs Beine", "У муравья шесть ног."),
    ("An ant has six legs.", "An ant has two legs."),
)


def _own_judge(attempt: Any) -> None:
    decided = 0
    for one, other in TEXTS:
        there = given(attempt(one, other))
        if not 1 <= there <= 2:
            raise WrongAnswer(f"range: {there} for {one!r} and {other!r}, expected 1 to 2")
        expect(f"repeat, {one!r} and {other!r} again", attempt(one, other), float(there))
        expect(f"swap, {other!r} first", attempt(other, one), 3 - float(there))
        expect(f"self, {one!r} twice", attempt(one, one), 1.5)
        decided += there != 1.5
    if not decided:
        raise WrongAnswer("a judge that calls everything a tie passes all three, and says nothing")


def _flips_that_halve(attempt: Any) -> None:
    answer = given(attempt)
    if not isinstance(answer, (int, float)):
        raise WrongAnswer(f"got {answer!r}, expected a share from 0 to 1")
    left = 1 - 2 * answer
    if abs(left - 0.5) > 1e-9:
        raise WrongAnswer(
            f"with {answer:g} of the verdicts flipped a win rate of 90 becomes "
            f"{50 + 40 * left:g}, expected 70"
        )


def _coverage(attempt: Any) -> None:
    one = np.array([[False, True, False], [False, False, False]])
    expect("right at the second of three draws, and never", attempt(one), np.array([0, 0.5, 0.5]))
    several = np.array([[True, True], [False, True], [True, False], [False, False]])
    expect("four prompts, two draws", attempt(several), np.array([0.5, 0.75]))
    expect("always right", attempt(np.ones((2, 4), bool)), np.ones(4))


EXERCISES = {
    "own_judge": Exercise(
        own_judge,
        _own_judge,
        (
            "1 says that the baseline's text wins, 2 that the model's does, 1.5 is a tie.",
            "Give each text a number that depends on that text alone.",
            "1.5 plus half the sign of the difference of the two numbers passes all three.",
        ),
    ),
    "flips_that_halve": Exercise(
        0.25,
        _flips_that_halve,
        (
            "Of a share w of wins, w(1 - f) stay wins when a share f is flipped. What is added?",
            "The new share is w + f(1 - 2w). How far is it from one half?",
        ),
    ),
    "coverage": Exercise(
        coverage,
        _coverage,
        (
            "A row a prompt, a column a draw. Which prompts were answered by the k-th draw?",
            "Once answered, a prompt stays answered: a running maximum along the row.",
            "np.maximum.accumulate(right, axis=1), and then the mean over prompts.",
        ),
    ),
}
