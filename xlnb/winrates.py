"""Win rates as AlpacaEval 2 defines them, their uncertainty, and what length has to do with them.

A preference p is in [1, 2]: 1 = the baseline wins, 2 = the model wins, 1.5 = a tie, NaN = not
judged, and then dropped. With y = p - 1 a win rate is 100 mean(y), in points.

`leaderboard_length_controlled`, the leaderboard's figure, needs AlpacaEval's 805 instructions and
the gamed baselines' rows; `length_controlled` is for any other data. They share one fit
(`common.l1_logistic`) and must not be compared with each other.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri, stdtr

from xlnb.common.errors import InputError
from xlnb.common.l1_logistic import l1_fit

Floats = NDArray[np.float64]

# weight of a gamed baseline's row, where a row of the model's has weight 1
GAMED_WEIGHT = 0.1


def win_rate(preference: ArrayLike) -> tuple[float, float]:
    """Win rate and its SE in points: WR = 100 mean(y), SE = 100 sd(y, ddof=1) / sqrt(n).

    `preference`: (n,). The SE of a single judgement is undefined: NaN. Raises `InputError` where a
    preference is outside [1, 2] or none was judged.
    """
    y = judged_wins(preference)
    se = y.std(ddof=1) / np.sqrt(len(y)) if len(y) > 1 else np.nan
    return float(100 * y.mean()), float(100 * se)


def discrete_win_rate(preference: ArrayLike) -> float:
    """Points: the share of rows with p > 1.5, ties half. Raises as `win_rate` does."""
    y = judged_wins(preference)
    return float(100 * np.mean((y > 0.5) + 0.5 * (y == 0.5)))


def bootstrap_interval(
    preference: ArrayLike, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval, (lo, hi) in points: prompts are drawn with replacement.

    `preference`: (n,). Raises as `win_rate` does, and where `level` is not in (0, 1) or `resamples`
    not positive.
    """
    return _bootstrap_mean(100 * judged_wins(preference), level, resamples, seed)


def paired_difference(
    preference_a: ArrayLike, preference_b: ArrayLike, *, seed: int = 0
) -> dict[str, Any]:
    """Win rate of a minus that of b: two models judged on the same prompts, in the same order.

    `preference_a`, `preference_b`: (n,); a prompt counts where both were judged. Returns
    `difference` and its `se` in points, `ci` = [lo, hi], a 95% bootstrap interval over prompts
    (what `seed` is for), and `p_value`, two-sided, of the paired t test. Where all differences are
    the same, se is 0 and p is 1 for differences of 0, else 0. Raises `InputError` where lengths
    differ or fewer than two prompts are left.
    """
    a, b = checked_preferences(preference_a), checked_preferences(preference_b)
    if len(a) != len(b):
        raise InputError(
            f"paired preferences: {len(a)} of a, {len(b)} of b, expected the same prompts"
        )
    differences = 100 * (a - b)[~np.isnan(a - b)]
    n = len(differences)
    if n < 2:
        raise InputError(
            f"paired preferences: both models were judged on {n} prompts, expected at least 2"
        )
    difference, se = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(n))
    if np.ptp(differences) == 0:
        se, p_value = 0.0, float(difference == 0)
    else:
        p_value = float(2 * stdtr(n - 1, -abs(difference) / se))
    ci = list(_bootstrap_mean(differences, 0.95, 1000, seed))
    return {"difference": difference, "se": se, "ci": ci, "p_value": p_value}


def length_controlled(
    preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike
) -> float:
    """Length-controlled win rate in points on your own data: NOT comparable with AlpacaEval's
    leaderboard.

    Fits logit P(model wins) = w_len tanh(d / sd(d)) + w_b, d = len_baseline - len_output. 100
    sigmoid(w_b) is the win rate had both answers been equally long. Swapping model and baseline
    gives 100 - LC.

    `preference`, `len_output`, `len_baseline`: (n,), lengths in characters. Where all preferences
    are equal, or all d, length explains nothing and LC is the win rate, exactly: 50 for the
    baseline against itself. Elsewhere the L1 penalty draws LC to 50 by about 100 / (L1_C n) points,
    0.05 at n = 100. Raises as `win_rate` does, and where the arrays differ in length or a length is
    not a number >= 0.

    Read LC only where each side is the longer one on a good part of the prompts. Where |mean d|
    exceeds about 2 sd(d), equal lengths lie outside the data, and the extrapolation can be tens of
    points off.
    """
    p, delta = checked_rows(preference, len_output, len_baseline)
    judged = ~np.isnan(p)
    fit = length_fit(p[judged] - 1, delta[judged])
    return float(100 * expit(fit[1])) if fit else win_rate(p)[0]


