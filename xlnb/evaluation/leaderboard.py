"""What AlpacaEval's length-controlled win rate needs beside annotations."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.evaluation.annotations import Annotations, read_table
from xlnb.winrates import leaderboard_length_controlled


def read_leaderboard(difficulty: Path, gamed_baseline: Path) -> dict[str, Any]:
    """What the leaderboard's LC needs beside annotations: {"difficulty": {index: value}, "gamed":
    columns}.

    CSV files with index, instruction_difficulty and with gamed_model, index, len_baseline,
    len_output, pseudo_preference01. Raises InputError naming file and line.
    """
    rows = read_table(difficulty, ("index", "instruction_difficulty"))
    columns = ("gamed_model", "index", "len_baseline", "len_output", "pseudo_preference01")
    return {
        "difficulty": dict(zip(rows["index"], rows["instruction_difficulty"], strict=True)),
        "gamed": read_table(gamed_baseline, columns),
    }


def _leaderboard_lc(rows: Annotations, leaderboard: Mapping[str, Any]) -> float:
    """The leaderboard's LC of a file; instructions that it lacks count as not judged.

    Records without index, as AlpacaEval's own, are taken in its order, so none may be missing.
    """
    difficulty = leaderboard["difficulty"]
    if not rows.has_index and len(rows.index) != len(difficulty):
        raise InputError(
            f"{len(rows.index)} records without index for {len(difficulty)} difficulties, which"
            " does not tell whose they are; give every record the index of its instruction"
        )
    place = {index: row for row, index in enumerate(rows.index)}
    unknown = sorted(place.keys() - difficulty.keys())
    if unknown:
        raise InputError(
            f"index {unknown[0]:g} has no difficulty; the leaderboard's LC is for AlpacaEval's 805"
            " only"
        )
    preference, len_output, len_baseline = (
        [values[place[index]] if index in place else missing for index in difficulty]
        for values, missing in (
            (rows.preference, math.nan),
            (rows.len_output, 0.0),
            (rows.len_baseline, 0.0),
        )
    )
    return leaderboard_length_controlled(
        preference,
        len_output,
        len_baseline,
        index=list(difficulty),
        difficulty=list(difficulty.values()),
        gamed=leaderboard["gamed"],
    )
