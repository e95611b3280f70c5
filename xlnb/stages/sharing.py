"""Work on prompts, shared out over processes and written through journals."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from xlnb.common import processes
from xlnb.common.journal import Journal
from xlnb.common.records import Record
from xlnb.models.sharding import in_step


class Batch(NamedTuple):
    """Prompts, or samples of them, that are worked on together."""

    # of its first record among all
    start: int
    records: Sequence[Any]

    @property
    def prompt_ids(self) -> list[str]:
        return [record.prompt_id for record in self.records]


def batches_of(records: Sequence[Any], size: int) -> list[Batch]:
    starts = range(0, len(records), size)
    return [Batch(start, records[start : start + size]) for start in starts]


def share_out(
    batches: Iterable[Batch],
    journal: Journal,
    make: Callable[[Batch], Sequence[Record]],
    *,
    order: Sequence[str],
    label: str,
    models: Sequence[object],
) -> None:
    """Write what `make` makes of every batch, a record a prompt id, into the journal's file.

    Each process makes its own of the batches; then the main one writes the file, in the order of
    the prompt ids `order`. `models`: those that work here, so that sharded ones keep in step.
    """
    own = processes.mine(list(batches))
    done = journal.done
    todo = [batch for batch in own if not done.issuperset(batch.prompt_ids)]
    total = sum(len(batch.records) for batch in own)
    left = sum(len(batch.records) for batch in todo)
    if processes.world() > 1:
        label += f" (process 1 of {processes.world()})"
    hidden = not processes.is_main()
    with (
        tqdm(total=total, initial=total - left, desc=label, disable=hidden) as bar,
        in_step(*models),
    ):
        for batch in todo:
            journal.append([record.to_json() for record in make(batch)])
            bar.update(len(batch.records))
    processes.barrier()
    if processes.is_main():
        journal.finish(order)
