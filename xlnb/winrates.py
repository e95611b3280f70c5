"""Win rates as AlpacaEval 2 defines them, their uncertainty, and what length has to do with them.

A preference p is in [1, 2]: 1 = the baseline wins, 2 = the model wins, 1.5 = a tie, NaN (or None) = no
judgement; rows without a judgement are dropped. With y = p - 1 a win rate is 100 mean(y), in points.

Two length-controlled win rates share one fit (`_fit`) and must not be compared with each other:

- `leaderboard_length_controlled`, the leaderboard's figure, needs AlpacaEval's 805 instructions, their
  published difficulties and the rows of the gamed baselines;
- `length_controlled` is for any other data and knows the lengths alone.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, ndtri, stdtr

from xlnb.errors import InputError

Floats = NDArray[np.float64]

L1_C = 21.54  # inverse strength of the L1 penalty; with it the fit reproduces the leaderboard's figures
GAMED_WEIGHT = 0.1  # weight of a gamed baseline's row, where a row of the model's has weight 1


def win_rate(preference: ArrayLike) -> tuple[float, float]:
    """Win rate and its standard error in points: WR = 100 mean(y), SE = 100 sd(y, ddof=1) / sqrt(n).

    `preference`: (n,). The SE of a single judgement is undefined: NaN. Raises `InputError` where a preference
    is outside [1, 2] or none was judged.
    """
    y = _judged(preference)
    se = y.std(ddof=1) / np.sqrt(len(y)) if len(y) > 1 else np.nan
    return float(100 * y.mean()), float(100 * se)


def discrete_win_rate(preference: ArrayLike) -> float:
    """Points: the share of rows with p > 1.5, those with p = 1.5 counting half. Raises as `win_rate` does."""
    y = _judged(preference)
    return float(100 * np.mean((y > 0.5) + 0.5 * (y == 0.5)))


def bootstrap_interval(
    preference: ArrayLike, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the win rate, (lo, hi) in points: prompts are drawn with replacement.

    `preference`: (n,). Raises as `win_rate` does, and where `level` is not in (0, 1) or `resamples` not
    positive.
    """
    return _bootstrap_mean(100 * _judged(preference), level, resamples, seed)


def paired_difference(preference_a: ArrayLike, preference_b: ArrayLike, *, seed: int = 0) -> dict[str, Any]:
    """Win rate of a minus that of b: two models judged on the same prompts, in the same order.

    `preference_a`, `preference_b`: (n,); a prompt counts where both were judged. Returns `difference` and its
    `se` in points, `ci` = [lo, hi], a 95% bootstrap interval over prompts (what `seed` is for), and
    `p_value`, two-sided, of the paired t test. Where all differences are the same, se is 0 and p is 1 for
    differences of 0, else 0. Raises `InputError` where lengths differ or fewer than two prompts are left.
    """
    a, b = _preferences(preference_a), _preferences(preference_b)
    if len(a) != len(b):
        raise InputError(f"paired preferences: {len(a)} of a, {len(b)} of b, expected the same prompts")
    differences = 100 * (a - b)[~np.isnan(a - b)]
    n = len(differences)
    if n < 2:
        raise InputError(f"paired preferences: both models were judged on {n} prompts, expected at least 2")
    difference, se = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(n))
    if np.ptp(differences) == 0:
        se, p_value = 0.0, float(difference == 0)
    else:
        p_value = float(2 * stdtr(n - 1, -abs(difference) / se))
    ci = list(_bootstrap_mean(differences, 0.95, 1000, seed))
    return {"difference": difference, "se": se, "ci": ci, "p_value": p_value}


