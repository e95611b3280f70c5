"""Several processes, as `accelerate launch`, `torchrun` or `joined` start them: which is this one,
and how they keep together.

Every process calls the same stages. What one process can do alone the main one does (`from_main`);
batches are dealt out by their position (`mine`), so that what a batch gives does not depend on how
many processes there are. A process that fails says why, and its launcher ends the others; one that
waits for it ends by itself. Processes on several machines need one run folder on a shared file
system.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from xlnb.common.errors import InputError
from xlnb.common.parent import with_this

P = ParamSpec("P")

T = TypeVar("T")

# one process may sample for hours while the others wait
PATIENCE = timedelta(days=30)

# whether the main process is at work in `from_main`
_alone = False


def world() -> int:
    """The number of processes that work together here: 1 inside `from_main`."""
    return 1 if _alone else int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """This process' number, from 0."""
    return int(os.environ.get("RANK", 0)) if world() > 1 else 0


def is_main() -> bool:
    """Whether this process writes the files that all share, shows progress and speaks for all."""
    return rank() == 0


def mine(items: Sequence[T], first: int = 0) -> Sequence[T]:
    """This process' part of the items: every `world()`-th. `first`: the place of the first of them
    where they are one part of all that is dealt out."""
    return items[(rank() - first) % world() :: world()]


def barrier() -> None:
    """Wait until every process has come here."""
    if world() > 1:
        everyone = group()
        with _others():
            _distributed().barrier(group=everyone)


def from_main(make: Callable[[], T]) -> T:
    """What `make` gives in the main process, in every one; an InputError there is raised in every
    one."""
    global _alone
    if world() == 1:
        return make()
    everyone = group()
    # the value, or what the error says
    outcome: list[Any] = [None, None]
    if is_main():
        _alone = True
        try:
            outcome[0] = make()
        except InputError as error:
            outcome[1] = str(error)
        finally:
            _alone = False
    with _others():
        _distributed().broadcast_object_list(outcome, src=0, group=everyone)
    if outcome[1] is not None:
        raise InputError(outcome[1])
    return outcome[0]


def main_alone(stage: Callable[P, T]) -> Callable[P, T]:
    """A stage that needs no model: of several processes the main one does it, the others wait for
    it."""

    @wraps(stage)
    def in_turn(*args: P.args, **kwargs: P.kwargs) -> T:
        return from_main(lambda: stage(*args, **kwargs))

    return in_turn


def gather(value: T) -> list[T]:
    """Every process' value, in the order of their numbers."""
    if world() == 1:
        return [value]
    everyone = group()
    values: list[Any] = [None] * world()
    with _others():
        _distributed().all_gather_object(values, value, group=everyone)
    return values


def first_to_say(message: str) -> bool:
    """Whether no other process has said this: what all of them run into is printed once, by
    whichever is the first."""
    if world() == 1:
        return True
    try:
        store = _distributed().TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=timedelta(seconds=5)
        )
        return store.add(f"xlnb: {message}", 1) == 1
    # the launcher is gone: better twice than not at all
    except RuntimeError:
        return True


@contextmanager
def joined(count: int, command: Sequence[str]) -> Iterator[None]:
    """Inside, this process is the main one of `count`; `command` starts each of the others, with an
    equal part of this machine's cores. It ends with them, and they with it."""
    # As torchrun does: a port that is free now is asked for in a moment.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    threads = max(1, (os.cpu_count() or 1) // count)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    others = []
    for number in range(count):
        mine = {**place, "RANK": str(number), "LOCAL_RANK": str(number)}
        if number == 0:
            os.environ.update(mine)
            continue
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ, **mine, **with_this()}
        others.append(subprocess.Popen(command, env=environment))
    import torch

    torch.set_num_threads(threads)
    try:
        yield
        leave()
        codes = [other.wait() for other in others]
        if any(codes):
            raise SystemExit(max(codes))
    finally:
        for other in others:
            other.send_signal(signal.SIGTERM)
            other.wait()
        for name in (*place, "RANK", "LOCAL_RANK"):
            del os.environ[name]


def leave() -> None:
    """Part from the other processes, at the end of all work."""
    if world() > 1 and _distributed().is_initialized():
        _distributed().destroy_process_group()


def _distributed() -> Any:
    # a second, which one process need not spend
    import torch.distributed

    return torch.distributed


@cache
def group() -> Any:
    """All processes, joined as accelerate joins them for training; what they tell each other goes
    from CPU to CPU."""
    import torch
    from accelerate import PartialState

    gpus, local = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", 0))
    if gpus and local >= gpus:
        raise InputError(
            f"this machine has {gpus} GPU(s) for process {local + 1}; start one process a GPU"
        )
    PartialState(cpu=not gpus)
    return _distributed().new_group(backend="gloo", timeout=PATIENCE)


@contextmanager
def _others() -> Iterator[None]:
    try:
        yield
    except (
        RuntimeError
    ) as error:  # as a rule a closed connection: another process has ended, and has said why
        reason = str(error).strip().partition("\n")[0]
        print(
            f"process {rank() + 1} ends: it has lost the others ({reason})",
            file=sys.stderr,
            flush=True,
        )
        raise SystemExit(1) from None
