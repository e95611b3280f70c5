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

from xlnb.common.columns import Floats, number_columns, numbers
from xlnb.common.errors import InputError

# What a user without labels is taken for: the reward alone.
NEUTRAL = (1.0, 0.0, 0.0)

# Newton's steps at most; the loss is strictly convex, and a dozen do.
STEPS = 100


def features(rewards: ArrayLike, n_chars: ArrayLike, likelihoods: ArrayLike) -> Floats:
    """(n, 3): the columns r, c and l of n responses, of all users and prompts together, (n,) each.
    A column that does not vary is 0. With weights (1, 0, 0) the score is the reward, to the last
    bit."""
    reward = numbers("rewards", rewards)
    columns = [reward]
    others = number_columns(len(reward), n_chars=n_chars, likelihoods=likelihoods)
    for values in others:
        spread = values.std()
        unit = reward.std() / spread if spread else 0.0
        columns.append(values * unit)
    found = np.stack(columns, 1)
    if not np.isfinite(found).all():
        raise InputError("features: a reward, length or likelihood is not finite; leave it out")
    return found


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