def leaderboard_length_controlled(
    preference: ArrayLike,
    len_output: ArrayLike,
    len_baseline: ArrayLike,
    *,
    index: ArrayLike,
    difficulty: ArrayLike,
    gamed: Mapping[str, ArrayLike],
) -> float:
    """Length-controlled win rate in points as on AlpacaEval 2's leaderboard, for AlpacaEval's
    instructions.

    Fits logit P(model wins) = w_len tanh(d / sd(d)) + w_d difficulty + w_b, d = len_baseline -
    len_output, on the model's rows and, without w_b, on those of the gamed (concise, verbose)
    baselines; sd is over the rows of each of the three alone. LC = 100 mean_i sigmoid(w_d
    difficulty_i + w_b).

    `preference`, `len_output`, `len_baseline`, `index`, `difficulty`: (n,), one row an instruction;
    lengths in characters. `gamed`: a DataFrame or dict with the columns gamed_model, index (joined
    with `index`), len_baseline, len_output and pseudo_preference01 (y). Where all d of a model are
    equal its length term is 0; where all preferences are equal LC is the win rate, exactly. Raises
    as `length_controlled` does, and where `index` repeats an instruction or lacks one of `gamed`.
    """
    p, delta = checked_rows(preference, len_output, len_baseline)
    index, difficulty = number_columns(len(p), index=index, difficulty=difficulty)
    difficulty_of = dict(zip(index, difficulty, strict=True))
    gamed_index = numbers("gamed index", gamed["index"])
    (gamed_y,) = number_columns(len(gamed_index), pseudo_preference01=gamed["pseudo_preference01"])
    if len(difficulty_of) < len(p):
        raise InputError("index repeats an instruction, expected one row each")
    if absent := set(gamed_index) - set(difficulty_of):
        raise InputError(
            f"index lacks {len(absent)} instructions of the gamed rows, the first is"
            f" {min(absent):.0f}: give all of AlpacaEval's, or use length_controlled for other data"
        )
    _, gamed_delta = checked_rows(gamed_y + 1, gamed["len_output"], gamed["len_baseline"])
    gamed_model, gamed_length = np.asarray(gamed["gamed_model"]), np.zeros_like(gamed_y)
    for model in np.unique(gamed_model):
        rows = gamed_model == model
        gamed_length[rows] = _length_feature(gamed_delta[rows])

    judged = ~np.isnan(p)
    y, difficulty = p[judged] - 1, difficulty[judged]
    if np.ptp(y) == 0:
        return win_rate(p)[0]
    own = np.column_stack([_length_feature(delta[judged]), difficulty, np.ones_like(y)])
    added = np.column_stack(
        [gamed_length, [difficulty_of[i] for i in gamed_index], np.zeros_like(gamed_y)]
    )
    weight = np.repeat([1.0, GAMED_WEIGHT], [len(y), len(gamed_y)])
    _, w_d, w_b = l1_fit(np.vstack([own, added]), np.concatenate([y, gamed_y]), weight)
    return float(100 * expit(w_d * difficulty + w_b).mean())


def prompts_needed(difference: float, sd: float, *, level: float = 0.95, power: float = 0.8) -> int:
    """Prompts on which a test at `level` sees a true difference of so many points with probability
    `power`.

    n = ((z_(1+level)/2 + z_power) sd / difference)^2, rounded up, at least 2. `sd`: points, the
    standard deviation of one prompt's share: se sqrt(n) of an earlier `win_rate` (against 50) or
    `paired_difference` (of two models).
    """
    if not (0 < level < 1 and 0 < power < 1):
        raise InputError(
            f"prompts_needed: expected level and power in (0, 1), got {level} and {power}"
        )
    if not (difference and math.isfinite(difference) and sd >= 0 and math.isfinite(sd)):
        raise InputError(
            f"prompts_needed: expected a difference other than 0, sd >= 0, got {difference} and"
            f" {sd}"
        )
    z = float(ndtri((1 + level) / 2) + ndtri(power))
    return max(2, math.ceil((z * sd / difference) ** 2))


