"""The table of a sweep: what each setting of a grid came to, and what each value changed."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

import numpy as np
import pandas as pd

from xlnb.analysis.evidence import non_english
from xlnb.analysis.read import Record
from xlnb.common.intervals import seed_interval

# What is measured on a run by name: win rates in points, accuracies from 0 to 1.
Measures = dict[str, float]

# Scores whose accuracy stands beside the win rates where there is truth.
SCORES = ("cross_lingual", "likelihood")
NON_ENGLISH = "win rate, non-en"


def measures(metrics: Record, model: str) -> Measures:
    """Of a run's metrics: a model's win rates, mean over languages other than English and each, and
    the mean accuracy of scores over those languages under the last policy that scored."""
    by_lang = {lang: entry["wr"] for lang, entry in metrics["win_rates"][model].items()}
    others = [wr for lang, wr in by_lang.items() if lang != "en"]
    found = {NON_ENGLISH: mean(others)} if others else {}
    found |= {f"win rate, {lang}": wr for lang, wr in by_lang.items()}
    tables = list((metrics["rewards_shared"] or metrics["rewards"]).values())
    accuracies = non_english(tables[-1]) if tables and tables[-1] else {}
    for scorer in SCORES:
        if scorer in accuracies:
            found[f"accuracy, {scorer}"] = float(accuracies[scorer])
    return found


def sweep_table(
    axes: Mapping[str, Sequence[str]], points: Iterable[tuple[Mapping[str, str], Measures]]
) -> pd.DataFrame:
    """A row a setting, which is a point but for its seed, and measure: mean, low and high, the 95%
    interval over seeds (NaN for one seed), and how many seeds.

    `against` is empty there. Else it names a key's first value, and the row has the differences of
    the setting from the one with that value, over the seeds that both have. Points: their values
    and what was measured on them.
    """
    keys = [key for key in axes if key != "seed"]
    # {setting: {measure: {seed: value}}}
    settings: dict[tuple[str, ...], dict[str, dict[str, float]]] = {}
    for values, measured in points:
        setting = settings.setdefault(tuple(values[key] for key in keys), {})
        for name, value in measured.items():
            setting.setdefault(name, {})[values.get("seed", "")] = value
    rows = []
    for chosen, setting in settings.items():
        for name, by_seed in setting.items():
            rows.append(_row(keys, chosen, "", name, list(by_seed.values())))
    for place, key in enumerate(keys):
        first = axes[key][0]
        for chosen, setting in settings.items():
            base = settings.get((*chosen[:place], first, *chosen[place + 1 :]), {})
            for name, by_seed in setting.items() if chosen[place] != first else ():
                before = base.get(name, {})
                gains = [by_seed[seed] - before[seed] for seed in by_seed if seed in before]
                if gains:
                    rows.append(_row(keys, chosen, f"{key}={first}", name, gains))
    return pd.DataFrame(rows)


def _row(
    keys: Sequence[str], chosen: Sequence[str], against: str, measure: str, values: list[float]
) -> dict[str, object]:
    middle, low, high = mean(values), np.nan, np.nan
    if len(values) > 1:
        middle, low, high = seed_interval(values)
    row: dict[str, object] = dict(zip(keys, chosen, strict=True))
    row |= {"against": against, "measure": measure, "seeds": len(values)}
    return row | {"mean": middle, "low": low, "high": high}


def setting_names(table: pd.DataFrame) -> pd.Series:
    """Each row's setting in words, and what it is compared with."""
    keys = list(table.columns[: table.columns.get_loc("against")])
    names = []
    for _, row in table.iterrows():
        name = " ".join(f"{key}={row[key]}" for key in keys) or "all"
        names.append(f"{name} − {row['against']}" if row["against"] else name)
    return pd.Series(names, index=table.index)


def in_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Settings and differences by measures, in words."""
    cells = []
    for _, row in table.iterrows():
        digits = 3 if row["measure"].startswith("accuracy") else 1
        cell = f"{row['mean']:.{digits}f}"
        if row["seeds"] > 1:
            cell += f" [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
        cells.append(cell)
    wide = table.assign(cell=cells, setting=setting_names(table))
    shown = wide.pivot(index="setting", columns="measure", values="cell")
    order = dict.fromkeys(wide["setting"]), dict.fromkeys(wide["measure"])
    shown = shown.loc[list(order[0]), list(order[1])].fillna("")
    seeds = wide.groupby("setting")["seeds"].max()
    shown.insert(0, "seeds", seeds.loc[list(order[0])].astype(str))
    return shown.rename_axis(index=None, columns=None)
