"""Runs that differ in their seed: what they have in common, what is gained within each, and how far
they scatter. A record is what `read.several` returns of a run."""

from collections.abc import Sequence
from statistics import mean, stdev

import pandas as pd

from xlnb.analysis.read import Record
from xlnb.common.errors import InputError
from xlnb.common.intervals import seed_interval, t_p_value
from xlnb.presets.files import dotted
from xlnb.presets.grid import Axes
from xlnb.winrates import PairedDifference

NON_ENGLISH = "non-en"

# By language, and for the mean of those but English: a win rate (points) a run.
Columns = dict[str, list[float]]


def settings(records: Sequence[Record]) -> tuple[Axes, list[dict[str, str]]]:
    """The preset's keys in which runs differ, `seed` last, with their values; and each run's. Keys
    that only some presets have, of other versions, are not compared.

    Raises InputError where two runs have one seed and setting: they are one draw, and an interval
    over both would be too narrow.
    """
    presets = [dotted(record["preset"]) for record in records]
    common = set(presets[0]).intersection(*presets[1:])
    axes: Axes = {}
    for key in sorted(common, key=lambda key: (key == "seed", key)):
        found = list(dict.fromkeys(str(preset[key]) for preset in presets))
        if len(found) > 1 or key == "seed":
            axes[key] = found
    values: list[dict[str, str]] = []
    for preset in presets:
        values.append({key: str(preset[key]) for key in axes})
    for place, one in enumerate(values):
        first = values.index(one)
        if first < place:
            same = f"has the seed and settings of {records[first]['where']}"
            raise InputError(f"{records[place]['where']} {same}; leave one of them out")
    return axes, values


def by_column(tables: Sequence[dict[str, float]]) -> Columns:
    """A list over runs for each language, English first, and for the mean of the others."""
    langs = ["en", *(lang for lang in tables[0] if lang != "en")]
    found: Columns = {}
    for lang in langs:
        found[lang] = [table[lang] for table in tables]
    others = [found[lang] for lang in langs if lang != "en"]
    found[NON_ENGLISH] = [mean(values) for values in zip(*others, strict=True)]
    return found


def win_rates(records: Sequence[Record], key: str = "wr") -> dict[str, Columns]:
    """Of every model that all runs have, its win rates, or another key of its entries."""
    rows = {}
    for model in records[0]["win_rates"]:
        if all(model in record["win_rates"] for record in records):
            tables = []
            for record in records:
                by_lang = record["win_rates"][model]
                tables.append({lang: entry[key] for lang, entry in by_lang.items()})
            rows[model] = by_column(tables)
    return rows


def gain(rows: dict[str, Columns], before: str, after: str) -> Columns:
    """One model's win rates less another's of the same run."""
    found = {}
    for column, values in rows[before].items():
        found[column] = [b - a for a, b in zip(values, rows[after][column], strict=True)]
    return found


def told(gains: Columns) -> dict[str, PairedDifference]:
    """Gains with their interval over runs and the p value of t, as `figures.win_rates.gains` draws
    them. Raises InputError for a single run."""
    found: dict[str, PairedDifference] = {}
    for column, values in gains.items():
        middle, low, high = seed_interval(values)
        se = stdev(values) / len(values) ** 0.5
        found[column] = {
            "difference": middle,
            "se": se,
            "ci": [low, high],
            "p_value": t_p_value(middle, se, len(values)),
            "n": len(values),
            "clusters": len(values),
        }
    return found


def spread(records: Sequence[Record], before: str, after: str) -> pd.DataFrame:
    """A row a language, standard deviations over runs (points): of two models' win rates and of the
    gain from one to the other; and the standard error that a single run gives the second."""
    rows, errors = win_rates(records), win_rates(records, "wr_se")[after]
    gained = gain(rows, before, after)
    found = {}
    for column in gained:
        found[column] = {
            "sd before": stdev(rows[before][column]),
            "sd after": stdev(rows[after][column]),
            "sd of the gain": stdev(gained[column]),
            "SE of one run": mean(errors[column]),
        }
    # A mean over languages is no win rate of one set of prompts.
    found[NON_ENGLISH].popitem()
    return pd.DataFrame(found).T