def length_controlled(preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike) -> float:
    """Length-controlled win rate in points on your own data: NOT comparable with AlpacaEval's leaderboard.

    Fits logit P(model wins) = w_len tanh(d / sd(d)) + w_b, d = len_baseline - len_output. 100 sigmoid(w_b) is
    the win rate had both answers been equally long. Swapping model and baseline gives 100 - LC.

    `preference`, `len_output`, `len_baseline`: (n,), lengths in characters. Where all preferences are equal,
    or all d, length explains nothing and LC is the win rate, exactly: 50 for the baseline against itself.
    Elsewhere the L1 penalty draws LC to 50 by about 100 / (L1_C n) points, 0.05 at n = 100. Raises as
    `win_rate` does, and where the arrays differ in length or a length is not a number >= 0.

    Read LC only where each side is the longer one on a good part of the prompts. Where |mean d| exceeds about
    2 sd(d), equal lengths lie outside the data, and the extrapolation can be tens of points off.
    """
    p, delta = _rows(preference, len_output, len_baseline)
    judged = ~np.isnan(p)
    fit = _length_fit(p[judged] - 1, delta[judged])
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
    """Length-controlled win rate in points as on AlpacaEval 2's leaderboard, for AlpacaEval's instructions.

    Fits logit P(model wins) = w_len tanh(d / sd(d)) + w_d difficulty + w_b, d = len_baseline - len_output, on
    the model's rows and, without w_b, on those of the gamed (concise, verbose) baselines; sd is over the rows
    of each of the three alone. LC = 100 mean_i sigmoid(w_d difficulty_i + w_b).

    `preference`, `len_output`, `len_baseline`, `index`, `difficulty`: (n,), one row an instruction; lengths
    in characters. `gamed`: a DataFrame or dict with the columns gamed_model, index (joined with `index`),
    len_baseline, len_output and pseudo_preference01 (y). Where all d of a model are equal its length term is
    0; where all preferences are equal LC is the win rate, exactly. Raises as `length_controlled` does, and
    where `index` repeats an instruction or lacks one of `gamed`.
    """
    p, delta = _rows(preference, len_output, len_baseline)
    index, difficulty = _columns(len(p), index=index, difficulty=difficulty)
    difficulty_of = dict(zip(index, difficulty, strict=True))
    gamed_index = _array("gamed index", gamed["index"])
    (gamed_y,) = _columns(len(gamed_index), pseudo_preference01=gamed["pseudo_preference01"])
    if len(difficulty_of) < len(p):
        raise InputError("index repeats an instruction, expected one row each")
    if absent := set(gamed_index) - set(difficulty_of):
        raise InputError(
            f"index lacks {len(absent)} instructions of the gamed rows, the first is {min(absent):.0f}: "
            "give all of AlpacaEval's, or use length_controlled for other data"
        )
    _, gamed_delta = _rows(gamed_y + 1, gamed["len_output"], gamed["len_baseline"])
    gamed_model, gamed_length = np.asarray(gamed["gamed_model"]), np.zeros_like(gamed_y)
    for model in np.unique(gamed_model):
        rows = gamed_model == model
        gamed_length[rows] = _length_feature(gamed_delta[rows])

    judged = ~np.isnan(p)
    y, difficulty = p[judged] - 1, difficulty[judged]
    if np.ptp(y) == 0:
        return win_rate(p)[0]
    own = np.column_stack([_length_feature(delta[judged]), difficulty, np.ones_like(y)])
    added = np.column_stack([gamed_length, [difficulty_of[i] for i in gamed_index], np.zeros_like(gamed_y)])
    weight = np.repeat([1.0, GAMED_WEIGHT], [len(y), len(gamed_y)])
    _, w_d, w_b = _fit(np.vstack([own, added]), np.concatenate([y, gamed_y]), weight)
    return float(100 * expit(w_d * difficulty + w_b).mean())


def prompts_needed(difference: float, sd: float, *, level: float = 0.95, power: float = 0.8) -> int:
    """Prompts on which a test at `level` sees a true difference of so many points with probability `power`.

    n = ((z_(1+level)/2 + z_power) sd / difference)^2, rounded up, at least 2. `sd`: points, the standard deviation of
    one prompt's share: se sqrt(n) of an earlier `win_rate` (against 50) or `paired_difference` (of two models).
    """
    if not (0 < level < 1 and 0 < power < 1):
        raise InputError(f"prompts_needed: expected level and power in (0, 1), got {level} and {power}")
    if not (difference and math.isfinite(difference) and sd >= 0 and math.isfinite(sd)):
        raise InputError(f"prompts_needed: expected a difference other than 0, sd >= 0, got {difference} and {sd}")
    z = float(ndtri((1 + level) / 2) + ndtri(power))
    return max(2, math.ceil((z * sd / difference) ** 2))


