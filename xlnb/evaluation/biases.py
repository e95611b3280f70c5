"""What moves a judge beside quality: the order in which responses are shown, and their length."""

import math

import numpy as np
from numpy.typing import ArrayLike

from xlnb.common.columns import Floats
from xlnb.common.errors import InputError
from xlnb.winrates import (
    checked_preferences,
    checked_rows,
    length_fit,
    paired_difference,
    win_rate,
)


def position_bias(shown_first: ArrayLike, shown_second: ArrayLike) -> dict[str, float]:
    """What being shown first is worth to a response, in points: 0 = nothing, 50 = the first shown
    always wins.

    `shown_first`, `shown_second`: (n,), a prompt's preference where the judge read the model's
    response first, and second; NaN where it was not asked so. bias = half the win rate of the first
    less that of the second, with its `se` and `n`, the prompts behind it. Prompts judged in both
    orders are compared with themselves, and `agreement` is the percentage of them with one and the
    same winner; without any, the two groups are compared and it is NaN. Raises InputError where
    lengths differ, one way was never judged, or a single prompt was judged both ways.
    """
    first = checked_preferences(shown_first)
    second = checked_preferences(shown_second)
    if len(first) != len(second):
        raise InputError(
            f"position bias: {len(first)} shown first, {len(second)} second, expected the same "
            "prompts"
        )
    both = ~np.isnan(first - second)
    if both.any():
        pair = paired_difference(first[both], second[both])
        same_winner = np.sign(first[both] - 1.5) == np.sign(second[both] - 1.5)
        return {
            "bias": pair["difference"] / 2,
            "se": pair["se"] / 2,
            "agreement": float(100 * np.mean(same_winner)),
            "n": int(both.sum()),
        }
    wr_first, se_first = win_rate(first)
    wr_second, se_second = win_rate(second)
    return {
        "bias": (wr_first - wr_second) / 2,
        "se": math.hypot(se_first, se_second) / 2,
        "agreement": np.nan,
        "n": int(np.sum(~np.isnan([first, second]))),
    }


def length_bias(
    preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike
) -> dict[str, float]:
    """How the verdict goes with length, arguments as for `length_controlled`.

    `wr_longer` and `wr_shorter`: the win rate in points where the model's response is the longer,
    the shorter one (NaN where it never is); `difference` of the two with its `se`: 0 for a judge
    whom length does not move, if length says nothing of quality. `longer`: the percentage of
    prompts where the model's is the longer. `w_len`: the weight of tanh(d / sd(d)) in the fit of
    `length_controlled` (logits; 0 without a fit), negative where length wins. `sds_apart`:
    |mean d| / sd(d); above about 2 equal lengths lie outside the data, and LC is an extrapolation.
    """
    p, delta = checked_rows(preference, len_output, len_baseline)
    judged = ~np.isnan(p)
    p = p[judged]
    delta = delta[judged]
    wr_longer, se_longer = _win_rate_or_nan(p[delta < 0])
    wr_shorter, se_shorter = _win_rate_or_nan(p[delta > 0])
    spread = delta.std(ddof=1) if np.ptp(delta) > 0 else np.nan
    fit = length_fit(p - 1, delta)
    return {
        "wr_longer": wr_longer,
        "wr_shorter": wr_shorter,
        "difference": wr_longer - wr_shorter,
        "se": math.hypot(se_longer, se_shorter),
        "longer": float(100 * np.mean(delta < 0)),
        "w_len": fit[0] if fit else 0.0,
        "sds_apart": float(abs(delta.mean()) / spread),
    }


def _win_rate_or_nan(preference: Floats) -> tuple[float, float]:
    return win_rate(preference) if len(preference) else (np.nan, np.nan)
