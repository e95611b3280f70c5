"""Win rates as text: models by languages, a block a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xlnb.common.errors import InputError


def mean_over_languages(rows: Mapping[str, Mapping[str, float]], key: str) -> tuple[float, float]:
    """(mean, mean without English) of `key` over {lang: {key: value}}; NaN over no language."""
    every = [row[key] for row in rows.values()]
    others = [row[key] for lang, row in rows.items() if lang != "en"]
    return (
        float(np.mean(every)) if every else np.nan,
        float(np.mean(others)) if others else np.nan,
    )


def format_table(
    win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    pooled: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Models by languages as text, a block each for WR±SE and LC in points and for mean characters.

    `win_rates`: {model: {lang: what summarise returns}}. Where entries have `in_language`, a block
    shows it. `mean` and `non-en` are plain means over languages, without an SE: on parallel prompts
    the languages' errors depend on each other. A model that lacks a language has "-" there and no
    means, which would be over other languages than its neighbours'. `pooled`, {model: {"wr",
    "wr_se", "wr_ci"}} of the preferences that the function `pooled` makes, adds a column with an SE
    that knows of that dependence, and a block of 95% intervals. Raises `InputError` where nothing
    is given.
    """
    languages = list(dict.fromkeys(lang for rows in win_rates.values() for lang in rows))
    if not languages:
        raise InputError("no win rates to show, expected {model: {lang: {...}}}")
    wr, interval = "{wr:.1f}±{wr_se:.1f}", "{wr_ci[0]:.1f}–{wr_ci[1]:.1f}"
    blocks = [("WR±SE", "wr", wr, "{:.1f}", wr)]
    if pooled is not None:
        blocks.append(("WR, 95%", "", interval, "", interval))
    blocks += [
        ("LC", "lc", "{lc:.1f}", "{:.1f}", ""),
        ("characters", "mean_chars", "{mean_chars:.0f}", "{:.0f}", ""),
    ]
    if any("in_language" in row for rows in win_rates.values() for row in rows.values()):
        blocks.append(("in language", "in_language", "{in_language:.1%}", "{:.1%}", ""))
    lines = []
    for title, key, cell, mean_cell, pooled_cell in blocks:
        extra = ["pooled"] if pooled and pooled_cell else []
        table = [[title, *languages, *(["mean", "non-en"] if mean_cell else []), *extra]]
        for model, rows in win_rates.items():
            shown = {lang: row for lang, row in rows.items() if not key or key in row}
            cells = [cell.format(**shown[lang]) if lang in shown else "-" for lang in languages]
            if mean_cell:
                means = (
                    mean_over_languages(shown, key)
                    if len(shown) == len(languages)
                    else (np.nan, np.nan)
                )
                cells += ["-" if np.isnan(mean) else mean_cell.format(mean) for mean in means]
            if pooled and pooled_cell:
                cells.append(pooled_cell.format(**pooled[model]) if model in pooled else "-")
            table.append([model, *cells])
        lines += [*_aligned(table), ""]
    return "\n".join(lines[:-1])


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        numbers = (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
    return lines