def pooled(preferences: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """One preference a prompt, the mean over its judged languages: {prompt: p} from {lang: {prompt: p or NaN}}.

    Parallel prompts share their difficulty over languages: a prompt is one draw, not one a language. Win rate, SE,
    interval and `paired_difference` of the result are those of all languages together.
    """
    judged: dict[str, list[float]] = {}
    for by_prompt in preferences.values():
        for prompt, preference in by_prompt.items():
            if not math.isnan(preference):
                judged.setdefault(prompt, []).append(preference)
    return {prompt: float(np.mean(values)) for prompt, values in judged.items()}


def position_bias(shown_first: ArrayLike, shown_second: ArrayLike) -> dict[str, Any]:
    """What being shown first is worth to a response, in points: 0 = nothing, 50 = the first shown always wins.

    `shown_first`, `shown_second`: (n,), a prompt's preference where the judge read the model's response first, and
    second; NaN where it was not asked so. bias = half the win rate of the first less that of the second, with its `se`
    and `n`, the prompts behind it. Prompts judged in both orders are compared with themselves, and `agreement` is the
    percentage of them with one and the same winner; without any, the two groups are compared and it is NaN. Raises
    `InputError` where lengths differ, one way was never judged, or a single prompt was judged both ways.
    """
    first, second = _preferences(shown_first), _preferences(shown_second)
    if len(first) != len(second):
        raise InputError(f"position bias: {len(first)} shown first, {len(second)} second, expected the same prompts")
    both = ~np.isnan(first - second)
    if both.any():
        pair, n = paired_difference(first[both], second[both]), int(both.sum())
        agreement = float(100 * np.mean(np.sign(first[both] - 1.5) == np.sign(second[both] - 1.5)))
        return {"bias": pair["difference"] / 2, "se": pair["se"] / 2, "agreement": agreement, "n": n}
    (wr_1, se_1), (wr_2, se_2) = win_rate(first), win_rate(second)
    n = int(np.sum(~np.isnan([first, second])))
    return {"bias": (wr_1 - wr_2) / 2, "se": math.hypot(se_1, se_2) / 2, "agreement": np.nan, "n": n}


def length_bias(preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike) -> dict[str, float]:
    """How the verdict goes with length, arguments as for `length_controlled`.

    `wr_longer` and `wr_shorter`: the win rate in points where the model's response is the longer, the shorter one (NaN
    where it never is); `difference` of the two with its `se`: 0 for a judge whom length does not move, if length
    says nothing of quality. `longer`: the percentage of prompts where the model's is the longer. `w_len`: the weight
    of tanh(d / sd(d)) in the fit of `length_controlled` (logits; 0 without a fit), negative where length wins.
    `sds_apart`: |mean d| / sd(d); above about 2 equal lengths lie outside the data, and LC is an extrapolation.
    """
    p, delta = _rows(preference, len_output, len_baseline)
    judged = ~np.isnan(p)
    p, delta = p[judged], delta[judged]
    sides = [p[delta < 0], p[delta > 0]]
    (wr_longer, se_longer), (wr_shorter, se_shorter) = (win_rate(s) if len(s) else (np.nan, np.nan) for s in sides)
    spread = delta.std(ddof=1) if np.ptp(delta) > 0 else np.nan
    fit = _length_fit(p - 1, delta)
    return {
        "wr_longer": wr_longer,
        "wr_shorter": wr_shorter,
        "difference": wr_longer - wr_shorter,
        "se": math.hypot(se_longer, se_shorter),
        "longer": float(100 * np.mean(delta < 0)),
        "w_len": fit[0] if fit else 0.0,
        "sds_apart": float(abs(delta.mean()) / spread),
    }


def summary(
    preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike, *, resamples: int = 1000
) -> dict[str, Any]:
    """wr, wr_se, wr_ci ([lo, hi], 95%), discrete_wr and lc (`length_controlled`) in points, n (judged rows) and
    mean_chars (mean of `len_output` over all rows). Arguments, each (n,), and errors as for `length_controlled`."""
    wr, wr_se = win_rate(preference)
    return {
        "wr": wr,
        "wr_se": wr_se,
        "wr_ci": list(bootstrap_interval(preference, resamples=resamples)),
        "discrete_wr": discrete_win_rate(preference),
        "lc": length_controlled(preference, len_output, len_baseline),
        "n": len(_judged(preference)),
        "mean_chars": float(np.mean(_array("len_output", len_output))),
    }


def summarise(annotations: Sequence[Mapping[str, Any]], *, resamples: int = 1000) -> dict[str, Any]:
    """One model's and language's entry of `metrics.json`, from its annotation records.

    A record has `preference`, `output_1` (the baseline's) and `output_2` (the model's). Returns what `summary` does
    and, where records carry them: mean_score, the mean `score_2`, and in_language, the share of true `in_language_2`,
    from 0 to 1. Raises `InputError` naming the record that lacks a key others have.
    """
    preference = _values(annotations, "preference")
    len_output = [len(text) for text in _values(annotations, "output_2")]
    len_baseline = [len(text) for text in _values(annotations, "output_1")]
    entry = summary(preference, len_output, len_baseline, resamples=resamples)
    for key, name in (("score_2", "mean_score"), ("in_language_2", "in_language")):
        if any(key in record for record in annotations):
            entry[name] = float(np.mean(_columns(len(annotations), **{key: _values(annotations, key)})))
    return entry


def mean_over_languages(rows: Mapping[str, Mapping[str, float]], key: str) -> tuple[float, float]:
    """(mean, mean without English) of `key` over {lang: {key: value}}; NaN over no language."""
    every = [row[key] for row in rows.values()]
    others = [row[key] for lang, row in rows.items() if lang != "en"]
    return (float(np.mean(every)) if every else np.nan, float(np.mean(others)) if others else np.nan)


def format_table(
    win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    pooled: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Models by languages as text, a block each for WR±SE and LC in points and for mean characters.

    `win_rates`: {model: {lang: what summarise returns}}. Where entries have `in_language`, a block shows it.
    `mean` and `non-en` are plain means over languages, without an SE: on parallel prompts the languages' errors depend
    on each other. A model that lacks a language has "-" there and no means, which would be over other languages than
    its neighbours'. `pooled`, {model: {"wr", "wr_se", "wr_ci"}} of the preferences that the function `pooled` makes,
    adds a column with an SE that knows of that dependence, and a block of 95% intervals. Raises `InputError` where
    nothing is given.
    """
    languages = list(dict.fromkeys(lang for rows in win_rates.values() for lang in rows))
    if not languages:
        raise InputError("no win rates to show, expected {model: {lang: {...}}}")
    wr, interval = "{wr:.1f}±{wr_se:.1f}", "{wr_ci[0]:.1f}–{wr_ci[1]:.1f}"
    blocks = [("WR±SE", "wr", wr, "{:.1f}", wr)]
    if pooled is not None:
        blocks.append(("WR, 95%", "", interval, "", interval))
    blocks += [("LC", "lc", "{lc:.1f}", "{:.1f}", ""), ("characters", "mean_chars", "{mean_chars:.0f}", "{:.0f}", "")]
    if any("in_language" in row for rows in win_rates.values() for row in rows.values()):
        blocks.append(("in language", "in_language", "{in_language:.1%}", "{:.1%}", ""))
    lines = []
    for title, key, cell, mean_cell, pooled_cell in blocks:
        extra = ["pooled"] if pooled and pooled_cell else []
        table = [[title, *languages, *(["mean", "non-en"] if mean_cell else []), *extra]]
        for model, rows in win_rates.items():
            shown = {lang: row for lang, row in rows.items() if not key or key in row}
            cells = [cell.format(**shown[lang]) if lang in shown else "-" for lang in languages]
            if mean_cell:
                means = mean_over_languages(shown, key) if len(shown) == len(languages) else (np.nan, np.nan)
                cells += ["-" if np.isnan(mean) else mean_cell.format(mean) for mean in means]
            if pooled and pooled_cell:
                cells.append(pooled_cell.format(**pooled[model]) if model in pooled else "-")
            table.append([model, *cells])
        lines += [*_aligned(table), ""]
    return "\n".join(lines[:-1])


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        numbers = (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
    return lines


def _fit(features: Floats, y: Floats, weight: Floats) -> Floats:
    """Coefficients w (k,) of the L1 logistic regression without intercept on soft labels.

    Minimises sum_i weight_i (log(1 + exp(z_i)) - y_i z_i) + |w|_1 / L1_C with z = features @ w; `features`:
    (n, k), `y`: (n,) in [0, 1]. With w = u - v, u >= 0 and v >= 0 the penalty is linear, hence smooth.
    """
    k = features.shape[1]

    def loss(parts: Floats) -> tuple[float, Floats]:
        z = features @ (parts[:k] - parts[k:])
        gradient = features.T @ (weight * (expit(z) - y))
        cross_entropy = weight @ (np.logaddexp(0, z) - y * z)
        return cross_entropy + parts.sum() / L1_C, np.concatenate([gradient, -gradient]) + 1 / L1_C

    options = {"ftol": 1e-15, "maxiter": 1000}
    bounds = [(0, None)] * (2 * k)
    parts = minimize(loss, np.zeros(2 * k), jac=True, bounds=bounds, method="SLSQP", options=options).x
    # Whether the optimum was reached is read from the gradient: so near it, the solver's own status is noise.
    if np.abs(parts - np.maximum(parts - loss(parts)[1], 0)).max() > 1e-3:
        raise InputError("length-controlled fit found no optimum: check lengths and preferences")
    return parts[:k] - parts[k:]


def _length_fit(y: Floats, delta: Floats) -> tuple[float, float] | None:
    """(w_len, w_b) of `length_controlled`; None where preferences, or lengths, do not vary."""
    length = _length_feature(delta)
    # A length column that hardly varies (tanh is flat where all |d| are large and of one sign) is a second
    # constant, and how the fit would divide the win rate between two constants is arbitrary.
    if np.ptp(y) == 0 or np.ptp(length) < 0.01:
        return None
    w_len, w_b = _fit(np.column_stack([length, np.ones_like(y)]), y, np.ones_like(y))
    return float(w_len), float(w_b)


def _length_feature(delta: Floats) -> Floats:
    """tanh(d / sd(d)), sd with ddof=1 and d not centred; 0 where all d are equal."""
    return np.tanh(delta / delta.std(ddof=1)) if np.ptp(delta) > 0 else np.zeros_like(delta)


def _bootstrap_mean(values: Floats, level: float, resamples: int, seed: int) -> tuple[float, float]:
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"bootstrap: expected level in (0, 1), resamples >= 1, got {level} and {resamples}")
    means = _resamples(len(values), resamples, seed) @ values / len(values)
    lo, hi = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(lo), float(hi)


@lru_cache(maxsize=1)  # models and languages of one table have the same prompts
def _resamples(n: int, resamples: int, seed: int) -> Floats:
    """(resamples, n): how often each of n rows was drawn, n draws with replacement in each resample."""
    rows = np.random.default_rng(seed).integers(0, n, size=(resamples, n))
    places = rows + n * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def _array(name: str, values: ArrayLike) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers ({error})") from error
    if array.ndim != 1:
        raise InputError(f"{name}: expected one number a row, got an array of shape {array.shape}")
    return array


def _preferences(preference: ArrayLike) -> Floats:
    """Checked preferences (n,), NaN where there was no judgement."""
    p = _array("preference", preference)
    wrong = np.flatnonzero((p < 1) | (p > 2))
    if len(wrong):
        row = wrong[0]
        raise InputError(f"preference: row {row} is {p[row]:g}, expected 1 (baseline wins) to 2 (model wins)")
    if np.isnan(p).all():
        raise InputError(f"preference: none of {len(p)} rows was judged, expected numbers in [1, 2]")
    return p


def _judged(preference: ArrayLike) -> Floats:
    """y = p - 1 of the judged rows."""
    p = _preferences(preference)
    return p[~np.isnan(p)] - 1


def _columns(n: int, **columns: ArrayLike) -> list[Floats]:
    """The columns as float arrays, each of n finite numbers."""
    arrays = []
    for name, values in columns.items():
        array = _array(name, values)
        if len(array) != n:
            raise InputError(f"{name}: expected {n} numbers, one a row, got {len(array)}")
        if not np.isfinite(array).all():
            raise InputError(f"{name}: row {np.flatnonzero(~np.isfinite(array))[0]} is not a finite number")
        arrays.append(array)
    return arrays


def _rows(preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike) -> tuple[Floats, Floats]:
    """Preferences (NaN where not judged) and len_baseline - len_output, both (n,)."""
    p = _preferences(preference)
    output, baseline = _columns(len(p), len_output=len_output, len_baseline=len_baseline)
    if min(output.min(), baseline.min()) < 0:
        raise InputError("len_output and len_baseline: expected at least 0 characters")
    return p, baseline - output


def _values(annotations: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    for row, record in enumerate(annotations):
        if key not in record:
            raise InputError(f"annotation {row} (id {record.get('id')}): the key {key!r} is missing")
    return [record[key] for record in annotations]
