""""""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xlnb.common.errors import InputError

Floats = NDArray[np.float64]

Rows = Sequence[NDArray[Any] | Sequence[float]]  # one array a prompt, of any size


class LengthControl(NamedTuple):
    alpha: float  # reward (β nats) per character
    gap: float  # mean over prompts of len(chosen) - len(rejected) at alpha, characters
    gap_before: float  # the same at α = 0
    at_edge: bool  # the sign of the gap asks for an α outside the range searched


Search = Callable[[Rows, Rows], LengthControl]


def _tables(rewards: Rows, n_chars: Rows) -> tuple[Floats, Floats]:
    """Ragged rows as (P, N) tables. Short rows repeat their last response: a copy changes no argmax."""
    sizes = [len(row) for row in rewards]
    if not sizes or 0 in sizes or sizes != [len(row) for row in n_chars]:
        raise ValueError(
            "length control needs prompts, each with responses, each with a reward and a length"
        )
    ends = np.cumsum(sizes)[:, None]
    index = np.minimum(ends - np.array(sizes)[:, None] + np.arange(max(sizes)), ends - 1)
    s, c = (np.concatenate(list(rows)).astype(float)[index] for rows in (rewards, n_chars))
    if not np.isfinite(s).all():
        raise ValueError("length control needs finite rewards")
    return s, c


def _argmax_lengths(rewards: Floats, lengths: Floats) -> tuple[float, Floats, Floats]:
    """Follow the length of argmax_i(s_i - α c_i) of every prompt, (P, N), as α grows from -∞ to +∞.

    Each response is a line in α of slope -c, and the best follow their upper envelope: from one by the
    nearest crossing to a shorter one, at most N - 1 times. Returns the sum of lengths over prompts at α = -∞,
    the crossings, (K,) in no order, and the change of the sum at each, (K,), negative.
    """
    rows, best = np.arange(len(rewards)), np.lexsort((-rewards, -lengths))[:, 0]
    start, crossings, changes = float(lengths[rows, best].sum()), [], []
    while len(rows):
        s, c = rewards[rows, best, None], lengths[rows, best, None]
        ahead = np.divide(
            s - rewards, c - lengths, out=np.full_like(rewards, np.inf), where=lengths < c
        )
        best = ahead.argmin(axis=1)
        going = ahead[rows, best] < np.inf
        crossings.append(ahead[rows, best][going])
        changes.append((lengths[rows, best] - c[:, 0])[going])
        rewards, lengths, best, rows = (
            rewards[going],
            lengths[going],
            best[going],
            rows[: going.sum()],
        )
    return start, np.concatenate(crossings), np.concatenate(changes)


def length_gap_curve(rewards: Rows, n_chars: Rows) -> tuple[Floats, Floats]:
    """The mean over prompts of len(chosen) - len(rejected) as a function of α: exact, a falling staircase.

    As α grows the chosen response gets shorter and the rejected one longer. Returns `(alphas, gaps)`, both (K,), in
    reward per character and characters: the gap is gaps[k] for alphas[k] <= α < alphas[k + 1]; alphas[0] is -inf.
    Raises ValueError without prompts or responses, for unlike sizes, NaN and inf.
    """
    s, c = _tables(rewards, n_chars)
    # argmin(s - α c) = argmax(-s - α (-c)): the rejected response is the chosen one of the negated problem,
    # whose negated length is just what the gap adds.
    chosen, rejected = _argmax_lengths(s, c), _argmax_lengths(-s, -c)
    alphas, step = np.unique(
        np.concatenate([[-np.inf], chosen[1], rejected[1]]), return_inverse=True
    )
    changes = np.concatenate([[chosen[0] + rejected[0]], chosen[2], rejected[2]])
    # Summed before dividing: sums of whole characters are exact.
    return alphas, np.cumsum(np.bincount(step, weights=changes)) / len(s)


def length_alpha(rewards: Rows, n_chars: Rows, *, allow_negative: bool = False) -> LengthControl:
    """The α >= 0 at which the mean of len(chosen) - len(rejected) is nearest 0: exact, with no grid.

    All α within a step of the gap's staircase select the same pairs. Of the best step the answer is 0 if the step
    holds it, else the middle, away from ties; of two equally good, the one nearer 0. `at_edge`: the gap is negative at
    α = 0, so short responses are preferred and only α < 0, which `allow_negative` searches too, could correct it.
    """
    left, gaps = length_gap_curve(rewards, n_chars)
    right = np.append(left[1:], np.inf)
    zero = (left <= 0) & (right > 0)
    # Crossings equal on paper can differ by rounding: a step so narrow is not one. Unbounded steps fail this test
    # too and are not needed: no |gap| is greater than that of longest against shortest everywhere.
    wide = right - left > 1e-12 * np.maximum(np.abs(left), np.abs(right))
    keep = zero | (wide & (allow_negative | (left > 0)))
    middles = (np.where(zero, 0.0, left)[keep] + np.where(zero, 0.0, right)[keep]) / 2
    best = np.lexsort((np.abs(middles), np.abs(gaps[keep])))[0]
    alpha, gap, gap_before = float(middles[best]), float(gaps[keep][best]), float(gaps[zero][0])
    return LengthControl(alpha, gap, gap_before, at_edge=not allow_negative and gap_before < 0)


def grid_alpha(rewards: Rows, n_chars: Rows, *, beta: float = 1.0) -> LengthControl:
    """The paper's release: the best α of the grid 0, 0.001β … 0.999β, for comparison with `length_alpha`.

    The release's scores lack β, and its α is the one found here / β.
    """
    alphas, gaps = length_gap_curve(rewards, n_chars)
    grid = beta * np.arange(1000) / 1000
    gaps = gaps[np.searchsorted(alphas, grid, side="right") - 1]
    best = int(np.abs(gaps).argmin())
    at_edge = bool(
        gaps[0] < 0 or gaps[-1] > 0
    )  # the gap falls, so the end of that sign is the best
    return LengthControl(float(grid[best]), float(gaps[best]), float(gaps[0]), at_edge)


def alpha_search(name: str, beta: float) -> Search | None:
    """The search for α that a preset names: exact (α >= 0), signed (exact, of either sign), grid (the release's), or
    none: no length control."""
    searches: dict[str, Search | None] = {
        "exact": length_alpha,
        "signed": partial(length_alpha, allow_negative=True),
        "grid": partial(grid_alpha, beta=beta),
        "none": None,
    }
    if name not in searches:
        raise InputError(f"pairing.alpha '{name}': expected one of {', '.join(searches)}")
    return searches[name]
