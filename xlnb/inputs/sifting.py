"""Rows of which some cannot be used: what is kept, and how many were dropped for which reason."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from xlnb.common.dropped import Dropped
from xlnb.inputs.reader import Row

T = TypeVar("T")


class Sifted(NamedTuple):
    """rows = kept + Σ dropped."""

    kept: list[Any]
    rows: int
    dropped: dict[Dropped, int]


def sift(
    rows: Iterable[Row],
    limit: int,
    reasons: Sequence[Dropped],
    use: Callable[[str, dict[str, Any], int], T | Dropped],
) -> Sifted:
    """The first `limit` (0: all) things that `use` makes of a row, whose place and number, from 1,
    it is given too; or it says why there is none. `reasons`: in the report's order."""
    kept: list[T] = []
    dropped = dict.fromkeys(reasons, 0)
    number = 0
    for where, row in rows:
        if limit and len(kept) == limit:
            break
        number += 1
        found = use(where, row, number)
        if isinstance(found, Dropped):
            dropped[found] += 1
        else:
            kept.append(found)
    return Sifted(kept, number, dropped)