def pooled(preferences: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """One preference a prompt, the mean over its judged languages: {prompt: p} from {lang: {prompt:
    p or NaN}}.

    Parallel prompts share their difficulty over languages: a prompt is one draw, not one a
    language. Win rate, SE, interval and `paired_difference` of the result are those of all
    languages together.
    """
    judged: dict[str, list[float]] = {}
    for by_prompt in preferences.values():
        for prompt, preference in by_prompt.items():
            if not math.isnan(preference):
                judged.setdefault(prompt, []).append(preference)
    return {prompt: float(np.mean(values)) for prompt, values in judged.items()}


def length_fit(y: Floats, delta: Floats) -> tuple[float, float] | None:
    """(w_len, w_b) of `length_controlled`; None where preferences, or lengths, do not vary."""
    length = _length_feature(delta)
    # A length column that hardly varies (tanh is flat where all |d| are large and of one sign) is a
    # second constant, and how the fit would divide the win rate between two constants is arbitrary.
    if np.ptp(y) == 0 or np.ptp(length) < 0.01:
        return None
    w_len, w_b = l1_fit(np.column_stack([length, np.ones_like(y)]), y, np.ones_like(y))
    return float(w_len), float(w_b)


def _length_feature(delta: Floats) -> Floats:
    """tanh(d / sd(d)), sd with ddof=1 and d not centred; 0 where all d are equal."""
    return np.tanh(delta / delta.std(ddof=1)) if np.ptp(delta) > 0 else np.zeros_like(delta)


def _bootstrap_mean(values: Floats, level: float, resamples: int, seed: int) -> tuple[float, float]:
    if not 0 < level < 1 or resamples < 1:
        raise InputError(
            f"bootstrap: expected level in (0, 1), resamples >= 1, got {level} and {resamples}"
        )
    means = _resamples(len(values), resamples, seed) @ values / len(values)
    lo, hi = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(lo), float(hi)


# models and languages of one table have the same prompts
@lru_cache(maxsize=1)
def _resamples(n: int, resamples: int, seed: int) -> Floats:
    """(resamples, n): how often each of n rows was drawn, n draws with replacement in each
    resample."""
    rows = np.random.default_rng(seed).integers(0, n, size=(resamples, n))
    places = rows + n * np.arange(resamples)[:, None]
    return (
        np.bincount(places.ravel(), minlength=resamples * n)
        .reshape(resamples, n)
        .astype(np.float64)
    )


def numbers(name: str, values: ArrayLike) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers ({error})") from error
    if array.ndim != 1:
        raise InputError(f"{name}: expected one number a row, got an array of shape {array.shape}")
    return array


def checked_preferences(preference: ArrayLike) -> Floats:
    """Checked preferences (n,), NaN where there was no judgement."""
    p = numbers("preference", preference)
    wrong = np.flatnonzero((p < 1) | (p > 2))
    if len(wrong):
        row = wrong[0]
        raise InputError(
            f"preference: row {row} is {p[row]:g}, expected 1 (baseline wins) to 2 (model wins)"
        )
    if np.isnan(p).all():
        raise InputError(
            f"preference: none of {len(p)} rows was judged, expected numbers in [1, 2]"
        )
    return p


def judged_wins(preference: ArrayLike) -> Floats:
    """y = p - 1 of the judged rows."""
    p = checked_preferences(preference)
    return p[~np.isnan(p)] - 1


def number_columns(n: int, **columns: ArrayLike) -> list[Floats]:
    """The columns as float arrays, each of n finite numbers."""
    arrays = []
    for name, values in columns.items():
        array = numbers(name, values)
        if len(array) != n:
            raise InputError(f"{name}: expected {n} numbers, one a row, got {len(array)}")
        if not np.isfinite(array).all():
            raise InputError(
                f"{name}: row {np.flatnonzero(~np.isfinite(array))[0]} is not a finite number"
            )
        arrays.append(array)
    return arrays


def checked_rows(
    preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike
) -> tuple[Floats, Floats]:
    """Preferences (NaN where not judged) and len_baseline - len_output, both (n,)."""
    p = checked_preferences(preference)
    output, baseline = number_columns(len(p), len_output=len_output, len_baseline=len_baseline)
    if min(output.min(), baseline.min()) < 0:
        raise InputError("len_output and len_baseline: expected at least 0 characters")
    return p, baseline - output
