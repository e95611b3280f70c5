"""The points of a grid, each a run in a folder of its own, made side by side.

<folder>/
  grid.json          the preset, the keys and values of the last command
  <point>/           a run, which copies stages that another point has finished with the same key
  <point>.log        what its process printed
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from tqdm import tqdm

from xlnb.common.errors import InputError
from xlnb.common.parent import with_this
from xlnb.presets.grid import Point
from xlnb.runs.layout import Run
from xlnb.runs.lock import TURNS
from xlnb.runs.records import faults, find_record
from xlnb.runs.run import check_run, kept_preset
from xlnb.stages.pipeline import steps

# Seconds between looks at the processes, and that one has to end in.
PAUSE = 0.2
PATIENCE = 60


@dataclass(frozen=True)
class Task:
    """A point that is to be made up to a stage."""

    run: Run
    last: str
    command: list[str]

    @property
    def log(self) -> Path:
        return self.run.path.with_name(self.run.path.name + ".log")


def tasks(folder: Path, points: Sequence[Point], last: str, options: Sequence[str]) -> list[Task]:
    """What is to be run for every point. `last`: a stage; empty for all. `options`: of `run`, for
    every point.

    Raises InputError where a point cannot be run, or has been run with other values.
    """
    found = []
    for point in points:
        run = Run(folder / point.name, point.preset, redo=False)
        names = [step.name for step in steps(run)]
        until = last or names[-1]
        if until not in names:
            raise InputError(f"unknown stage '{until}'; {point.name} has {', '.join(names)}")
        check_run(run)
        command = [sys.executable, "-m", "xlnb", "run", "--share", "--run", str(run.path)]
        command += ["--until", until, *options]
        for key, value in point.values.items():
            command += ["-p", f"{key}={value}"]
        found.append(Task(run, until, command))
    return found


def finished(run: Run, last: str) -> bool:
    """Whether a point has been made up to a stage with these values, and its files are whole."""
    if not run.record.exists() or kept_preset(run.path) != run.preset:
        return False
    records = {name: find_record(run, name).record for name in run.stamps}
    for record in records.values():
        if record is None or record.state != "done" or faults(run, record):
            return False
    return last in records


@contextmanager
def as_written(run: Run) -> Iterator[None]:
    """Inside, what the stages of a finished point wrote is read. Raises InputError for what is not
    what this version writes."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{run.path}: not as this version writes it ({type(error).__name__}: {error}); move "
            "the folder away, and it is made again"
        ) from None


def make_points(folder: Path, todo: Sequence[Task], jobs: int) -> dict[str, str]:
    """Make the points, `jobs` side by side on a thread each: {name: what went wrong} of those that
    failed. What is finished is left as it is. Interrupted, it ends all of them first."""
    left = [task for task in todo if not finished(task.run, task.last)]
    failed = {}
    running: list[tuple[Task, subprocess.Popen]] = []
    done = len(todo) - len(left)
    for task in left:
        # Each looks at the others' when it begins.
        task.run.path.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(todo), initial=done, desc="points") as bar:
        try:
            while left or running:
                while left and len(running) < jobs:
                    running.append((left[0], _start(left.pop(0))))
                for task, process in list(running):
                    if process.poll() is None:
                        continue
                    running.remove((task, process))
                    bar.update()
                    if process.returncode:
                        failed[task.run.path.name] = _reason(task, process.returncode)
                time.sleep(PAUSE * bool(running))
        finally:
            _end([process for _, process in running])
            rmtree(folder / TURNS, ignore_errors=True)
    return failed


def _start(task: Task) -> subprocess.Popen:
    environment = {**os.environ, **with_this(), "OMP_NUM_THREADS": "1"}
    with task.log.open("ab") as log:
        # A session of its own: Ctrl-C is this process', which passes it on.
        return subprocess.Popen(
            task.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _reason(task: Task, code: int) -> str:
    """The last line in which the point's process says what went wrong."""
    lines = task.log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line for line in lines if line.startswith("error: ")]
    if code == 2 and said:
        return said[-1].removeprefix("error: ")
    return f"it ended with code {code}; see {task.log}"
