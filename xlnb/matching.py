"""Choosing a few of many examples whose mean gradient is that of all.

    S = argmin over |S| = n of ‖ mean_S v − mean_D v ‖

v: an example's gradient (or a sketch of it). Greedily one after the other, then by single swaps as
long as one brings the means nearer. After gradient matching for many-shot demonstrations
(arXiv 2506.04579); n = |D| is everything.
"""

import numpy as np

from xlnb.common.columns import Floats
from xlnb.common.errors import InputError

# Swaps at most.
SWAPS = 1000


def match_mean(vectors: Floats, n: int) -> list[int]:
    """The places of n of the vectors, (N, dims), in order, whose mean is near that of all. Raises
    InputError for more than there are, for none, and for values that are not finite."""
    _check(vectors, n)
    # ‖Σ_S (v − mean)‖ is what is left to bring down, n times the distance.
    centred = vectors - vectors.mean(0)
    chosen: list[int] = []
    total = np.zeros(centred.shape[1])
    for _ in range(n):
        left = np.linalg.norm(total + centred, axis=1)
        left[chosen] = np.inf
        chosen.append(int(left.argmin()))
        total = total + centred[chosen[-1]]
    for _ in range(SWAPS):
        swapped = _best_swap(centred, chosen, total)
        if swapped is None:
            break
        out, into = swapped
        total = total - centred[chosen[out]] + centred[into]
        chosen[out] = into
    return sorted(chosen)


def distance(vectors: Floats, chosen: list[int]) -> float:
    """How far the mean of the chosen is from that of all."""
    return float(np.linalg.norm(vectors[chosen].mean(0) - vectors.mean(0)))


def _best_swap(centred: Floats, chosen: list[int], total: Floats) -> tuple[int, int] | None:
    """The place in `chosen` and the vector in its stead that bring the sum nearest to 0; None where
    no swap does by more than rounding."""
    best = np.linalg.norm(total) * (1 - 1e-9)
    found = None
    for out, place in enumerate(chosen):
        left = np.linalg.norm(total - centred[place] + centred, axis=1)
        left[chosen] = np.inf
        into = int(left.argmin())
        if left[into] < best:
            best, found = left[into], (out, into)
    return found


def _check(vectors: Floats, n: int) -> None:
    if vectors.ndim != 2 or not np.isfinite(vectors).all() or not 0 < n <= len(vectors):
        raise InputError(
            f"match_mean: expected finite vectors, a row an example, and n from 1 to as many; got "
            f"an array of shape {vectors.shape} and n {n}"
        )
