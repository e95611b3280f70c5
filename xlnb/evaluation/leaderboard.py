"""The length-controlled win rate of AlpacaEval's leaderboard, from its files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.evaluation.annotations import read_columns
from xlnb.evaluation.judged import Judged
from xlnb.winrates import leaderboard_length_controlled


@dataclass(frozen=True)
class Leaderboard:
    """What the leaderboard's LC needs beside annotations."""

    # by AlpacaEval's index
    difficulty: dict[float, float]
    # columns of `winrates.leaderboard_length_controlled`
    gamed: dict[str, list]


def read_leaderboard(difficulty: Path, gamed_baseline: Path) -> Leaderboard:
    """Both files of AlpacaEval's.

    CSV files with index, instruction_difficulty and with gamed_model, index, len_baseline,
    len_output, pseudo_preference01. Raises InputError naming file and line.
    """
    rows = read_columns(difficulty, ("index", "instruction_difficulty"))
    columns = ("gamed_model", "index", "len_baseline", "len_output", "pseudo_preference01")
    by_index = dict(zip(rows["index"], rows["instruction_difficulty"], strict=True))
    return Leaderboard(by_index, read_columns(gamed_baseline, columns))


def leaderboard_lc(judged: Judged, leaderboard: Leaderboard) -> float:
    """The leaderboard's LC of a file; instructions that it lacks count as not judged.

    Records without index, as AlpacaEval's own, are taken in its order, so none may be missing.
    """
    difficulty = leaderboard.difficulty
    if not judged.has_index and len(judged.index) != len(difficulty):
        raise InputError(
            f"{len(judged.index)} records without index for {len(difficulty)} difficulties, which "
            "does not tell whose they are; give every record the index of its instruction"
        )
    unknown = sorted(set(judged.index) - difficulty.keys())
    if unknown:
        raise InputError(
            f"index {unknown[0]:g} has no difficulty; the leaderboard's LC is for AlpacaEval's 805 "
            "only"
        )

    def in_order(values: Sequence[float], missing: float) -> list[float]:
        by_index = dict(zip(judged.index, values, strict=True))
        return [by_index.get(index, missing) for index in difficulty]

    return leaderboard_length_controlled(
        in_order(judged.preference, math.nan),
        in_order(judged.len_output, 0.0),
        in_order(judged.len_baseline, 0.0),
        index=list(difficulty),
        difficulty=list(difficulty.values()),
        gamed=leaderboard.gamed,
    )
