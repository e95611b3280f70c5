"""Exercises that check themselves.

    def dpo_loss(policy_chosen_logps, …):
        return ...  # write this

    dpo_loss = exercises.check("dpo_loss", dpo_loss)

`check` says *pass*, or the first case that fails with its numbers, or that nothing was attempted;
in the last two it returns the kit's own, so that the notebook goes on. `hint` gives help in steps,
`solution` the source. An exercise is an entry of a page's `EXERCISES`, a page a notebook.
"""

import inspect
import textwrap
from typing import Any

from xlnb.common.errors import InputError
from xlnb.exercises import (
    judging,
    logprobs,
    pairs,
    reward,
    rewards,
    seeds,
    tour,
    training,
    win_rates,
)
from xlnb.exercises.exercise import Exercise, NotAttempted, WrongAnswer

EXERCISES: dict[str, Exercise] = {
    **tour.EXERCISES,
    **reward.EXERCISES,
    **logprobs.EXERCISES,
    **rewards.EXERCISES,
    **pairs.EXERCISES,
    **training.EXERCISES,
    **judging.EXERCISES,
    **win_rates.EXERCISES,
    **seeds.EXERCISES,
}


def check(name: str, attempt: Any) -> Any:
    """The attempt, where it passes every case; else the kit's own, and the output says why."""
    exercise = find(name)
    try:
        exercise.verify(attempt)
    except NotAttempted:
        print(f"{name}: not attempted, the kit's own is used (exercises.hint('{name}', 1))")
        return exercise.solution
    except WrongAnswer as wrong:
        print(f"{name}: not yet. {wrong}\nThe kit's own is used in what follows.")
        return exercise.solution
    # Whatever a learner's code raises is told to them.
    except Exception as error:
        print(f"{name}: not yet. It raised {type(error).__name__}: {error}")
        return exercise.solution
    print(f"{name}: pass")
    return attempt


def hint(name: str, step: int = 1) -> None:
    """Print the first `step` hints."""
    hints = find(name).hints
    if not 1 <= step <= len(hints):
        raise InputError(f"hint {step} of '{name}': it has hints 1 to {len(hints)}")
    for number, text in enumerate(hints[:step], start=1):
        print(f"{number}. {text}")


def solution(name: str) -> str:
    """The source of the kit's own, or its value."""
    answer = find(name).solution
    if callable(answer):
        return textwrap.dedent(inspect.getsource(answer)).rstrip()
    return repr(answer)


def find(name: str) -> Exercise:
    """An exercise by its name. Raises InputError for an unknown one, and names the others."""
    if name not in EXERCISES:
        raise InputError(f"no exercise '{name}'; there are {', '.join(EXERCISES)}")
    return EXERCISES[name]
