"""Length control: the α at which chosen and rejected responses are equally long on average.

The better of two responses has the higher controlled score s' = s − α·c: s is its score (β nats for
a reward), c its characters. An example with one prompt and three responses:

    s  5  4  0        chosen, the best of s − α·c:   10 characters, from α = 1/6 on 4, from 4/3 on 1
    c 10  4  1        rejected, the worst of it:      1 character,  from α = 5/9 on 10

Each response is a line in α of slope −c, so that the chosen ones are the upper envelope of the
lines and the rejected ones the lower: a few crossings a prompt say all there is to know about every
α at once, and the best α is found exactly.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# One array a prompt, of any size.
Rows = Sequence[NDArray[Any] | Sequence[float]]


class LengthControl(NamedTuple):
    # score (β nats for a reward) a character
    alpha: float
    # mean over prompts of len(chosen) - len(rejected) at alpha, characters
    gap: float
    # the same at α = 0
    gap_before: float
    # the sign of the gap asks for an α outside the range searched
    at_edge: bool


Search = Callable[[Rows, Rows], LengthControl]


def length_alpha(rewards: Rows, n_chars: Rows, *, allow_negative: bool = False) -> LengthControl:
    """The α >= 0 at which the mean of len(chosen) - len(rejected) is nearest 0: exact, with no
    grid.

    All α within a step of the gap's staircase select the same pairs. Of the best step the answer is
    0 if the step holds it, else the middle, away from ties; of two equally good, the one nearer 0.
    `at_edge`: the gap is negative at α = 0, so short responses are preferred and only α < 0, which
    `allow_negative` searches too, could correct it.
    """
    left, gaps = length_gap_curve(rewards, n_chars)
    right = np.append(left[1:], np.inf)
    holds_zero = (left <= 0) & (right > 0)
    # Crossings equal on paper can differ by rounding: a step so narrow is not one. Unbounded steps
    # fail this test too and are not needed: no |gap| is greater than that of longest against
    # shortest everywhere.
    is_step = right - left > 1e-12 * np.maximum(np.abs(left), np.abs(right))
    searched = holds_zero | (is_step & (allow_negative | (left > 0)))
    low = np.where(holds_zero, 0.0, left)[searched]
    high = np.where(holds_zero, 0.0, right)[searched]
    middles = (low + high) / 2
    best = np.lexsort((np.abs(middles), np.abs(gaps[searched])))[0]
    gap_before = float(gaps[holds_zero][0])
    return LengthControl(
        alpha=float(middles[best]),
        gap=float(gaps[searched][best]),
        gap_before=gap_before,
        at_edge=not allow_negative and gap_before < 0,
    )


def grid_alpha(rewards: Rows, n_chars: Rows, *, beta: float = 1.0) -> LengthControl:
    """The paper's release: the best α of the grid 0, 0.001β … 0.999β, to compare with
    `length_alpha`.

    The release's scores lack β, and its α is the one found here / β.
    """
    alphas, gaps = length_gap_curve(rewards, n_chars)
    grid = beta * np.arange(1000) / 1000
    gaps = gaps[np.searchsorted(alphas, grid, side="right") - 1]
    best = int(np.abs(gaps).argmin())
    # The gap falls, so the end of that sign is the best.
    at_edge = bool(gaps[0] < 0 or gaps[-1] > 0)
    return LengthControl(float(grid[best]), float(gaps[best]), float(gaps[0]), at_edge)


def alpha_search(name: str, beta: float) -> Search | None:
    """The search for α that a preset names: exact (α >= 0), signed (exact, of either sign), grid
    (the release's), or none: no length control."""
    searches: dict[str, Search | None] = {
        "exact": length_alpha,
        "signed": partial(length_alpha, allow_negative=True),
        "grid": partial(grid_alpha, beta=beta),
        "none": None,
    }
    return searches[name]


def length_gap_curve(rewards: Rows, n_chars: Rows) -> tuple[Floats, Floats]:
    """The mean over prompts of len(chosen) - len(rejected) as a function of α: exact, a falling
    staircase.

    As α grows the chosen response gets shorter and the rejected one longer. Returns `(alphas,
    gaps)`, both (K,), in score a character and characters: the gap is gaps[k] for alphas[k] <= α <
    alphas[k + 1]; alphas[0] is -inf. Raises ValueError without prompts or responses, for unlike
    sizes, NaN and inf.
    """
    s, c = _tables(rewards, n_chars)
    chosen = _argmax_lengths(s, c)
    # argmin(s - α c) = argmax(-s - α (-c)): the rejected response is the chosen one of the negated
    # problem, whose negated length is just what the gap adds.
    rejected = _argmax_lengths(-s, -c)
    crossings = np.concatenate([[-np.inf], chosen.crossings, rejected.crossings])
    changes = np.concatenate([[chosen.start + rejected.start], chosen.changes, rejected.changes])
    alphas, step = np.unique(crossings, return_inverse=True)
    # Summed before dividing: sums of whole characters are exact.
    return alphas, np.cumsum(np.bincount(step, weights=changes)) / len(s)


class _Lengths(NamedTuple):
    """The sum over prompts of the best response's length, as α grows from -∞ to +∞."""

    start: float
    # (K,), in no order
    crossings: Floats
    # (K,), of the sum at each crossing, negative
    changes: Floats


def _argmax_lengths(scores: Floats, lengths: Floats) -> _Lengths:
    """Follow the length of argmax_i(s_i - α c_i) of every prompt, (P, N).

    The best response follows the upper envelope of the lines: from one by the nearest crossing to a
    shorter one, at most N - 1 times.
    """
    rows = np.arange(len(scores))
    best = np.lexsort((-scores, -lengths))[:, 0]
    start = float(lengths[rows, best].sum())
    crossings = []
    changes = []
    while len(rows):
        s = scores[rows, best, None]
        c = lengths[rows, best, None]
        # Where each other line crosses that of the best; one that is no shorter never does.
        never = np.full_like(scores, np.inf)
        ahead = np.divide(s - scores, c - lengths, out=never, where=lengths < c)
        following = ahead.argmin(axis=1)
        goes_on = ahead[rows, following] < np.inf
        crossings.append(ahead[rows, following][goes_on])
        changes.append((lengths[rows, following] - c[:, 0])[goes_on])
        # Prompts whose best is the shortest are done.
        scores = scores[goes_on]
        lengths = lengths[goes_on]
        best = following[goes_on]
        rows = rows[: goes_on.sum()]
    return _Lengths(start, np.concatenate(crossings), np.concatenate(changes))


def _tables(rewards: Rows, n_chars: Rows) -> tuple[Floats, Floats]:
    """Ragged rows as (P, N) tables. Short rows repeat their last response: a copy changes no
    argmax."""
    sizes = [len(row) for row in rewards]
    if not sizes or 0 in sizes or sizes != [len(row) for row in n_chars]:
        raise ValueError(
            "length control needs prompts, each with responses, each with a reward and a length"
        )
    ends = np.cumsum(sizes)[:, None]
    starts = ends - np.array(sizes)[:, None]
    index = np.minimum(starts + np.arange(max(sizes)), ends - 1)
    s = np.concatenate(list(rewards)).astype(float)[index]
    c = np.concatenate(list(n_chars)).astype(float)[index]
    if not np.isfinite(s).all():
        raise ValueError("length control needs finite rewards")
    return s, c


def relative_length(n_chars: Floats) -> Floats:
    """What the length of a prompt's responses is worth where they are equally good:

        r(y) = clip((mean length − |y|) / L₀, −.5, 1),   L₀ = 500

    The reward that tells right responses apart in "Dissecting Long Reasoning Models" (arXiv
    2506.04913), whose lengths are tokens; here they are characters."""
    return np.clip((np.mean(n_chars) - n_chars) / 500, -0.5, 1.0)
