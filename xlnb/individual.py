"""One user's preference as three weights on what is known of every response.

    s_u(y) = w · (r, c, l)

r: the implicit reward in β nats; c: characters; l: log π_I(y|x) / |y|; c and l in units in which
they vary as r does. A few labelled pairs give the weights; samples and scores serve all users. In
the place of a latent variable that steers a generator (Latent DPO, arXiv 2412.20834), which is a
model of its own, the smallest thing that can tell a terse user from a chatty one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from xlnb.common.columns import Floats
from xlnb.common.errors import InputError

# What a user without labels is taken for: the reward alone.
NEUTRAL = (1.0, 0.0, 0.0)

# Newton's steps at most; the loss is strictly convex, and a dozen do.
STEPS = 100


def units(rows: ArrayLike) -> Floats:
    """What r, c and l are multiplied with to vary alike, (3,), by the rows (r, c, l) of n
    responses, (n, 3), of all prompts and languages together: 1, sd(r) / sd(c) and sd(r) / sd(l); 0
    for what does not vary. Weighed by (1, 0, 0) a response's score is its reward, to the last
    bit."""
    known = np.array(rows, float).reshape(-1, len(NEUTRAL))
    if not len(known) or not np.isfinite(known).all():
        raise InputError(
            "units: expected finite rewards, lengths and likelihoods of some responses"
        )
    spread = known.std(0)
    others = np.divide(spread[0], spread[1:], out=np.zeros(2), where=spread[1:] > 0)
    return np.array([1.0, *others])


def fit_preference(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    ridge: float,
    towards: Sequence[float] = NEUTRAL,
) -> Floats:
    """The weights, (k,), of a user who prefers each row of `chosen` to that of `rejected`, (m, k).

        w = argmin Σ_i −log σ(w · (x_i⁺ − x_i⁻)) + (λ/2) ‖w − w₀‖²

    Bradley and Terry (1952) with a ridge, λ = `ridge`, towards w₀: without labels w is w₀, and
    with few it stays near. Raises InputError for λ ≤ 0, with which labels that all agree would
    have no finite weights, and for rows that do not belong together.
    """
    start = np.array(towards, float)
    better = np.array(chosen, float).reshape(-1, len(start))
    worse = np.array(rejected, float).reshape(-1, len(start))
    finite = np.isfinite(better).all() and np.isfinite(worse).all()
    if better.shape != worse.shape or not ridge > 0 or not finite:
        raise InputError(
            f"fit_preference: expected as many finite rows of chosen as of rejected and ridge > 0, "
            f"got {len(better)}, {len(worse)} and {ridge:g}"
        )
    difference = better - worse
    weights = start.copy()
    for _ in range(STEPS):
        doubt = expit(-difference @ weights)
        slope = -difference.T @ doubt + ridge * (weights - start)
        curvature = (difference * (doubt * (1 - doubt))[:, None]).T @ difference
        step = np.linalg.solve(curvature + ridge * np.eye(len(start)), slope)
        step *= _damped(difference, weights, step, slope, ridge, start)
        weights = weights - step
        if np.abs(step).max() <= 1e-12 * (1 + np.abs(weights).max()):
            break
    return weights


def _damped(
    difference: Floats, weights: Floats, step: Floats, slope: Floats, ridge: float, start: Floats
) -> float:
    """How much of Newton's step to go, halved until the loss falls as it should."""

    def loss(at: Floats) -> float:
        pull = ridge / 2 * np.sum((at - start) ** 2)
        return float(np.logaddexp(0, -difference @ at).sum() + pull)

    now, most = loss(weights), float(slope @ step)
    part = 1.0
    while part > 1e-9 and loss(weights - part * step) > now - 1e-4 * part * most:
        part /= 2
    return part
