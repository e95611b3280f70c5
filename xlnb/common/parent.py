"""A process that ends with the one that started it for its own work, however that one ends."""

import os
import signal
import threading
import time

# Names, to a process, the one that started it.
STARTED_BY = "XLNB_STARTED_BY"

# What torchrun and `accelerate launch` tell the processes that they start, which would wait for
# each other for ever once a kill of theirs has left them alone.
LAUNCHED = "TORCHELASTIC_RUN_ID"

# Seconds between looks at whether that is still there.
PAUSE = 1.0


def with_this() -> dict[str, str]:
    """What the environment of a process holds that is to end with this one."""
    return {STARTED_BY: f"{os.getpid()}"}


def end_with_parent() -> None:
    """Where another process started this one `with_this`, or a launcher did: once that one is gone,
    this one is told to end, by SIGTERM. Killed, it could not tell it itself."""
    # What this process starts has another parent.
    parent = os.environ.pop(STARTED_BY, "")
    if not parent and LAUNCHED in os.environ:
        parent = f"{os.getppid()}"
    if parent:
        threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PAUSE)
    os.kill(os.getpid(), signal.SIGTERM)
