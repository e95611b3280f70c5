"""One model's win rates in one language, with all that stands beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xlnb.common.errors import InputError
from xlnb.winrates import (
    bootstrap_interval,
    discrete_win_rate,
    judged_wins,
    length_controlled,
    number_columns,
    numbers,
    win_rate,
)


def summary(
    preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike, *, resamples: int = 1000
) -> dict[str, Any]:
    """wr, wr_se, wr_ci ([lo, hi], 95%), discrete_wr and lc (`length_controlled`) in points, n
    (judged rows) and mean_chars (mean of `len_output` over all rows). Arguments, each (n,), and
    errors as for `length_controlled`."""
    wr, wr_se = win_rate(preference)
    return {
        "wr": wr,
        "wr_se": wr_se,
        "wr_ci": list(bootstrap_interval(preference, resamples=resamples)),
        "discrete_wr": discrete_win_rate(preference),
        "lc": length_controlled(preference, len_output, len_baseline),
        "n": len(judged_wins(preference)),
        "mean_chars": float(np.mean(numbers("len_output", len_output))),
    }


def summarise(annotations: Sequence[Mapping[str, Any]], *, resamples: int = 1000) -> dict[str, Any]:
    """One model's and language's entry of `metrics.json`, from its annotation records.

    A record has `preference`, `output_1` (the baseline's) and `output_2` (the model's). Returns
    what `summary` does and, where records carry them: mean_score, the mean `score_2`, and
    in_language, the share of true `in_language_2`, from 0 to 1. Raises `InputError` naming the
    record that lacks a key others have.
    """
    preference = record_values(annotations, "preference")
    len_output = [len(text) for text in record_values(annotations, "output_2")]
    len_baseline = [len(text) for text in record_values(annotations, "output_1")]
    entry = summary(preference, len_output, len_baseline, resamples=resamples)
    for key, name in (("score_2", "mean_score"), ("in_language_2", "in_language")):
        if any(key in record for record in annotations):
            entry[name] = float(
                np.mean(number_columns(len(annotations), **{key: record_values(annotations, key)}))
            )
    return entry


def record_values(annotations: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    for row, record in enumerate(annotations):
        if key not in record:
            raise InputError(
                f"annotation {row} (id {record.get('id')}): the key {key!r} is missing"
            )
    return [record[key] for record in annotations]
