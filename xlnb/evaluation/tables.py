"""Win rates of models by language, from annotations."""

import math
from collections.abc import Mapping
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import json_text
from xlnb.evaluation.annotations import Annotations
from xlnb.evaluation.leaderboard import _leaderboard_lc
from xlnb.evaluation.summaries import summary
from xlnb.winrates import bootstrap_interval, pooled, win_rate

JSON_KEYS = ("wr", "wr_se", "discrete_wr", "lc", "n", "mean_chars")


def win_rates(
    annotations: Mapping[str, Mapping[str, Annotations]],
    leaderboard: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """{model: {lang: what `winrates.summary` returns, and in_language (0 to 1) where known}}.

    With `leaderboard`, from `read_leaderboard`, lc is AlpacaEval's; without, that for other data.
    The two do not compare.
    """
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for model, by_lang in annotations.items():
        table[model] = {}
        for lang, rows in by_lang.items():
            try:
                entry = summary(rows.preference, rows.len_output, rows.len_baseline)
                if leaderboard:
                    entry["lc"] = _leaderboard_lc(rows, leaderboard)
            except InputError as error:
                raise InputError(f"{rows.path}: {error}") from None
            if rows.in_language is not None:
                entry["in_language"] = sum(rows.in_language) / len(rows.in_language)
            table[model][lang] = entry
    return table


def pooled_win_rates(
    annotations: Mapping[str, Mapping[str, Annotations]],
) -> dict[str, dict[str, Any]]:
    """{model: {"wr", "wr_se", "wr_ci"}} over all languages of each model that has several; a prompt
    is one draw.

    Raises InputError where records without id and index cannot be joined: their languages hold
    other prompts.
    """
    table: dict[str, dict[str, Any]] = {}
    for model, by_lang in annotations.items():
        if len(by_lang) > 1:
            first = next(iter(by_lang.values()))
            for other in by_lang.values():
                if not (first.has_prompt and other.has_prompt) and set(first.prompt) != set(
                    other.prompt
                ):
                    raise InputError(
                        f"{first.path} and {other.path}: {len(first.prompt)} and"
                        f" {len(other.prompt)} records that cannot be joined over languages; give"
                        " every record its id, or one language at a time"
                    )
            by_prompt = {
                lang: dict(zip(a.prompt, a.preference, strict=True)) for lang, a in by_lang.items()
            }
            preference = list(pooled(by_prompt).values())
            wr, wr_se = win_rate(preference)
            table[model] = {"wr": wr, "wr_se": wr_se, "wr_ci": bootstrap_interval(preference)}
    return table


def to_json(table: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """{model: {lang: {wr, wr_se, discrete_wr, lc, n, mean_chars}}}; an undefined SE (one row) is
    null."""
    plain = {
        model: {lang: {key: row[key] for key in JSON_KEYS} for lang, row in rows.items()}
        for model, rows in table.items()
    }
    for rows in plain.values():
        for row in rows.values():
            row["wr_se"] = None if math.isnan(row["wr_se"]) else row["wr_se"]
    return json_text(plain, indent=1)
