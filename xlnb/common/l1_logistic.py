"""Logistic regression with an L1 penalty on soft labels."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from xlnb.common.columns import Floats
from xlnb.common.errors import InputError

# Inverse strength of the L1 penalty; with it the fit reproduces the leaderboard's figures.
L1_C = 21.54


def l1_fit(features: Floats, y: Floats, weight: Floats) -> Floats:
    """Coefficients w (k,) of the regression, without an intercept.

    They minimise, with z = features @ w,

        sum_i weight_i (log(1 + exp(z_i)) - y_i z_i) + |w|_1 / L1_C

    `features`: (n, k), `y`: (n,) in [0, 1], `weight`: (n,). Raises InputError where no optimum is
    found.
    """
    k = features.shape[1]

    # w = u - v with u >= 0 and v >= 0: so the penalty is linear, hence smooth. `parts` are u, v.
    def loss(parts: Floats) -> tuple[float, Floats]:
        z = features @ (parts[:k] - parts[k:])
        gradient = features.T @ (weight * (expit(z) - y))
        cross_entropy = weight @ (np.logaddexp(0, z) - y * z)
        penalty = parts.sum() / L1_C
        return cross_entropy + penalty, np.concatenate([gradient, -gradient]) + 1 / L1_C

    parts = minimize(
        loss,
        np.zeros(2 * k),
        jac=True,
        bounds=[(0, None)] * (2 * k),
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    ).x
    # Whether the optimum was reached is read from the gradient: so near it, the solver's own status
    # is noise.
    projected = np.maximum(parts - loss(parts)[1], 0)
    if np.abs(parts - projected).max() > 1e-3:
        raise InputError("length-controlled fit found no optimum: check lengths and preferences")
    return parts[:k] - parts[k:]
