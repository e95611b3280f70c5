"""Length control against brute force in exact arithmetic."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lengths import N_CHARS, REWARDS

from xlnb.length_control import alpha_search, grid_alpha, length_alpha, length_gap_curve


def exact_gap(rewards, n_chars, alpha):
    """The objective in exact arithmetic, ties as documented: the shorter is chosen, the longer
    rejected."""
    total = 0
    for s, c in zip(rewards, n_chars, strict=True):
        scored = [
            (Fraction(s_i) - Fraction(alpha) * Fraction(c_i), c_i)
            for s_i, c_i in zip(s, c, strict=True)
        ]
        total += (
            max(scored, key=lambda x: (x[0], -x[1]))[1]
            - min(scored, key=lambda x: (x[0], -x[1]))[1]
        )
    return total / len(rewards)


def brute_force(rewards, n_chars, allow_negative):
    """The smallest |gap| over every pairwise crossing, the middles between them, 0 and both
    ends."""
    crossings = {Fraction(0)}
    for s, c in zip(rewards, n_chars, strict=True):
        for i in range(len(s)):
            for j in range(i):
                if c[i] != c[j]:
                    crossings.add((Fraction(s[i]) - Fraction(s[j])) / (c[i] - c[j]))
    ordered = sorted(crossings)
    middles = [(a + b) / 2 for a, b in pairwise(ordered)]
    probes = [ordered[0] - 1, *ordered, *middles, ordered[-1] + 1]
    return min(
        abs(exact_gap(rewards, n_chars, alpha)) for alpha in probes if alpha >= 0 or allow_negative
    )


# Eighths and whole characters: crossings tie often, and no two of them are near without being
# equal.
responses_of_a_prompt = st.lists(
    st.tuples(st.integers(-16, 16), st.integers(0, 12)), min_size=1, max_size=5
)
tables = st.lists(responses_of_a_prompt, min_size=1, max_size=3).map(
    lambda prompts: ([[s / 8 for s, _ in p] for p in prompts], [[c for _, c in p] for p in prompts])
)


def test_curve_of_the_worked_example():
    alphas, gaps = length_gap_curve(REWARDS, N_CHARS)
    start = int(np.searchsorted(alphas, 0, side="right")) - 1
    assert alphas[start] < 0
    np.testing.assert_allclose(alphas[start + 1 :], [1 / 6, 1 / 2, 5 / 9, 4 / 3])
    assert gaps[start:].tolist() == [6.5, 3.5, -0.5, -5, -6.5]


def test_alpha_is_the_middle_of_the_best_step():
    control = length_alpha(REWARDS, N_CHARS)
    assert control.alpha == pytest.approx((1 / 2 + 5 / 9) / 2)
    assert control == (control.alpha, -0.5, 6.5, False)


def test_alpha_is_0_where_the_gap_is_0_already():
    # The better of the first two is the shorter, of the last two the longer, by as much.
    assert length_alpha([[1.0, 0.0], [1.0, 0.0]], [[2, 5], [5, 2]]) == (0.0, 0.0, 0.0, False)
    assert length_alpha([[1.0, 0.0]], [[7, 7]]) == (0.0, 0.0, 0.0, False)
    assert length_alpha([[1.0]], [[7]]) == (0.0, 0.0, 0.0, False)


def test_of_two_steps_as_good_the_one_nearer_0():
    # One pair of responses: +3 below the crossing and -3 above.
    assert length_alpha([[1.0, 0.0]], [[5, 2]]) == (0.0, 3.0, 3.0, False)


def test_a_preference_for_short_responses_is_at_the_edge():
    rewards = [[-s for s in row] for row in REWARDS]
    assert length_alpha(rewards, N_CHARS) == (0.0, -6.5, -6.5, True)
    control = length_alpha(rewards, N_CHARS, allow_negative=True)
    assert control == (-length_alpha(REWARDS, N_CHARS).alpha, 0.5, -6.5, False)


def test_a_step_that_is_only_rounding_is_not_one():
    # Both prompts cross at α = 0.1, the first at 0.2/2 and the second at
    # (0.3 - 0.1)/2 = 0.09999999999999999.
    rewards, n_chars = [[0.2, 0.0], [0.3, 0.1]], [[3, 1], [3, 1]]
    crossings = length_gap_curve(rewards, n_chars)[0][1:]
    assert len(crossings) == 2
    assert crossings[1] - crossings[0] < 1e-15
    assert length_alpha(rewards, n_chars) == (0.0, 2.0, 2.0, False)


@settings(deadline=None)
@given(tables, st.booleans())
def test_alpha_is_as_good_as_brute_force(table, allow_negative):
    control = length_alpha(*table, allow_negative=allow_negative)
    assert abs(control.gap) == float(brute_force(table[0], table[1], allow_negative))
    assert control.gap == float(exact_gap(table[0], table[1], control.alpha))
    assert control.gap_before == float(exact_gap(table[0], table[1], 0))
    assert control.alpha >= 0 or allow_negative
    assert control.at_edge == (not allow_negative and control.gap_before < 0)


@pytest.mark.parametrize("seed", range(6))
def test_alpha_is_as_good_as_brute_force_on_real_numbers(seed):
    rng = np.random.default_rng(seed)
    n_chars = [rng.integers(1, 300, size=rng.integers(1, 9)).tolist() for _ in range(6)]
    rewards = [(0.02 * np.array(c) + rng.normal(size=len(c))).tolist() for c in n_chars]
    control = length_alpha(rewards, n_chars)
    assert abs(control.gap) == float(brute_force(rewards, n_chars, allow_negative=False))
    assert control.gap == float(exact_gap(rewards, n_chars, control.alpha))


@settings(deadline=None)
@given(tables)
def test_the_curve_falls_and_is_the_gap(table):
    alphas, gaps = length_gap_curve(*table)
    assert (np.diff(gaps) < 0).all()
    for alpha, gap in zip((alphas[1:-1] + alphas[2:]) / 2, gaps[1:-1], strict=True):
        assert gap == float(exact_gap(table[0], table[1], alpha))


@settings(deadline=None)
@given(tables)
def test_grid_is_the_best_of_the_grid(table):
    # A factor that keeps every crossing but 0 off the points of the grid.
    table = ([[s * 2**-5 * 1.0001 for s in row] for row in table[0]], table[1])
    control = grid_alpha(*table)
    grid = np.arange(1000) / 1000
    # A thinned grid keeps brute force quick; no point of it is better.
    assert all(
        abs(control.gap) <= abs(exact_gap(table[0], table[1], alpha)) for alpha in grid[::100]
    )
    assert control.gap == float(exact_gap(table[0], table[1], control.alpha))
    assert abs(length_alpha(*table).gap) <= abs(control.gap)


def test_grid_needs_the_scores_without_beta():
    # The best step is 0.5 … 0.556; with β = 0.001 in the rewards it lies between two
    # points of the grid.
    assert grid_alpha(REWARDS, N_CHARS) == (0.5, -0.5, 6.5, False)
    rewards = [[0.001 * s for s in row] for row in REWARDS]
    assert grid_alpha(rewards, N_CHARS).alpha == 0.001
    assert grid_alpha(rewards, N_CHARS).gap == -5
    assert length_alpha(rewards, N_CHARS).gap == -0.5
    assert grid_alpha(rewards, N_CHARS, beta=0.001) == (0.0005, -0.5, 6.5, False)
    assert alpha_search("grid", 0.001)(rewards, N_CHARS).alpha == 0.0005


def test_grid_is_at_its_edge_where_it_ends():
    assert grid_alpha([[90.0, 6.0, 0.0]], [[10, 9, 1]]).at_edge
    assert grid_alpha([[0.0, 1.0]], [[10, 1]]) == (0.0, -9.0, -9.0, True)


@pytest.mark.parametrize(
    ("rewards", "n_chars"),
    [([], []), ([[]], [[]]), ([[1.0, 2.0]], [[1]]), ([[math.nan, 1.0]], [[1, 2]])],
)
def test_length_control_refuses(rewards, n_chars):
    with pytest.raises(ValueError, match="length control needs"):
        length_alpha(rewards, n_chars)


def test_the_searches_for_alpha_that_a_preset_names():
    short = [[-s for s in row] for row in REWARDS]
    assert alpha_search("exact", 0.1)(REWARDS, N_CHARS) == length_alpha(REWARDS, N_CHARS)
    assert alpha_search("exact", 0.1)(short, N_CHARS).at_edge
    assert alpha_search("signed", 0.1)(short, N_CHARS) == length_alpha(
        short, N_CHARS, allow_negative=True
    )
    assert alpha_search("none", 0.1) is None
