"""What a stage wrote: its record, with size and checksum of every file, and the run's history of
finished stages, from which a record that was lost is rebuilt.

Whether files are still as they were is told by size and time; a content is read only where these
changed, or where a file was written so shortly before its record that its time tells nothing.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from xlnb.common.errors import InputError
from xlnb.common.files import (
    json_text,
    json_value,
    named_errors,
    read_json,
    relative,
    sha256,
    write_text,
)
from xlnb.presets import PRESETS
from xlnb.runs.layout import Run

# Nanoseconds within which two writes can leave a file with one time.
TICK = 50_000_000

# What is in a stage's folder and is no output of it: set aside, half written, for people to edit.
NOT_OUTPUTS = (".old", ".part", ".tmp", ".md")

# What reading a record raises where it is damaged.
NO_RECORD = (InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True)
class StageRecord:
    """stages/<name>.json."""

    # working, or done
    state: str
    seconds: float
    # the preset's fields and the inputs that it was made of
    key: dict[str, Any]
    # {"size", "mtime_ns", "sha256"} by path from the run folder; none before it is done
    outputs: dict[str, dict[str, Any]]


class Found(NamedTuple):
    """The record of a stage, as far as there is one, and what is wrong with its file: nothing, "is
    missing" or "is damaged"."""

    record: StageRecord | None
    problem: str


def describe(path: Path) -> dict[str, Any]:
    """A file's size, time and checksum. No time where it cannot tell a later change."""
    digest = sha256(path)
    stat = path.stat()
    settled = time.time_ns() - stat.st_mtime_ns > TICK
    return {
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns if settled else None,
        "sha256": digest,
    }


def untouched(path: Path, known: dict[str, Any]) -> bool:
    """Whether size and time are those of the record, so that the content need not be read."""
    stat = path.stat()
    return (stat.st_size, stat.st_mtime_ns) == (known["size"], known["mtime_ns"])


def fault(path: Path, known: dict[str, Any]) -> str:
    """What became of a file since it was described: "", "is missing" or "has changed"."""
    if not path.is_file():
        return "is missing"
    if untouched(path, known):
        return ""
    same = path.stat().st_size == known["size"] and sha256(path) == known["sha256"]
    return "" if same else "has changed"


def faults(run: Run, record: StageRecord) -> dict[str, str]:
    """What became of a stage's files, by their paths from the run folder; those that are as they
    were are left out."""
    found = {name: fault(run.path / name, known) for name, known in record.outputs.items()}
    return {name: what for name, what in found.items() if what}


def output_files(out: Path, beside: Iterable[Path]) -> list[Path]:
    """The files that a stage made: in its folder, or that is its file, and beside it."""
    inside = sorted(out.rglob("*")) if out.is_dir() else [out]
    found = []
    for path in (*inside, *beside):
        names = path.relative_to(out).parts if path.is_relative_to(out) else ()
        left_out = any(name.startswith(".") or ".old" in Path(name).suffix for name in names)
        if path.is_file() and path.suffix not in NOT_OUTPUTS and not left_out:
            found.append(path)
    return found


def find_record(run: Run, name: str) -> Found:
    """A stage's record, from its file; where that is missing or damaged, from the run's history, if
    the files are still those that it finished."""
    path = run.stamp(name)
    problem = "is missing"
    if path.exists():
        try:
            return Found(_record(read_json(path)), "")
        except NO_RECORD:
            problem = "is damaged"
    for entry in reversed(_history(run)):
        if entry.get("stage") == name:
            try:
                record = _record(entry | {"state": "done"})
            except NO_RECORD:
                continue
            return Found(None if faults(run, record) else record, problem)
    return Found(None, problem)


