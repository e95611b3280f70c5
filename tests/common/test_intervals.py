"""Means over clusters: by hand, against brute force, and whether intervals cover the truth."""

import numpy as np
import pytest
from scipy import stats

from xlnb.common.errors import InputError
from xlnb.common.intervals import bootstrap_mean, clustered_error, clusters_of, seed_interval

# Clusters of 1 to 6 values, whose values are alike.
RNG = np.random.default_rng(0)
CLUSTERS = np.repeat(np.arange(40), RNG.integers(1, 7, 40)).tolist()
VALUES = RNG.normal(0, 1, 40)[CLUSTERS] + RNG.normal(0, 0.5, len(CLUSTERS))


def brute_force(values, clusters, resamples):
    """Means of samples of whole clusters, a sample at a time, by the draws of seed 0."""
    groups = [values[np.array(clusters) == cluster] for cluster in dict.fromkeys(clusters)]
    rng = np.random.default_rng(0)
    means = []
    for _ in range(resamples):
        drawn = [groups[i] for i in rng.integers(0, len(groups), len(groups))]
        means.append(np.concatenate(drawn).mean())
    return np.array(means)


def test_the_error_by_hand():
    # Mean 2; the clusters' sums are off by 1 - 2 = -1 and 2 + 3 - 4 = 1: sqrt(2 (1 + 1)) / 3.
    assert clustered_error(np.array([1.0, 2, 3]), ["a", "b", "b"]) == pytest.approx(2 / 3)
    assert clustered_error(np.array([1.0, 2, 3, 4]), ["a", "b", "a", "b"]) == pytest.approx(0.5)
    assert clustered_error(np.array([0.1, 0.7, 0.1, 0.7]), ["a", "a", "b", "b"]) == 0
    assert np.isnan(clustered_error(np.array([1.0, 2, 3]), ["a", "a", "a"]))


def test_with_a_value_a_cluster_the_error_is_the_plain_one():
    plain = VALUES.std(ddof=1) / np.sqrt(len(VALUES))
    assert clustered_error(VALUES, range(len(VALUES))) == pytest.approx(plain)


def test_values_told_twice_are_not_known_better():
    once = clustered_error(VALUES, range(len(VALUES)))
    twice = clustered_error(np.tile(VALUES, 2), [*range(len(VALUES))] * 2)
    assert twice == pytest.approx(once)


def test_error_and_interval_are_those_of_a_brute_force_bootstrap_of_clusters():
    means = brute_force(VALUES, CLUSTERS, 20_000)
    error = clustered_error(VALUES, CLUSTERS)
    # A bootstrap divides by G where the error divides by G - 1.
    assert means.std() == pytest.approx(error * np.sqrt(39 / 40), rel=0.04)
    # Were they independent, it would be half of that.
    assert clustered_error(VALUES, range(len(VALUES))) < 0.6 * error
    expected = np.quantile(means, [0.025, 0.975])
    assert bootstrap_mean(VALUES, CLUSTERS, 0.95, 20_000, 0) == pytest.approx(expected)


def test_only_clustered_intervals_cover_the_truth():
    clusters = np.repeat(np.arange(50), 4).tolist()
    rng = np.random.default_rng(2)
    covered = {"clustered": 0, "plain": 0}
    for seed in range(1000):
        rates = rng.beta(0.72, 0.48, 50)
        wins = (rng.random(200) < rates[clusters]).astype(float)
        for name, groups in (("clustered", clusters), ("plain", range(200))):
            low, high = bootstrap_mean(wins, groups, 0.95, 300, seed)
            covered[name] += low <= 0.6 <= high
    assert 0.92 <= covered["clustered"] / 1000 <= 0.96
    assert covered["plain"] / 1000 < 0.88


def test_the_clusters_of_some_rows():
    rows = np.array([True, False, True])
    assert clusters_of(rows, ["a", "b", "c"]) == ["a", "c"]
    assert clusters_of(rows, None) == [0, 2]
    with pytest.raises(InputError, match="clusters: expected 3, one a row, got 2"):
        clusters_of(rows, ["a", "b"])


def test_an_interval_over_seeds():
    values = [68.5, 67.1, 70.2]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert seed_interval(values) == pytest.approx((np.mean(values), low, high))
    # t of one degree of freedom is 12.706, and sd / sqrt(2) is half of the distance.
    assert seed_interval([1, 3]) == pytest.approx((2, 2 - 12.7062, 2 + 12.7062), abs=1e-4)
    for bad in ([1.0], [], [1, float("nan")]):
        with pytest.raises(InputError, match="two seeds or more"):
            seed_interval(bad)
    with pytest.raises(InputError, match="level in"):
        seed_interval(values, level=1)
