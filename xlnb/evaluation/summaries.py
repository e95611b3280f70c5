"""One model's and language's entry of a table and of metrics.json: the one way from annotations to
win rates."""

from typing import Any

import numpy as np

from xlnb.common.errors import InputError
from xlnb.evaluation.annotations import Judged
from xlnb.evaluation.leaderboard import Leaderboard, leaderboard_lc
from xlnb.winrates import (
    bootstrap_interval,
    discrete_win_rate,
    judged_wins,
    length_controlled,
    win_rate,
)


def summarise(
    judged: Judged, *, resamples: int = 1000, leaderboard: Leaderboard | None = None
) -> dict[str, Any]:
    """wr, wr_se, wr_ci ([lo, hi], 95%), discrete_wr and lc in points, n (judged rows), mean_chars
    (of all rows) and, where the judge gave them, mean_score and in_language (a share, 0 to 1).

    With `leaderboard`, from `read_leaderboard`, lc is AlpacaEval's; without, that for other data.
    The two do not compare. Raises InputError naming the file.
    """
    try:
        return _entry(judged, resamples, leaderboard)
    except InputError as error:
        raise InputError(f"{judged.path}: {error}") from None


def _entry(judged: Judged, resamples: int, leaderboard: Leaderboard | None) -> dict[str, Any]:
    wr, wr_se = win_rate(judged.preference)
    if leaderboard:
        lc = leaderboard_lc(judged, leaderboard)
    else:
        lc = length_controlled(judged.preference, judged.len_output, judged.len_baseline)
    entry = {
        "wr": wr,
        "wr_se": wr_se,
        "wr_ci": list(bootstrap_interval(judged.preference, resamples=resamples)),
        "discrete_wr": discrete_win_rate(judged.preference),
        "lc": lc,
        "n": len(judged_wins(judged.preference)),
        "mean_chars": float(np.mean(judged.len_output)),
    }
    if judged.score is not None:
        entry["mean_score"] = float(np.mean(judged.score))
    if judged.in_language is not None:
        entry["in_language"] = float(np.mean(judged.in_language))
    return entry
