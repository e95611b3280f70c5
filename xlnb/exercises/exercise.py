"""What an exercise is, and how an answer is compared with what was expected."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


class NotAttempted(Exception):
    """The answer is still `...`."""


class WrongAnswer(Exception):
    """A case that fails, in a line, with its numbers."""


@dataclass(frozen=True)
class Exercise:
    """`solution`: the kit's own answer, a function or a value. `verify` takes an answer and raises
    WrongAnswer or NotAttempted where it does not pass. `hints` lead there in steps."""

    solution: Any
    verify: Callable[[Any], None]
    hints: Sequence[str]


def given(answer: Any) -> Any:
    """The answer. Raises NotAttempted where it is still `...`."""
    if answer is ...:
        raise NotAttempted
    return answer


def expect(case: str, found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Raise WrongAnswer, naming the case, where numbers, or arrays of them, are not within
    `tolerance`, or other values not equal; NotAttempted where nothing was returned yet."""
    given(found)
    if not _same(found, expected, tolerance):
        raise WrongAnswer(f"{case}: got {_shown(found)}, expected {_shown(expected)}")


def _same(found: Any, expected: Any, tolerance: float) -> bool:
    if not isinstance(expected, (int, float, np.ndarray)) and not hasattr(expected, "numpy"):
        return bool(found == expected)
    wanted = _array(expected)
    try:
        got = np.asarray(_array(found), dtype=float)
    except (TypeError, ValueError):
        return False
    return got.shape == wanted.shape and np.allclose(got, wanted, rtol=tolerance, atol=tolerance)


def _array(value: Any) -> Any:
    """A tensor, with or without gradients, or anything else, as an array."""
    return np.asarray(value.detach().numpy() if hasattr(value, "detach") else value)


def _shown(value: Any) -> str:
    if hasattr(value, "detach") or isinstance(value, np.ndarray):
        return np.array2string(_array(value), precision=4, separator=", ", threshold=12)
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
