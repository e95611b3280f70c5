"""How often scores prefer the chosen response to the rejected one: points, with intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from xlnb.common.records import Score
from xlnb.evaluation.alpaca_eval import preference_of
from xlnb.evaluation.text_table import aligned
from xlnb.inputs.given_responses import GivenPair
from xlnb.winrates import (
    PairedDifference,
    bootstrap_interval,
    paired_difference,
    win_rate,
)

# What stands for all languages.
ALL = "all"
R_C = "cross_lingual"
R_M = "multilingual"


class Accuracy(TypedDict):
    """Points, but for the counts: pairs that have both scores, and prompts that they are of."""

    accuracy: float
    # [lo, hi], 95%, of prompts as independent draws
    ci: list[float]
    n: int
    prompts: int


class Table(TypedDict):
    """{score: {group: …}}; a group is a language, `ALL` of them, or a category of all languages.
    `difference`: R_c less R_m, paired, by group; only where both were asked for."""

    languages: dict[str, dict[str, Accuracy]]
    categories: dict[str, dict[str, Accuracy]]
    difference: dict[str, PairedDifference]
    difference_by_category: dict[str, PairedDifference]


class Preferred(TypedDict):
    """A pair, and by each score how it was preferred: 2 chosen, 1.5 a tie, 1 rejected, NaN without
    a score; as judgements are written."""

    lang: str
    category: str
    prompt_id: str
    preference: dict[str, float]


def preferred(pairs: Sequence[GivenPair], scores: Sequence[Score]) -> list[Preferred]:
    """`scores`: of the pairs' responses as `given_responses.by_prompt` puts them together."""
    values = {(score.lang, score.prompt_id): _in_pairs(score) for score in scores}
    found = []
    for pair, category in pairs:
        preference = next(values[pair.lang, pair.prompt_id])
        found.append(
            Preferred(
                lang=pair.lang,
                category=category,
                prompt_id=pair.prompt_id,
                preference=preference,
            )
        )
    return found


def accuracies(rows: Sequence[Preferred]) -> Table:
    """By language and, where pairs have one, by category. A prompt is one draw, whatever pairs and
    languages it has."""
    names = list(rows[0]["preference"])
    languages = _groups(rows, "lang")
    if len(languages) > 1:
        languages[ALL] = list(rows)
    categories = _groups([row for row in rows if row["category"]], "category")
    return {
        "languages": _by_score(names, languages),
        "categories": _by_score(names, categories),
        "difference": _differences(names, languages),
        "difference_by_category": _differences(names, categories),
    }


def accuracy_text(table: Table) -> str:
    """As text: a block for languages, one for categories, each with the paired test."""
    blocks = [_block(table["languages"], table["difference"])]
    if any(table["categories"].values()):
        blocks.append(_block(table["categories"], table["difference_by_category"]))
    return "\n\n".join(blocks)


def _in_pairs(score: Score) -> Iterator[dict[str, float]]:
    """How each two responses, a chosen and a rejected one, compare by every score."""
    for first in range(0, len(score.n_chars), 2):
        yield {
            name: _preference(values[first], values[first + 1])
            for name, values in score.scores.items()
        }


def _preference(chosen: float | None, rejected: float | None) -> float:
    if chosen is None or rejected is None:
        return math.nan
    return float(preference_of(chosen, rejected))


def _groups(rows: Sequence[Preferred], key: str) -> dict[str, list[Preferred]]:
    found: dict[str, list[Preferred]] = {}
    for row in rows:
        found.setdefault(str(row[key]), []).append(row)  # type: ignore[literal-required]
    return found


def _by_score(
    names: Sequence[str], groups: Mapping[str, Sequence[Preferred]]
) -> dict[str, dict[str, Accuracy]]:
    table: dict[str, dict[str, Accuracy]] = {}
    for name in names:
        table[name] = {}
        for group, rows in groups.items():
            read = [row for row in rows if not math.isnan(row["preference"][name])]
            if read:
                table[name][group] = _entry(name, read)
    return table


def _entry(name: str, rows: Sequence[Preferred]) -> Accuracy:
    preference = [row["preference"][name] for row in rows]
    clusters = [row["prompt_id"] for row in rows]
    return {
        "accuracy": win_rate(preference, clusters=clusters)[0],
        "ci": list(bootstrap_interval(preference, clusters=clusters)),
        "n": len(rows),
        "prompts": len(set(clusters)),
    }


def _differences(
    names: Sequence[str], groups: Mapping[str, Sequence[Preferred]]
) -> dict[str, PairedDifference]:
    """R_c less R_m; a group whose pairs are all of one prompt has no test."""
    table: dict[str, PairedDifference] = {}
    for group, rows in groups.items() if R_C in names and R_M in names else ():
        read = [row for row in rows if not math.isnan(row["preference"][R_C])]
        read = [row for row in read if not math.isnan(row["preference"][R_M])]
        clusters = [row["prompt_id"] for row in read]
        if len(set(clusters)) > 1:
            by_c = [row["preference"][R_C] for row in read]
            by_m = [row["preference"][R_M] for row in read]
            table[group] = paired_difference(by_c, by_m, clusters=clusters)
    return table


def _block(
    table: Mapping[str, Mapping[str, Accuracy]], difference: Mapping[str, PairedDifference]
) -> str:
    """Groups a row: of each score its accuracy with the interval, then R_c less R_m."""
    groups = list(dict.fromkeys(group for entries in table.values() for group in entries))
    columns = [["pairs", *(str(_most(table, group)) for group in groups)]]
    for name, entries in table.items():
        cells = [_cell(entries[group]) if group in entries else "-" for group in groups]
        columns.append([name, *cells])
    if difference:
        cells = [_test(difference[group]) if group in difference else "-" for group in groups]
        columns.append(["R_c - R_m", *cells])
    return aligned(["accuracy, 95%", *groups], columns)


def _most(table: Mapping[str, Mapping[str, Accuracy]], group: str) -> int:
    """Pairs of a group that some score has read."""
    return max(entries[group]["n"] for entries in table.values() if group in entries)


def _cell(entry: Accuracy) -> str:
    low, high = entry["ci"]
    return f"{entry['accuracy']:.1f} [{low:.1f}, {high:.1f}]"


def _test(test: PairedDifference) -> str:
    low, high = test["ci"]
    return f"{test['difference']:+.1f} [{low:.1f}, {high:.1f}] p={test['p_value']:.2g}"
