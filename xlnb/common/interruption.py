"""Ctrl-C and SIGTERM, which end a command between two steps of its work at the latest."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from xlnb.common import processes

# Interruptions that this process has been told of.
_told: list[KeyboardInterrupt] = []


class Ended(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends what is inside as Ctrl-C does. Of several processes the launcher sees to it.

    Native code may make another error of the interruption that is raised in it, as safetensors
    does, or lose it, as callbacks do (see `go_on`); it is an interruption all the same.
    """
    if processes.world() > 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    _told.clear()

    def end(number: int, *_: object) -> None:
        _told.append(Ended() if number == signal.SIGTERM else KeyboardInterrupt())
        raise _told[-1]

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, end)}
    # Where it is ignored, as in the background of a shell, it goes on being ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, end)
    try:
        yield
    except Exception:
        if _told:
            raise _told[0] from None
        raise
    finally:
        _told.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def go_on() -> None:
    """Raises an interruption that this process was told of and that something has lost since."""
    if _told:
        raise _told[0]
