"""Win rates as AlpacaEval 2 defines them, their uncertainty, and what length has to do with them.

A preference p is in [1, 2]: 1 = the baseline wins, 2 = the model wins, 1.5 = a tie, NaN (or None) =
no judgement; such rows are dropped. With y = p - 1 a win rate is 100 mean(y), in points.

Two length-controlled win rates share one fit (`l1_fit`) and must not be compared with each other:

- `leaderboard_length_controlled`, the leaderboard's figure, needs AlpacaEval's 805 instructions,
  their published difficulties and the rows of the gamed baselines;
- `length_controlled` is for any other data and knows the lengths alone.
"""

import math
from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, ndtri

from xlnb.common.columns import Floats, number_columns, numbers
from xlnb.common.errors import InputError
from xlnb.common.intervals import Clusters, bootstrap_mean, clustered_error, clusters_of, t_p_value
from xlnb.common.l1_logistic import l1_fit

# Weight of a gamed baseline's row, where a row of the model's has weight 1.
GAMED_WEIGHT = 0.1


def win_rate(preference: ArrayLike, *, clusters: Clusters | None = None) -> tuple[float, float]:
    """Win rate and its standard error in points.

        WR = 100 mean(y),   SE = 100 sd(y, ddof=1) / sqrt(n)

    as AlpacaEval has them; with `clusters` (n,) the SE is `clustered_error`, of prompts that go
    together. `preference`: (n,). The SE of a single judgement or cluster is undefined: NaN. Raises
    InputError where a preference is outside [1, 2] or none was judged.
    """
    y, together = _judged(preference, clusters)
    se = clustered_error(y, together)
    if clusters is None and len(y) > 1:
        se = y.std(ddof=1) / np.sqrt(len(y))
    return float(100 * y.mean()), float(100 * se)


def discrete_win_rate(preference: ArrayLike) -> float:
    """Points: the share of rows with p > 1.5, those with p = 1.5 counting half. Raises as
    `win_rate` does."""
    y = judged_wins(preference)
    return float(100 * np.mean((y > 0.5) + 0.5 * (y == 0.5)))


def bootstrap_interval(
    preference: ArrayLike,
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the win rate, (lo, hi) in points: prompts, or whole clusters
    of them, are drawn with replacement.

    `preference`, `clusters`: (n,). Raises as `win_rate` does, and where `level` is not in (0, 1) or
    `resamples` not positive.
    """
    y, together = _judged(preference, clusters)
    return bootstrap_mean(100 * y, together, level, resamples, seed)


class PairedDifference(TypedDict):
    """One win rate less another; points."""

    difference: float
    se: float
    # [lo, hi], 95%
    ci: list[float]
    p_value: float
    # prompts, and the clusters that they are in
    n: int
    clusters: int


def paired_difference(
    preference_a: ArrayLike,
    preference_b: ArrayLike,
    *,
    clusters: Clusters | None = None,
    seed: int = 0,
) -> PairedDifference:
    """Win rate of a minus that of b: two models judged on the same prompts, in the same order.

    `preference_a`, `preference_b`, `clusters`: (n,); a prompt counts where both were judged, and is
    a cluster of its own where none are given. `se` is `clustered_error`, `ci` a bootstrap interval
    over clusters (what `seed` is for), `p_value` two-sided, of t = difference / se with G - 1
    degrees of freedom. Where all clusters' differences are the same, se is 0 and p is 1 for
    differences of 0, else 0. Raises InputError where lengths differ or G < 2.
    """
    a = checked_preferences(preference_a)
    b = checked_preferences(preference_b)
    if len(a) != len(b):
        raise InputError(
            f"paired preferences: {len(a)} of a, {len(b)} of b, expected the same prompts"
        )
    both = ~np.isnan(a - b)
    differences = 100 * (a - b)[both]
    together = clusters_of(both, clusters)
    draws = len(set(together))
    if draws < 2:
        raise InputError(
            f"paired preferences: both models were judged on {draws} prompts or clusters, "
            "expected at least 2"
        )
    difference = float(differences.mean())
    se = clustered_error(differences, together)
    return {
        "difference": difference,
        "se": se,
        "ci": list(bootstrap_mean(differences, together, 0.95, 1000, seed)),
        "p_value": t_p_value(difference, se, draws),
        "n": len(differences),
        "clusters": draws,
    }


def length_controlled(
    preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike
) -> float:
    """Length-controlled win rate in points on your own data: NOT comparable with AlpacaEval's
    leaderboard.

        logit P(model wins) = w_len tanh(d / sd(d)) + w_b,   d = len_baseline - len_output

    is fitted, and 100 sigmoid(w_b) is the win rate had both answers been equally long. Swapping
    model and baseline gives 100 - LC.

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

        logit P(model wins) = w_len tanh(d / sd(d)) + w_d difficulty + w_b,
        d = len_baseline - len_output,   LC = 100 mean_i sigmoid(w_d difficulty_i + w_b)

    is fitted on the model's rows and, without w_b, on those of the gamed (concise, verbose)
    baselines; sd is over the rows of each of the three alone.

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
            f"index lacks {len(absent)} instructions of the gamed rows, the first is "
            f"{min(absent):.0f}: give all of AlpacaEval's, or use length_controlled for other data"
        )
    _, gamed_delta = checked_rows(gamed_y + 1, gamed["len_output"], gamed["len_baseline"])
    gamed_model = np.asarray(gamed["gamed_model"])
    gamed_length = np.zeros_like(gamed_y)
    for model in np.unique(gamed_model):
        rows = gamed_model == model
        gamed_length[rows] = _length_feature(gamed_delta[rows])

    judged = ~np.isnan(p)
    y = p[judged] - 1
    difficulty = difficulty[judged]
    if np.ptp(y) == 0:
        return win_rate(p)[0]
    own = np.column_stack([_length_feature(delta[judged]), difficulty, np.ones_like(y)])
    gamed_difficulty = [difficulty_of[i] for i in gamed_index]
    added = np.column_stack([gamed_length, gamed_difficulty, np.zeros_like(gamed_y)])
    weight = np.repeat([1.0, GAMED_WEIGHT], [len(y), len(gamed_y)])
    _, w_d, w_b = l1_fit(np.vstack([own, added]), np.concatenate([y, gamed_y]), weight)
    return float(100 * expit(w_d * difficulty + w_b).mean())


