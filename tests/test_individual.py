"""A user's weights: none without labels, the optimum with some, and which users they tell apart."""

import numpy as np
import pytest
from scipy.optimize import minimize

from xlnb.common.errors import InputError
from xlnb.individual import fit_preference, units

STREAM = np.random.default_rng(0)
REWARDS, CHARS, LIKELIHOODS = STREAM.normal(size=(3, 400)) * [[0.3], [40], [1.0]] + [
    [0],
    [90],
    [-2],
]
ROWS = np.stack([REWARDS, CHARS, LIKELIHOODS], 1)
KNOWN = ROWS * units(ROWS)


def test_the_neutral_score_is_the_reward_and_columns_vary_alike():
    assert np.array_equal(KNOWN @ [1.0, 0.0, 0.0], REWARDS)
    assert KNOWN.std(0) == pytest.approx(REWARDS.std())
    assert units([[0.1, 7, -1], [0.2, 7, -2]]).tolist() == pytest.approx([1, 0, 0.1])
    for rows in ([], [[np.nan, 1, 1]]):
        with pytest.raises(InputError, match="finite"):
            units(rows)


def test_without_labels_a_user_is_neutral():
    assert fit_preference([], [], ridge=0.5).tolist() == [1.0, 0.0, 0.0]
    # Labels that say nothing, too, and those of a ridge that lets nothing in.
    assert fit_preference(KNOWN[:9], KNOWN[:9], ridge=0.5).tolist() == [1.0, 0.0, 0.0]
    far = fit_preference(KNOWN[:200], KNOWN[200:], ridge=1e9)
    assert far == pytest.approx([1, 0, 0], abs=1e-6)


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_the_weights_are_the_optimum(ridge):
    chosen, rejected = KNOWN[:30] * 20, KNOWN[30:60] * 20

    def loss(weights):
        margins = (chosen - rejected) @ weights
        return np.logaddexp(0, -margins).sum() + ridge / 2 * ((weights - [1, 0, 0]) ** 2).sum()

    expected = minimize(loss, [1, 0, 0], tol=1e-12)
    found = fit_preference(chosen, rejected, ridge=ridge)
    assert loss(found) <= expected.fun + 1e-9
    assert found == pytest.approx(expected.x, abs=1e-3)


def labelled(weights, n):
    """n pairs of a user of these weights, who errs as Bradley–Terry has it."""
    first, second = KNOWN[:n], KNOWN[-n:]
    wins = STREAM.random(n) < 1 / (1 + np.exp(-20 * (first - second) @ weights))
    return np.where(wins[:, None], first, second), np.where(wins[:, None], second, first)


@pytest.mark.parametrize("truth", [(1, -2, 0), (1, 2, 0), (0.2, 0, 1)])
def test_users_are_told_apart_and_the_more_labels_the_better(truth):
    right = {}
    for n in (5, 40, 200):
        weights = fit_preference(*labelled(truth, n), ridge=0.1)
        own = np.sign(KNOWN[:200] @ truth - KNOWN[200:] @ truth)
        right[n] = np.mean(own == np.sign(KNOWN[:200] @ weights - KNOWN[200:] @ weights))
    neutral = np.mean(own == np.sign(KNOWN[:200, 0] - KNOWN[200:, 0]))
    assert right[200] > 0.93 > neutral
    assert right[200] > right[5] - 0.02


def test_labels_that_all_agree_have_finite_weights_and_no_ridge_is_refused():
    chosen = np.array([[0.0, 1000.0, 0.0]] * 5)
    found = fit_preference(chosen, -chosen, ridge=1e-3)
    assert np.isfinite(found).all() and found[1] > 0
    for ridge, rejected in ((0.0, -chosen), (1.0, -chosen[:2])):
        with pytest.raises(InputError, match="ridge > 0"):
            fit_preference(chosen, rejected, ridge=ridge)
