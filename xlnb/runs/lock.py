"""One command at a time makes or removes a run's files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from xlnb.common import processes
from xlnb.common.errors import InputError


@contextmanager
def held(folder: Path, together: bool = False) -> Iterator[None]:
    """Inside, the run folder is this command's. The lock ends with the process that holds it.

    `together`: all processes of this command are here, and the main one takes the lock for them.
    """
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "stages" / ".lock", timeout=0)

    def take() -> None:
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{folder}: another process is at work in this run folder; wait for it or stop it"
            ) from None

    if together:
        processes.from_main(take)
    else:
        take()
    try:
        yield
    finally:
        lock.release()
