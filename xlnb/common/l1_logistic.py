"""The L1 logistic regression on soft labels behind length-controlled win rates."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from xlnb.common.errors import InputError

Floats = NDArray[np.float64]

# inverse strength of the L1 penalty; with it the fit reproduces the leaderboard's figures
L1_C = 21.54


def l1_fit(features: Floats, y: Floats, weight: Floats) -> Floats:
    """Coefficients w (k,) of the L1 logistic regression without intercept on soft labels.

    Minimises sum_i weight_i (log(1 + exp(z_i)) - y_i z_i) + |w|_1 / L1_C with z = features @ w;
    `features`: (n, k), `y`: (n,) in [0, 1]. With w = u - v, u >= 0 and v >= 0 the penalty is
    linear, hence smooth.
    """
    k = features.shape[1]

    def loss(parts: Floats) -> tuple[float, Floats]:
        z = features @ (parts[:k] - parts[k:])
        gradient = features.T @ (weight * (expit(z) - y))
        cross_entropy = weight @ (np.logaddexp(0, z) - y * z)
        return cross_entropy + parts.sum() / L1_C, np.concatenate([gradient, -gradient]) + 1 / L1_C

    options = {"ftol": 1e-15, "maxiter": 1000}
    bounds = [(0, None)] * (2 * k)
    parts = minimize(
        loss, np.zeros(2 * k), jac=True, bounds=bounds, method="SLSQP", options=options
    ).x
    # Whether the optimum was reached is read from the gradient: so near it, the solver's own status
    # is noise.
    if np.abs(parts - np.maximum(parts - loss(parts)[1], 0)).max() > 1e-3:
        raise InputError("length-controlled fit found no optimum: check lengths and preferences")
    return parts[:k] - parts[k:]
