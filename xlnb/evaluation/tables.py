"""Win rates of several models and languages, from their annotations."""

import math
from collections.abc import Mapping
from typing import TypedDict

from xlnb.common.errors import InputError
from xlnb.common.files import json_text
from xlnb.evaluation.clusters import fact_of
from xlnb.evaluation.judged import Judged
from xlnb.evaluation.leaderboard import Leaderboard
from xlnb.evaluation.summaries import WinRate, summarise
from xlnb.winrates import bootstrap_interval, pooled, win_rate

JSON_KEYS = ("wr", "wr_se", "discrete_wr", "lc", "n", "mean_chars")


class Pooled(TypedDict):
    """Points; `wr_se` and `wr_ci`, a 95% interval, are clustered."""

    wr: float
    wr_se: float
    wr_ci: list[float]


def win_rates(
    annotations: Mapping[str, Mapping[str, Judged]],
    leaderboard: Leaderboard | None = None,
    *,
    resamples: int = 1000,
) -> dict[str, dict[str, WinRate]]:
    """{model: {lang: what `summarise` returns}}, arguments as for it."""
    table: dict[str, dict[str, WinRate]] = {}
    for model, by_lang in annotations.items():
        table[model] = {}
        for lang, judged in by_lang.items():
            table[model][lang] = summarise(judged, resamples=resamples, leaderboard=leaderboard)
    return table


def pooled_win_rates(
    annotations: Mapping[str, Mapping[str, Judged]],
) -> dict[str, Pooled]:
    """Over all languages of each model that has several; a prompt is one draw, or the cluster that
    it is in.

    Raises InputError where records without id and index cannot be joined: their languages hold
    other prompts.
    """
    table: dict[str, Pooled] = {}
    for model, by_lang in annotations.items():
        if len(by_lang) < 2:
            continue
        first = next(iter(by_lang.values()))
        by_prompt = {}
        for lang, judged in by_lang.items():
            _check_join(first, judged)
            by_prompt[lang] = dict(zip(judged.prompt, judged.preference, strict=True))
        together = pooled(by_prompt)
        preference = list(together.values())
        clusters = [fact_of(prompt) for prompt in together]
        wr, wr_se = win_rate(preference, clusters=clusters)
        interval = bootstrap_interval(preference, clusters=clusters)
        table[model] = {"wr": wr, "wr_se": wr_se, "wr_ci": list(interval)}
    return table


def _check_join(first: Judged, other: Judged) -> None:
    """Raises InputError where two languages' prompts are known by their place only and cannot be
    the same."""
    if first.has_prompt and other.has_prompt:
        return
    if set(first.prompt) != set(other.prompt):
        raise InputError(
            f"{first.path} and {other.path}: {len(first.prompt)} and {len(other.prompt)} records "
            "that cannot be joined over languages; give every record its id, or one language at a "
            "time"
        )


def to_json(table: Mapping[str, Mapping[str, WinRate]]) -> str:
    """{model: {lang: {wr, wr_se, discrete_wr, lc, n, mean_chars}}}, the parts of wr_se where
    prompts have several responses, and checks where they carry some; an undefined SE (one row) is
    null."""
    plain: dict[str, dict[str, dict[str, object]]] = {}
    for model, rows in table.items():
        plain[model] = {}
        for lang, entry in rows.items():
            values = dict(entry)
            shown = {key: values[key] for key in JSON_KEYS}
            shown["wr_se"] = None if math.isnan(entry["wr_se"]) else entry["wr_se"]
            for key in ("runs", "wr_se_prompts", "wr_se_sampling", "checks"):
                if key in entry:
                    shown[key] = values[key]
            plain[model][lang] = shown
    return json_text(plain, indent=1)
