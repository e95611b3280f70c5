""""""

from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from xlnb.common import processes
from xlnb.common.journal import Journal
from xlnb.models.sharding import in_step

PROMPTS_AT_ONCE = (
    32  # prompts whose scores are written together: what a kill can cost the score stage
)


def in_chunks(
    records: list[dict],
    journal: Journal,
    make: Callable[[list[dict]], list[dict]],
    label: str,
    models: Sequence[Any],
) -> None:
    """What `make` makes of `records` with `models`, `PROMPTS_AT_ONCE` at a time, through a journal."""
    if journal.path.exists() or not records:
        return
    order = [record["prompt_id"] for record in records]
    share_out(
        chunked(records, PROMPTS_AT_ONCE),
        journal,
        lambda _, chunk: make(chunk),
        order,
        label,
        models,
    )


def chunked(records: list[dict], size: int) -> list[tuple[int, list[dict]]]:
    return [(start, records[start : start + size]) for start in range(0, len(records), size)]


def share_out(
    chunks: list[tuple[int, list[dict]]],
    journal: Journal,
    make: Callable[[int, list[dict]], list[dict]],
    order: list[str],
    label: str,
    models: Sequence[Any],
) -> list[dict]:
    """What `make` makes of each chunk (its position, its records), through a journal; the finished file's records.

    Each process makes its own of the chunks, then the main one writes the file; the others return nothing.
    """
    own, done = processes.mine(chunks), journal.done
    todo = [
        (start, chunk)
        for start, chunk in own
        if not done.issuperset(record["prompt_id"] for record in chunk)
    ]
    total, left = (sum(len(chunk) for _, chunk in part) for part in (own, todo))
    if processes.world() > 1:
        label += f" (process 1 of {processes.world()})"
    bar = tqdm(total=total, initial=total - left, desc=label, disable=not processes.is_main())
    with bar, in_step(*models):
        for start, chunk in todo:
            journal.append(make(start, chunk))
            bar.update(len(chunk))
    processes.barrier()
    return journal.finish(order) if processes.is_main() else []