def prompts_needed(difference: float, sd: float, *, level: float = 0.95, power: float = 0.8) -> int:
    """Prompts on which a test at `level` sees a true difference of so many points with probability
    `power`.

        n = ((z_(1+level)/2 + z_power) sd / difference)^2

    rounded up, at least 2. `sd`: points, the standard deviation of one prompt's share: se sqrt(n)
    of an earlier `win_rate` (against 50) or `paired_difference` (of two models).
    """
    if not (0 < level < 1 and 0 < power < 1):
        raise InputError(
            f"prompts_needed: expected level and power in (0, 1), got {level} and {power}"
        )
    if not (difference and math.isfinite(difference) and sd >= 0 and math.isfinite(sd)):
        raise InputError(
            f"prompts_needed: expected a difference other than 0, sd >= 0, got {difference} and "
            f"{sd}"
        )
    z = float(ndtri((1 + level) / 2) + ndtri(power))
    return max(2, math.ceil((z * sd / difference) ** 2))


def pooled(preferences: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """One preference a prompt, the mean over its judged languages: {prompt: p} from
    {lang: {prompt: p or NaN}}.

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
    # second constant, and how the fit would divide the win rate between two is arbitrary.
    if np.ptp(y) == 0 or np.ptp(length) < 0.01:
        return None
    w_len, w_b = l1_fit(np.column_stack([length, np.ones_like(y)]), y, np.ones_like(y))
    return float(w_len), float(w_b)


def _length_feature(delta: Floats) -> Floats:
    """tanh(d / sd(d)), sd with ddof=1 and d not centred; 0 where all d are equal."""
    return np.tanh(delta / delta.std(ddof=1)) if np.ptp(delta) > 0 else np.zeros_like(delta)


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
    return _judged(preference, None)[0]


def _judged(preference: ArrayLike, clusters: Clusters | None) -> tuple[Floats, Clusters]:
    """y = p - 1 of the judged rows, and their clusters."""
    p = checked_preferences(preference)
    judged = ~np.isnan(p)
    return p[judged] - 1, clusters_of(judged, clusters)


def checked_rows(
    preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike
) -> tuple[Floats, Floats]:
    """Preferences (NaN where not judged) and len_baseline - len_output, both (n,)."""
    p = checked_preferences(preference)
    output, baseline = number_columns(len(p), len_output=len_output, len_baseline=len_baseline)
    if min(output.min(), baseline.min()) < 0:
        raise InputError("len_output and len_baseline: expected at least 0 characters")
    return p, baseline - output
