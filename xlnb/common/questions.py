"""Many questions to a model: what they will cost, and none asked twice."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xlnb.common.calling import NoAnswer
from xlnb.common.errors import InputError
from xlnb.common.files import read_numbered_jsonl
from xlnb.common.journal import Journal

# questions without an answer, for whatever reason, one after the other, at which one that had an
# answer is asked again
IN_A_ROW = 10

Record = dict[str, Any]


def consent(name: str, calls: int, tokens: float, *, price: float, paid: bool, yes: bool) -> None:
    """Print what these calls will take; where they cost money, go on only with consent.

    `price`: US dollars a million of these tokens, 0 where not known. Raises InputError where
    consent is refused, or cannot be asked for and `yes` is not given.
    """
    if not calls:
        return
    cost = f", about ${tokens / 1e6 * price:.2f}" if price else ""
    print(f"{name}: {calls} calls, about {tokens:,.0f} tokens{cost}", flush=True)
    if yes or not paid:
        return
    if not sys.stdin.isatty():
        raise InputError(
            f"nothing was asked of {name} yet; --yes (yes=True in Python) begins without a question"
        )
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("stopped before the first call; nothing was spent")


def ask_all(
    ask: Callable[[Record], Record],
    records: Sequence[Record],
    journal: Journal,
    *,
    name: str,
    workers: int,
    label: str,
) -> None:
    """`ask` about every record that the journal does not hold yet; each comes back merged with what
    `ask` returned.

    A record has a prompt_id, takes a call, and is in the journal as soon as it is answered. One
    that `ask` raises NoAnswer for is put there as it was, with the reason in "error", after all
    others, so that a run that is killed or stopped asks about it again. What met an outage is asked
    about once more at the end. Nothing without an answer is put there unless the failure is that
    question's own, whatever it looks like: after `IN_A_ROW` of them one after the other, and after
    a round that ends with one, a question that `name` has answered is asked again. Raises
    InputError where that has no answer now, or where none was answered yet; finished work is kept.
    """
    asking = _Asking(ask, records, journal, name, workers)
    todo = asking.unasked()
    with (
        ThreadPool(workers) as pool,
        tqdm(total=len(records), initial=len(records) - len(todo), desc=label) as bar,
    ):
        asking.round(pool, todo, bar, last=False)
        asking.round(pool, asking.outages(), bar, last=True)
    journal.append(asking.failures())


def unanswered(paths: Iterable[Path]) -> int:
    """How many records of finished journals have no answer."""
    found = 0
    for path in paths:
        if path.exists():
            found += sum("error" in record for _, record in read_numbered_jsonl(path))
    return found


def ask_again(paths: Iterable[Path]) -> None:
    """Make finished journals go on, with what has no answer still to be asked about."""
    for path in paths:
        if path.exists():
            every = (record for _, record in read_numbered_jsonl(path))
            Journal(path).append(record for record in every if "error" not in record)
            path.unlink()


class _Turns:
    """Records to ask about, no more of them at once than there are `workers`: what is asked and not
    yet written is what a kill can cost, be the disk slower than the answers."""

    def __init__(self, records: Sequence[Record], workers: int):
        self._records = records
        self._free = threading.Semaphore(workers)
        self._closed = False

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            self._free.acquire()
            if self._closed:
                return
            yield record

    def next(self) -> None:
        """One of them is written."""
        self._free.release()

    def close(self) -> None:
        """Who waits for a turn has none any more."""
        self._closed = True
        self._free.release()


class _Asking:
    """Where `ask_all` stands."""

    def __init__(
        self,
        ask: Callable[[Record], Record],
        records: Sequence[Record],
        journal: Journal,
        name: str,
        workers: int,
    ):
        self._ask = ask
        self._workers = workers
        self._records = records
        self._journal = journal
        self._name = name
        # The last question that has an answer, of this run or of one before: it is asked again to
        # find out whether the endpoint is there.
        self._answered: Record | None = None
        ids = {record["prompt_id"] for record in records}
        for record in journal.records():
            if record["prompt_id"] in ids and "error" not in record:
                self._answered = record
        # By prompt_id; the last to fail comes last.
        self._failed: dict[str, NoAnswer] = {}
        # Questions without an answer since the last answer.
        self._in_a_row = 0

    def unasked(self) -> list[Record]:
        """What the journal does not hold yet."""
        done = self._journal.done
        return [record for record in self._records if record["prompt_id"] not in done]

    def outages(self) -> list[Record]:
        """What met an outage."""
        return [
            record for record in self._without_answer() if self._failed[record["prompt_id"]].outage
        ]

    def failures(self) -> list[Record]:
        """What has no answer, each with the reason."""
        return [
            record | {"error": str(self._failed[record["prompt_id"]])}
            for record in self._without_answer()
        ]

    def round(self, pool: ThreadPool, todo: list[Record], bar: tqdm, *, last: bool) -> None:
        """Ask about these records. `last`: what meets an outage now is not asked about again."""
        self._in_a_row = 0
        with closing(_Turns(todo, self._workers)) as turns:
            for record, answer in pool.imap_unordered(self._attempt, turns):
                self._failed.pop(record["prompt_id"], None)
                if isinstance(answer, NoAnswer):
                    self._note_failure(record, answer)
                else:
                    self._journal.append([record | answer])
                    self._answered = record
                    self._in_a_row = 0
                again = isinstance(answer, NoAnswer) and answer.outage and not last
                bar.update(not again)
                turns.next()
        if self.outages() or (self._failed and (self._in_a_row or not self._answered)):
            self._stop_if_out_of_reach()

    def _attempt(self, record: Record) -> tuple[Record, Record | NoAnswer]:
        try:
            return record, self._ask(record)
        except NoAnswer as error:
            return record, error

    def _without_answer(self) -> list[Record]:
        return [record for record in self._records if record["prompt_id"] in self._failed]

    def _note_failure(self, record: Record, error: NoAnswer) -> None:
        self._failed[record["prompt_id"]] = error
        self._in_a_row += 1
        if self._in_a_row == IN_A_ROW:
            self._stop_if_out_of_reach()
            self._in_a_row = 0

    def _stop_if_out_of_reach(self) -> None:
        """Raises InputError where a question that had an answer has none now."""
        if self._answered:
            _, answer = self._attempt(self._answered)
            if not isinstance(answer, NoAnswer):
                return
        last = list(self._failed.values())[-1]
        raise InputError(
            f"{self._name}: {len(self._failed)} questions without an answer, the last: {last}; "
            "what was answered is kept, the same command goes on"
        )
