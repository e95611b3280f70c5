"""Few examples whose mean is that of all: everything, by hand, and against chance."""

import numpy as np
import pytest

from xlnb.common.errors import InputError
from xlnb.matching import distance, match_mean

STREAM = np.random.default_rng(0)


def test_all_of_them_are_all():
    vectors = STREAM.normal(size=(7, 3))
    assert match_mean(vectors, 7) == list(range(7))
    assert distance(vectors, list(range(7))) == pytest.approx(0)


def test_by_hand():
    # The mean is 0: the two opposite ones have it, the others not.
    vectors = np.array([[3.0, 0], [1, 1], [-1, -1], [0, 4], [-3, -4]])
    assert match_mean(vectors, 2) == [1, 2]
    assert match_mean(vectors, 1) in ([1], [2])


def test_swaps_mend_what_greed_began():
    """Greed takes the vector at the mean first, and then nothing balances."""
    vectors = np.array([[0.0], [2.0], [-2.0], [5.0], [-5.0]])
    assert match_mean(vectors, 1) == [0]
    assert match_mean(vectors, 2) == [1, 2]
    assert distance(vectors, [1, 2]) == 0 < distance(vectors, [0, 1])


def test_it_is_nearer_than_chance():
    vectors = STREAM.normal(size=(60, 20)) * np.geomspace(5, 0.1, 20)
    chance = [distance(vectors, [*STREAM.permutation(60)[:15]]) for _ in range(50)]
    assert distance(vectors, match_mean(vectors, 15)) < min(chance)


@pytest.mark.parametrize("n", [0, 8])
def test_more_than_there_are_is_refused(n):
    with pytest.raises(InputError, match=rf"n from 1 to as many; .* \(7, 3\) and n {n}$"):
        match_mean(STREAM.normal(size=(7, 3)), n)


def test_what_is_not_finite_is_refused():
    with pytest.raises(InputError, match="expected finite vectors"):
        match_mean(np.full((2, 2), np.nan), 1)