def write_record(run: Run, name: str, record: StageRecord) -> None:
    """Where a stage has finished, its record goes into the run's history too."""
    write_text(run.stamp(name), json.dumps(asdict(record), indent=1))
    if record.state == "done":
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"stage": name, "finished": finished, **asdict(record)}
        del entry["state"]
        with named_errors(run.history), run.history.open("a", encoding="utf-8") as file:
            # A line of its own, whatever a kill has left of the one before.
            file.write("\n" * bool(file.tell()) + json_text(entry))
            file.flush()
            os.fsync(file.fileno())


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds that each finished stage took, interruptions included."""
    seconds = {}
    for name in run.stamps:
        record = find_record(run, name).record
        if record and record.state == "done":
            seconds[name] = record.seconds
    return seconds


def set_aside(run: Run) -> list[Path]:
    """What stages have set aside, which nothing reads: <name>.old, .old2 … (outermost only)."""
    found: list[Path] = []
    for path in sorted(run.path.rglob("*")):
        inside = any(path.is_relative_to(outer) for outer in found)
        if re.fullmatch(r"\.old\d*", path.suffix) and not inside:
            found.append(path)
    return found


def _makers(run: Run, path: Path) -> Iterator[str]:
    """The names that the stage which makes this file may have; none for a file elsewhere."""
    if not path.is_relative_to(run.path):
        return
    parts = Path(relative(path, run.path)).parts
    if parts[:1] == ("eval",):
        kinds = {"model_outputs.json": "responses", "annotations.json": "annotations"}
        yield "/".join((*parts[:2], kinds.get(parts[-1], "")))
        return
    for length in range(1, len(parts)):
        yield "/".join(parts[:length])


def check_whole(run: Run, paths: Iterable[Path]) -> dict[Path, str]:
    """The checksum of every one of these files that a stage's record tells of.

    Raises InputError where a stage that made one has not finished, or where any file of that stage
    is no longer as it was: half of what a stage made is nobody's to read. The message goes on from
    who reads them.
    """
    records: dict[str, StageRecord | None] = {}
    digests = {}
    for path in paths:
        for maker in _makers(run, path):
            if maker not in records:
                records[maker] = find_record(run, maker).record
                _check_finished(run, maker, records[maker])
            record = records[maker]
            if record is None:
                continue
            known = record.outputs.get(relative(path, run.path))
            if known is None:
                raise InputError(
                    f"is not to read {path}: stage {maker} did not write this file; take it out "
                    "of the folder"
                )
            digests[path] = known["sha256"]
    return digests


def check_judged(path: Path) -> None:
    """Raises InputError where a file or folder lies in a run, and annotations that stages of the
    run wrote there are missing or have changed. The message goes on from who reads them."""
    path = path.absolute()
    for folder in (path, *path.parents):
        # Of the run only its places are asked.
        run = Run(folder, PRESETS["lab"])
        if not run.record.exists():
            continue
        for name in run.stamps:
            record = find_record(run, name).record
            for file, known in record.outputs.items() if record else ():
                what = ""
                if name.endswith("/annotations") and (folder / file).is_relative_to(path):
                    what = fault(folder / file, known)
                if what:
                    raise InputError(
                        f"needs {folder / file}, which {what} since stage {name} wrote it; run "
                        "that stage again"
                    )


def _check_finished(run: Run, maker: str, record: StageRecord | None) -> None:
    if record is None:
        return
    if record.state != "done":
        raise InputError(
            f"needs all that stage {maker} makes, which has not finished; run it first"
        )
    for name, what in faults(run, record).items():
        raise InputError(
            f"needs {run.path / name}, which {what} since stage {maker} wrote it; "
            "run that stage again"
        )


def _record(values: Any) -> StageRecord:
    """Raises one of NO_RECORD for what is none."""
    record = StageRecord(**{name: values[name] for name in ("state", "seconds", "key", "outputs")})
    if record.state not in ("working", "done"):
        raise ValueError(record.state)
    record.seconds + 0.0
    for name, known in record.outputs.items():
        known["size"], known["mtime_ns"], known["sha256"]
        Path(name).exists()
    if set(record.key) != {"uses", "inputs"}:
        raise ValueError("key")
    record.key["uses"].items(), record.key["inputs"].items()
    return record


def _history(run: Run) -> list[dict[str, Any]]:
    """What every stage finished, oldest first, without lines that are damaged."""
    entries = []
    for line in run.history.read_bytes().splitlines() if run.history.exists() else []:
        try:
            entry = json_value(line.decode())
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries
