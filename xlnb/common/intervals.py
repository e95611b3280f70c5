"""How uncertain a mean is whose values are not all independent draws: those of one cluster, such as
the phrasings of one question, go together. Without clusters each value is one of its own."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import compress

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from xlnb.common.columns import Floats, numbers
from xlnb.common.errors import InputError

# what each value belongs to, (n,)
Clusters = Sequence[Hashable]

# Draws that are kept for the next table, and those that are made at a time: 32 and 8 MiB.
KEPT = 2**22
DRAWN = 2**20


def clusters_of(rows: NDArray[np.bool_], clusters: Clusters | None) -> Clusters:
    """The clusters of the rows that are True; each row is one of its own where none are given."""
    if clusters is None:
        return np.flatnonzero(rows).tolist()
    if len(clusters) != len(rows):
        raise InputError(f"clusters: expected {len(rows)}, one a row, got {len(clusters)}")
    return list(compress(clusters, rows))


def cluster_totals(values: Floats, clusters: Clusters) -> tuple[Floats, Floats]:
    """Sum and number of the values of each cluster, (G,) both, in the order of their first
    values."""
    order: dict[Hashable, int] = {}
    codes = [order.setdefault(cluster, len(order)) for cluster in clusters]
    sums = np.bincount(codes, weights=values).astype(np.float64)
    return sums, np.bincount(codes).astype(np.float64)


def clustered_error(values: Floats, clusters: Clusters) -> float:
    """Cluster-robust standard error of the mean of `values`; NaN for a single cluster.

        SE = sqrt(G / (G - 1) Σ_c e_c²) / n,   e_c = Σ_(i in c) (x_i - mean)

    over G clusters of n values in all. The mean is the ratio of two totals over clusters, of values
    and of their number, and this its standard error (Cochran 1977, Sampling Techniques, chapter 6;
    as a sandwich estimator Liang and Zeger 1986). With a value a cluster it is sd(x, ddof=1) /
    sqrt(n).
    """
    sums, sizes = cluster_totals(values, clusters)
    if len(sums) < 2:
        return np.nan
    # Where all clusters are alike, rounding is no error.
    if np.ptp(sums / sizes) == 0:
        return 0.0
    off = sums - sizes * values.mean()
    return float(np.sqrt(len(sums) / (len(sums) - 1) * np.sum(off**2)) / len(values))


def bootstrap_mean(
    values: Floats, clusters: Clusters, level: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, (lo, hi): clusters are drawn with replacement, and
    each brings all of its values."""
    if not 0 < level < 1 or resamples < 1:
        raise InputError(
            f"bootstrap: expected level in (0, 1), resamples >= 1, got {level} and {resamples}"
        )
    sums, sizes = cluster_totals(values, clusters)
    if len(sums) * resamples <= KEPT:
        drawn: Iterable[Floats] = [_kept(len(sums), resamples, seed)]
    else:
        drawn = _resamples(len(sums), resamples, seed)
    # (resamples,)
    means = np.concatenate([some @ sums / (some @ sizes) for some in drawn])
    lo, hi = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(lo), float(hi)


def _resamples(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """(some, n) at a time, `resamples` rows in all: how often each of n clusters was drawn, n draws
    with replacement in each resample."""
    stream = np.random.default_rng(seed)
    most = max(1, DRAWN // n)
    for start in range(0, resamples, most):
        some = min(most, resamples - start)
        rows = stream.integers(0, n, size=(some, n))
        places = rows + n * np.arange(some)[:, None]
        counts = np.bincount(places.ravel(), minlength=some * n)
        yield counts.reshape(some, n).astype(np.float64)


# Models and languages of one table have the same prompts.
@lru_cache(maxsize=1)
def _kept(n: int, resamples: int, seed: int) -> Floats:
    return np.concatenate(list(_resamples(n, resamples, seed)))


def seed_interval(values: ArrayLike, *, level: float = 0.95) -> tuple[float, float, float]:
    """(mean, lo, hi) over runs that differ in their seed: mean ± t sd(x, ddof=1) / sqrt(n), t of
    n - 1 degrees of freedom.

    `values`: (n,), a mean a seed, n >= 2, else InputError. It knows how much training and sampling
    vary, and not that other prompts would have given other means.
    """
    means = numbers("seed_interval", values)
    if len(means) < 2 or not np.isfinite(means).all() or not 0 < level < 1:
        raise InputError(
            "seed_interval: expected a finite mean of two seeds or more and level in (0, 1), got "
            f"{means.tolist()} and {level}"
        )
    mean = float(means.mean())
    reach = float(stdtrit(len(means) - 1, (1 + level) / 2) * means.std(ddof=1) / len(means) ** 0.5)
    return mean, mean - reach, mean + reach


def t_p_value(mean: float, se: float, draws: int) -> float:
    """The p value of t = mean / se with `draws` - 1 degrees of freedom; without an error 1 for a
    mean of 0, else 0."""
    return float(2 * stdtr(draws - 1, -abs(mean) / se)) if se else float(mean == 0)
