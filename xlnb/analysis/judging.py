"""Annotations by model and language: who wins, and how judges agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xlnb.analysis.read import Record, as_annotation
from xlnb.common.columns import Floats
from xlnb.evaluation.alpaca_eval import Annotation
from xlnb.evaluation.biases import position_bias
from xlnb.evaluation.comparisons import read_comparisons
from xlnb.judges.protocol import Judge
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


def first_decided(records: Sequence[Record]) -> Record:
    """The first comparison that somebody won; where nobody did, the first of all."""
    decided = [record for record in records if record["preference"] not in (1.5, None)]
    return (decided or list(records))[0]


def checks(judge: Judge, annotations: Annotations, most: int) -> pd.DataFrame:
    """Three checks of a judge on the first `most` comparisons of every model and language: asked
    again, with the responses swapped, and with the baseline's against itself."""
    changes: dict[str, list[float]] = {"repeat": [], "swap": [], "self": []}
    for record in first_of_each(annotations, most):
        asked = as_annotation(record)
        itself = replace(asked, output_2=asked.output_1)
        asks = (asked, asked, swapped(asked), itself)
        said, again, back, tie = preferences([judge(each) for each in asks])
        changes["repeat"].append(again - said)
        changes["swap"].append(back - (3 - said))
        changes["self"].append(tie - 1.5)
    table = pd.DataFrame(changes, dtype=float).abs()
    told = {"comparisons": table.count(), "fail": (table > 1e-6).sum(), "mean change": table.mean()}
    return pd.DataFrame(told, index=list(changes))


def agreement(said: Floats, other: Floats) -> dict[str, float]:
    """Two judges on the same comparisons, (n,) preferences each: win rates and agreement, in %."""
    both = (said != 1.5) & (other != 1.5) & ~np.isnan(said) & ~np.isnan(other)
    same = (said > 1.5)[both] == (other > 1.5)[both]
    return {
        "WR, the run's judge (%)": win_rate(said)[0],
        "WR, the other judge (%)": win_rate(other)[0],
        "agree where both decide (%)": 100 * np.mean(same) if both.any() else np.nan,
        "ties of the run's judge (%)": 100 * np.mean(said == 1.5),
    }


def agreement_table(
    annotations: Annotations, models: Sequence[str], judge: Callable[[str, str], float]
) -> pd.DataFrame:
    """`agreement` of the run's judge with a function of two texts, a row a model."""
    rows = {}
    for model in models:
        records = all_languages(annotations[model])
        other = [judge(record["output_1"], record["output_2"]) for record in records]
        rows[model] = agreement(preferences(records), np.array(other, float))
    return pd.DataFrame(rows).T


def all_languages(by_lang: Mapping[str, Sequence[Record]]) -> list[Record]:
    """One model's comparisons, those of a language after those of the one before."""
    found: list[Record] = []
    for records in by_lang.values():
        found += records
    return found


def flipped_win_rates(
    annotations: Annotations, models: Sequence[str], shares: Sequence[float], seed: int
) -> pd.DataFrame:
    """Win rates over all languages, models by the share of verdicts that were turned round."""
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, float]] = {}
    for model in models:
        said = preferences(all_languages(annotations[model]))
        rows[model] = {}
        for share in shares:
            turned = rng.random(len(said)) < share
            rows[model][f"{share:.0%} flipped"] = win_rate(np.where(turned, 3 - said, said))[0]
    return pd.DataFrame(rows).T


def asked_both_ways(judge: Judge, records: Sequence[Record]) -> dict[str, float]:
    """What a language model that is asked in both orders (`evaluation.judge_order=both`) says of
    comparisons, beside the run's judge: counts, points and per cent; NaN where it says too little.
    """
    verdicts = [judge(as_annotation(record)) for record in records]
    judged = [verdict for verdict in verdicts if verdict["preference"] is not None]
    found = {"comparisons": len(records), "verdicts": len(judged)}
    names = ("worth of being shown first", "± SE", "same winner both ways (%)")
    bias = dict.fromkeys(names, np.nan)
    if len(judged) > 1:
        shown_first = [verdict["preference_shown_first"] for verdict in judged]
        shown_second = [verdict["preference_shown_second"] for verdict in judged]
        measured = position_bias(shown_first, shown_second)
        bias = dict(zip(names, itemgetter("bias", "se", "agreement")(measured), strict=True))
    if not judged:
        return found | bias | {"agrees with the run's judge (%)": np.nan}
    both = agreement(preferences(records), preferences(verdicts))
    return found | bias | {"agrees with the run's judge (%)": both["agree where both decide (%)"]}


def by_language(
    annotations: Annotations, value: Callable[[Sequence[Record]], float]
) -> pd.DataFrame:
    """`value` of every model's annotations, models by languages, and the mean over languages."""
    rows = {}
    for model, by_lang in annotations.items():
        rows[model] = {lang: value(records) for lang, records in by_lang.items()}
    table = pd.DataFrame(rows).T
    return table.assign(mean=table.mean(axis=1))


def language_first(
    annotations: Annotations, value: Callable[[Sequence[Record]], Any]
) -> dict[str, dict[str, Any]]:
    """`value` of every model's annotations: {lang: {model: value}}."""
    found: dict[str, dict[str, Any]] = {}
    for model, by_lang in annotations.items():
        for lang, records in by_lang.items():
            found.setdefault(lang, {})[model] = value(records)
    return found


def scores(records: Sequence[Record]) -> list[float]:
    """The oracle's points."""
    return [record["score_2"] for record in records]


def mean_score(records: Sequence[Record]) -> float:
    """The oracle's mean points."""
    return float(np.mean(scores(records)))


def in_language(records: Sequence[Record]) -> float:
    """Percent of responses in the asked language; NaN where the detector does not know it."""
    return float(100 * np.mean([record.get("in_language_2", np.nan) for record in records]))


def mean_length(records: Sequence[Record]) -> float:
    """Characters."""
    return float(np.mean([len(record["output_2"]) for record in records]))


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


def published_lengths(folder: Path, baseline: str, langs: Sequence[str]) -> pd.DataFrame:
    """`length_row` of every model's file <lang>/gpt-*.json but the baseline's, where it is there,
    in these languages."""
    rows = {}
    for path in sorted(folder.glob("*/gpt-*.json")):
        lang, theirs = path.parent.name, path.with_name(f"{baseline}.json")
        if path != theirs and theirs.exists() and lang in langs:
            compared = read_comparisons(path, theirs, lang, annotator="")
            rows[path.stem, lang] = length_row(compared)
    return pd.DataFrame(rows).T
