"""Annotations by model and language: who wins, and how judges agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from xlnb.analysis.read import Record
from xlnb.common.columns import Floats
from xlnb.evaluation.alpaca_eval import Annotation
from xlnb.winrates import win_rate

Annotations = Mapping[str, Mapping[str, Sequence[Record]]]


def preferences(records: Sequence[Record]) -> Floats:
    """(n,) from 1 (the baseline wins) to 2 (the model does); NaN where there is no judgement."""
    return np.array([record["preference"] for record in records], float)


def first_of_each(annotations: Annotations, most: int) -> list[Record]:
    """The first comparisons of every model and language."""
    found: list[Record] = []
    for by_lang in annotations.values():
        for records in by_lang.values():
            found += records[:most]
    return found


def swapped(asked: Annotation) -> Annotation:
    """The same comparison with the two responses in each other's place."""
    return replace(asked, output_1=asked.output_2, output_2=asked.output_1)


def agreement(said: Floats, other: Floats) -> dict[str, float]:
    """Two judges on the same comparisons, (n,) preferences each: win rates and agreement, in %."""
    both = (said != 1.5) & (other != 1.5) & ~np.isnan(said)
    same = (said > 1.5)[both] == (other > 1.5)[both]
    return {
        "WR, the judge (%)": win_rate(said)[0],
        "WR, longer (%)": win_rate(other)[0],
        "agree where both decide (%)": 100 * np.mean(same) if both.any() else np.nan,
        "ties of the judge (%)": 100 * np.mean(said == 1.5),
    }


def by_language(
    annotations: Annotations, value: Callable[[Sequence[Record]], float]
) -> pd.DataFrame:
    """`value` of every model's annotations, models by languages, and the mean over languages."""
    rows = {}
    for model, by_lang in annotations.items():
        rows[model] = {lang: value(records) for lang, records in by_lang.items()}
    table = pd.DataFrame(rows).T
    return table.assign(mean=table.mean(axis=1))


def mean_score(records: Sequence[Record]) -> float:
    """The oracle's mean points."""
    return float(np.mean([record["score_2"] for record in records]))


def in_language(records: Sequence[Record]) -> float:
    """Percent of responses in the asked language; NaN where the detector does not know it."""
    return float(100 * np.mean([record.get("in_language_2", np.nan) for record in records]))


def mean_length(records: Sequence[Record]) -> float:
    """Characters."""
    return float(np.mean([len(record["output_2"]) for record in records]))


def length_deviation(records: Sequence[Record]) -> float:
    """Standard deviation of the length, in characters."""
    return float(np.std([len(record["output_2"]) for record in records], ddof=1))


def length_row(compared: Sequence[Annotation]) -> dict[str, float]:
    """What responses look like beside their baseline's, without a judge."""
    lengths = np.array([[len(row.output_2), len(row.output_1)] for row in compared])
    longer = lengths[:, 0] - lengths[:, 1]
    return {
        "mean characters": lengths[:, 0].mean(),
        "longer than the baseline's (%)": 100 * np.mean(longer > 0),
        "in the asked language (%)": 100 * np.mean([row.in_language_2 for row in compared]),
        "WR by length alone (%)": 50 + 50 * np.sign(longer).mean(),
    }
