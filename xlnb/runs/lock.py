"""One command at a time makes or removes a run's files, and one of runs beside each other makes
what all of them need. A lock ends with the process that holds it."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from xlnb.common import processes
from xlnb.common.errors import InputError

# Where the runs in a folder take turns.
TURNS = ".turns"


@contextmanager
def held(folder: Path, together: bool = False) -> Iterator[None]:
    """Inside, the run folder is this command's.

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


def turn(folder: Path, key: object) -> FileLock:
    """Whose turn it is, of the runs in a folder, to make what has this key."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    # One lock for all of this process, which thus never waits for itself.
    return FileLock(folder / TURNS / digest, is_singleton=True)
