"""Work on prompts, shared out over processes and written through journals."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
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


class Work(NamedTuple):
    """A file of records that are made batch by batch."""

    path: Path
    batches: Sequence[Batch]
    make: Callable[[Batch], Sequence[Record]]
    # the prompt ids of its records, as they stand in the file
    order: Sequence[str]
    label: str


def share_out(files: Iterable[Work | None], *, models: Sequence[object]) -> None:
    """Make the files, one after the other, through journals; None is one that is finished.

    The batches of all are dealt out in turn, so that files of one batch keep every process busy,
    too. The main process writes what several made once all have come to the end. `models`: those
    that work here, so that sharded ones keep in step.
    """
    alone = processes.world() == 1
    made = []
    dealt = 0
    with in_step(*models):
        for work in filter(None, files):
            journal = Journal(work.path)
            _append(work, processes.mine(work.batches, dealt), journal)
            dealt += len(work.batches)
            if alone:
                journal.finish(work.order)
            made.append((work.path, work.order))
    processes.barrier()
    if not alone and processes.is_main():
        for path, order in made:
            Journal(path).finish(order)
    processes.barrier()


def _append(work: Work, own: Sequence[Batch], journal: Journal) -> None:
    """Make what is left of a process' own batches."""
    left = [batch for batch in own if not journal.done.issuperset(batch.prompt_ids)]
    total = sum(len(batch.records) for batch in own)
    undone = sum(len(batch.records) for batch in left)
    label = work.label
    if processes.world() > 1:
        label += f" (process 1 of {processes.world()})"
    hidden = not processes.is_main()
    with tqdm(total=total, initial=total - undone, desc=label, disable=hidden) as bar:
        for batch in left:
            journal.append([record.to_json() for record in work.make(batch)])
            bar.update(len(batch.records))
