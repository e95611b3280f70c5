"""Win rates as text: models by languages, a block each for what is shown of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from xlnb.common.errors import InputError
from xlnb.common.text import in_one_line

Entry = Mapping[str, Any]
# A header, and a cell a model.
Column = list[str]


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
    block shows it, and where they have `checks`, a block each the share of responses that meet
    them. `mean` and `non-en` are plain means over languages, without an SE: on parallel prompts the
    languages' errors depend on each other. A model that lacks a language has "-" there and no
    means, which would be over other languages than its neighbours'. `pooled`, what
    `pooled_win_rates` returns, adds a column with an SE that knows of that dependence, and a block
    of 95% intervals, whose title says where prompts are clustered. Raises InputError where
    nothing is given.
    """
    languages = list(dict.fromkeys(lang for rows in win_rates.values() for lang in rows))
    if not languages:
        raise InputError("no win rates to show, expected {model: {lang: {...}}}")

    def cells(key: str, show: Callable[[Entry], str]) -> list[Column]:
        columns = []
        for lang in languages:
            found = [entries.get(lang, {}) for entries in win_rates.values()]
            columns.append([lang, *(show(entry) if key in entry else "-" for entry in found)])
        return columns

    def means(key: str, form: str) -> list[Column]:
        rows = [("mean", "non-en")]
        for entries in win_rates.values():
            complete = all(key in entries.get(lang, {}) for lang in languages)
            every, others = mean_over_languages(entries, key) if complete else (np.nan, np.nan)
            rows.append((_or_dash(every, form), _or_dash(others, form)))
        return [list(column) for column in zip(*rows, strict=True)]

    def together(show: Callable[[Entry], str]) -> list[Column]:
        if not pooled:
            return []
        return [["pooled", *(show(pooled[m]) if m in pooled else "-" for m in win_rates)]]

    def values(key: str, form: str) -> list[Column]:
        return cells(key, lambda entry: format(entry[key], form)) + means(key, form)

    blocks = {"WR±SE": cells("wr", _with_error) + means("wr", ".1f") + together(_with_error)}
    if pooled is not None:
        blocks[f"WR, 95%{_clustered(win_rates)}"] = cells("wr_ci", _interval) + together(_interval)
    blocks["LC"] = values("lc", ".1f")
    blocks["characters"] = values("mean_chars", ".0f")
    if any("in_language" in entry for rows in win_rates.values() for entry in rows.values()):
        blocks["in language"] = values("in_language", ".1%")
    for kind in _checked(win_rates):
        blocks[f"{kind} met, 95%"] = cells("checks", partial(_pass_rate, kind))
    return "\n\n".join(aligned([title, *win_rates], columns) for title, columns in blocks.items())


def _checked(win_rates: Mapping[str, Mapping[str, Entry]]) -> list[str]:
    """The kinds of checks that prompts carry."""
    kinds: dict[str, None] = {}
    for rows in win_rates.values():
        for entry in rows.values():
            kinds |= dict.fromkeys(entry.get("checks", {}))
    return list(kinds)


def _pass_rate(kind: str, entry: Entry) -> str:
    if kind not in entry["checks"]:
        return "-"
    found = entry["checks"][kind]
    low, high = found["ci"]
    return f"{100 * found['rate']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _with_error(entry: Entry) -> str:
    return f"{entry['wr']:.1f}±{entry['wr_se']:.1f}"


def _interval(entry: Entry) -> str:
    low, high = entry["wr_ci"]
    return f"{low:.1f}–{high:.1f}"


def _clustered(win_rates: Mapping[str, Mapping[str, Entry]]) -> str:
    for rows in win_rates.values():
        for entry in rows.values():
            if "clusters" in entry and entry["clusters"] < entry["n"]:
                return ", clustered"
    return ""


def _or_dash(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)


def aligned(first: Column, others: Sequence[Column]) -> str:
    """Columns as lines, the first one to the left, the others to the right. What a name of others
    holds of control characters is escaped."""
    padded = [_padded(first, str.ljust)]
    padded += [_padded(column, str.rjust) for column in others]
    return "\n".join("  ".join(row).rstrip() for row in zip(*padded, strict=True))


def _padded(column: Column, pad: Callable[[str, int], str]) -> Column:
    cells = [in_one_line(text) for text in column]
    width = max(map(len, cells))
    return [pad(text, width) for text in cells]
