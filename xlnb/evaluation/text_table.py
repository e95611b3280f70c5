"""Win rates as text: models by languages, a block each for what is shown of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from xlnb.common.errors import InputError

Entry = Mapping[str, Any]


def mean_over_languages(rows: Mapping[str, Mapping[str, float]], key: str) -> tuple[float, float]:
    """(mean, mean without English) of `key` over {lang: {key: value}}; NaN over no language."""
    every = [row[key] for row in rows.values()]
    others = [row[key] for lang, row in rows.items() if lang != "en"]
    return (
        float(np.mean(every)) if every else np.nan,
        float(np.mean(others)) if others else np.nan,
    )


def format_table(
    win_rates: Mapping[str, Mapping[str, Entry]], *, pooled: Mapping[str, Entry] | None = None
) -> str:
    """Models by languages as text, a block each for WR±SE and LC in points and for mean characters.

    `win_rates`: {model: {lang: what `summarise` returns}}. Where entries have `in_language`, a
    block shows it. `mean` and `non-en` are plain means over languages, without an SE: on parallel
    prompts the languages' errors depend on each other. A model that lacks a language has "-" there
    and no means, which would be over other languages than its neighbours'. `pooled`, what
    `pooled_win_rates` returns, adds a column with an SE that knows of that dependence, and a block
    of 95% intervals. Raises InputError where nothing is given.
    """
    languages = list(dict.fromkeys(lang for rows in win_rates.values() for lang in rows))
    if not languages:
        raise InputError("no win rates to show, expected {model: {lang: {...}}}")

    def cells(key: str, show: Callable[[Entry], str]) -> pd.DataFrame:
        rows = {}
        for model, entries in win_rates.items():
            found = [entries.get(lang, {}) for lang in languages]
            rows[model] = [show(entry) if key in entry else "-" for entry in found]
        return pd.DataFrame.from_dict(rows, orient="index", columns=languages)

    def means(key: str, form: str) -> pd.DataFrame:
        rows = {}
        for model, entries in win_rates.items():
            complete = all(key in entries.get(lang, {}) for lang in languages)
            found = mean_over_languages(entries, key) if complete else (np.nan, np.nan)
            rows[model] = ["-" if np.isnan(mean) else format(mean, form) for mean in found]
        return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "non-en"])

    def together(show: Callable[[Entry], str]) -> list[pd.DataFrame]:
        if not pooled:
            return []
        found = [show(pooled[model]) if model in pooled else "-" for model in win_rates]
        return [pd.DataFrame({"pooled": found}, index=list(win_rates))]

    def values(key: str, form: str) -> list[pd.DataFrame]:
        return [cells(key, lambda entry: format(entry[key], form)), means(key, form)]

    blocks = {"WR±SE": [cells("wr", _with_error), means("wr", ".1f"), *together(_with_error)]}
    if pooled is not None:
        blocks["WR, 95%"] = [cells("wr", _interval), *together(_interval)]
    blocks["LC"] = values("lc", ".1f")
    blocks["characters"] = values("mean_chars", ".0f")
    if any("in_language" in entry for rows in win_rates.values() for entry in rows.values()):
        blocks["in language"] = values("in_language", ".1%")
    return "\n\n".join(_text(title, parts) for title, parts in blocks.items())


def _with_error(entry: Entry) -> str:
    return f"{entry['wr']:.1f}±{entry['wr_se']:.1f}"


def _interval(entry: Entry) -> str:
    low, high = entry["wr_ci"]
    return f"{low:.1f}–{high:.1f}"


def _text(title: str, parts: Sequence[pd.DataFrame]) -> str:
    """Tables side by side as lines, numbers to the right, under a title."""
    table = pd.concat(parts, axis=1)
    # pandas puts one space between columns of text: with these it is two.
    return table.map(" {}".format).add_prefix(" ").rename_axis(columns=title).to_string()
