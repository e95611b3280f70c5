"""A failure planted in one language of a judged run, and what shows of it in tables."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from xlnb.analysis.judging import Annotations, in_language, mean_length, preferences
from xlnb.analysis.read import Record, as_annotation
from xlnb.analysis.responses import verdict
from xlnb.judges.protocol import Judge
from xlnb.winrates import win_rate


def planted(
    annotations: Annotations, model: str, lang: str, judge: Judge
) -> dict[str, list[Record]]:
    """One model's comparisons, those of one language spoilt and judged again.

    How is what an exercise asks: `exercises.win_rates.CAUSES`, number 3.
    """
    found = {code: list(records) for code, records in annotations[model].items()}
    responses = [record["output_2"] for record in found[lang]]
    spoilt = []
    for record, response in zip(found[lang], responses[1:] + responses[:1], strict=True):
        asked = replace(as_annotation(record), output_2=response)
        spoilt.append({**record, "output_2": response, **judge(asked)})
    return {**found, lang: spoilt}


def symptoms(by_lang: dict[str, list[Record]]) -> pd.DataFrame:
    """A row a language of the lab: what may tell one failure from another, in per cent, and the
    mean characters."""
    rows = {}
    for lang, records in by_lang.items():
        seen = [verdict(record["id"], lang, record["output_2"]) for record in records]
        same = [record["output_1"] == record["output_2"] for record in records]
        rows[lang] = {
            "WR": win_rate(preferences(records))[0],
            "in the asked language": in_language(records),
            "polite": 100 * np.mean([each.features["formal"] for each in seen]),
            "refuses": 100 * np.mean([each.features["refuses"] for each in seen]),
            "as the baseline's": 100 * np.mean(same),
            "characters": mean_length(records),
        }
    return pd.DataFrame(rows).T


def beside_questions(records: Sequence[Record], most: int) -> pd.DataFrame:
    """The first comparisons: question, response, and who won."""
    winners = {1.0: "baseline", 1.5: "nobody", 2.0: "model"}
    rows = []
    for record in records[:most]:
        winner = winners[record["preference"]]
        rows.append((record["instruction"], record["output_2"], winner))
    return pd.DataFrame(rows, columns=["question", "response", "winner"])
