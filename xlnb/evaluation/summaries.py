"""One model's and language's entry of a table and of metrics.json: the one way from annotations to
win rates."""

from typing import NotRequired, TypedDict

import numpy as np

from xlnb.common.errors import InputError
from xlnb.common.intervals import clusters_of
from xlnb.evaluation.judged import Judged
from xlnb.evaluation.leaderboard import Leaderboard, leaderboard_lc
from xlnb.evaluation.pass_rates import PassRate, pass_rates
from xlnb.evaluation.runs import split_error
from xlnb.winrates import (
    bootstrap_interval,
    discrete_win_rate,
    judged_wins,
    length_controlled,
    win_rate,
)


class WinRate(TypedDict):
    """Points, but where it says otherwise."""

    wr: float
    # AlpacaEval's, of rows as independent draws
    wr_se: float
    # the parts of its SE that prompts and sampling have, where prompts have several responses
    wr_se_prompts: NotRequired[float]
    wr_se_sampling: NotRequired[float]
    runs: NotRequired[int]
    # [lo, hi], 95%, of clusters as independent draws: the lab's prompts of one fact are one
    wr_ci: list[float]
    discrete_wr: float
    lc: float
    # judged rows, and the clusters that they are in
    n: int
    clusters: int
    # of all rows
    mean_chars: float
    # where the judge gives a score
    mean_score: NotRequired[float]
    # a share, 0 to 1, where it is known
    in_language: NotRequired[float]
    # by kind, where prompts carry checks
    checks: NotRequired[dict[str, PassRate]]


def summarise(
    judged: Judged, *, resamples: int = 1000, leaderboard: Leaderboard | None = None
) -> WinRate:
    """The win rate of one file.

    With `leaderboard`, from `read_leaderboard`, lc is AlpacaEval's; without, that for other data.
    The two do not compare. Raises InputError naming the file.
    """
    try:
        return _entry(judged, resamples, leaderboard)
    except InputError as error:
        raise InputError(f"{judged.path}: {error}") from None


def _entry(judged: Judged, resamples: int, leaderboard: Leaderboard | None) -> WinRate:
    wr, wr_se = win_rate(judged.preference)
    if leaderboard:
        lc = leaderboard_lc(judged, leaderboard)
    else:
        lc = length_controlled(judged.preference, judged.len_output, judged.len_baseline)
    clusters = judged.clusters
    interval = bootstrap_interval(judged.preference, clusters=clusters, resamples=resamples)
    counted = set(clusters_of(~np.isnan(judged.preference), clusters))
    entry: WinRate = {
        "wr": wr,
        "wr_se": wr_se,
        "wr_ci": list(interval),
        "discrete_wr": discrete_win_rate(judged.preference),
        "lc": lc,
        "n": len(judged_wins(judged.preference)),
        "clusters": len(counted),
        "mean_chars": float(np.mean(judged.len_output)),
    }
    if judged.runs is not None:
        entry["wr_se_prompts"], entry["wr_se_sampling"] = split_error(judged.runs)
        entry["runs"] = max(map(len, judged.runs))
    if judged.score is not None:
        entry["mean_score"] = float(np.mean(judged.score))
    if judged.in_language is not None:
        entry["in_language"] = float(np.mean(judged.in_language))
    if judged.met is not None:
        entry["checks"] = pass_rates(judged.met, clusters, resamples=resamples)
    return entry
