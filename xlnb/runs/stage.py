"""A stage of a run: whether what it made is still current, and the record that says so."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import aside, relative, sha256, temporary_file
from xlnb.presets import Preset, in_use
from xlnb.runs.layout import Run
from xlnb.runs.lock import held, turn
from xlnb.runs.provenance import note
from xlnb.runs.records import (
    StageRecord,
    check_whole,
    describe,
    faults,
    find_record,
    output_files,
    write_record,
)

# Files that are named where more are missing.
SHOWN = 3


class Stage:
    """One step of a run: its inputs, the preset fields it uses, and the file or folder it makes.

        stage = Stage(run, "icr1/samples", inputs=[…], uses=fields(…), out=folder)
        return stage.make(function)

    `function` runs where the stage has not finished with these inputs and fields, or where a file
    that it wrote is no longer there or no longer the same; killed, it finds its own partial work in
    `out` and goes on. `beside`: files <out>/../<lang>/<name> that it makes as well. Inputs that a
    stage of this run has begun to make must be finished and whole. Work that is no longer current
    is set aside (.old). What one of the run's donors has finished with the same inputs and fields
    is copied; of runs beside each other that have donors one makes it, the others wait. Of several
    processes all go through this together: the main one decides, sets aside, locks and keeps the
    record.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        *,
        inputs: Iterable[Path],
        uses: Mapping[str, object],
        out: Path,
        beside: Iterable[Path] = (),
    ):
        self.run = run
        self.name = name
        self.out = out
        self.beside = list(beside)
        self.stamp = run.stamp(name)
        self.key = {"uses": json.loads(json.dumps(uses)), "inputs": self._inputs(list(inputs))}
        self.turn = turn(run.path.parent, [name, self.key])

    def _inputs(self, paths: list[Path]) -> dict[str, str]:
        """The checksums of the inputs: by their paths in the run folder, and of files elsewhere,
        whose place is no part of what they hold, by their names."""
        for path in paths:
            if not path.exists():
                raise InputError(
                    f"stage {self.name} needs {path}, which is not there; "
                    "run the stage that makes it first"
                )
        try:
            known = check_whole(self.run, paths)
        except InputError as error:
            raise InputError(f"stage {self.name} {error}") from None
        found: dict[str, str] = {}
        for path in paths:
            inside = path.is_relative_to(self.run.path)
            name = relative(path, self.run.path) if inside else path.name
            digest = known.get(path) or sha256(path)
            while name in found:
                name += "+"
            found[name] = digest
        return found

    def make(self, function: Callable[[], None]) -> Path:
        """`out`, made by `function` where it is not current."""
        if not self.current():
            with self.working():
                function()
        return self.out

    def current(self) -> bool:
        """True if finished with the same inputs and fields, all files whole. What is not is set
        aside, and the output says why first."""
        return processes.from_main(lambda: self._current() or self._copied())

    def _current(self) -> bool:
        record, problem = find_record(self.run, self.name)
        if problem and (record or self._places() or self.stamp.exists()):
            problem = f"its record {relative(self.stamp, self.run.path)} {problem}"
            if record is None:
                return self._begin_anew(problem)
            print(f"{self.name}: {problem}; rebuilt, its files are as they were", flush=True)
            with held(self.run.path):
                write_record(self.run, self.name, record)
        if record is None:
            return False
        why = difference(record.key, self.key)
        if why:
            return self._begin_anew(why)
        if record.state != "done":
            return False
        lost = faults(self.run, record)
        for path in (self.out, *self.beside):
            if not path.exists():
                lost.setdefault(relative(path, self.run.path), "is missing")
        if lost:
            self._mend(record, lost)
        return not lost

    def _mend(self, record: StageRecord, lost: dict[str, str]) -> None:
        """Go back to work on the files that are not as they were; the others stay."""
        said = ", ".join(f"{name} {what}" for name, what in list(lost.items())[:SHOWN])
        if len(lost) > SHOWN:
            said += f", and {len(lost) - SHOWN} more"
        print(f"{self.name}: made again, because {said}", flush=True)
        with held(self.run.path):
            for name in lost:
                path = self.run.path / name
                if path.exists():
                    path.rename(aside(path))
            undone = StageRecord("working", record.seconds, record.key, {})
            write_record(self.run, self.name, undone)

    def _copied(self) -> bool:
        """True if a donor has finished the stage: its files and its record are here now. If none
        has, it is this process' turn to make it."""
        if not self.run.donors:
            return False
        self.turn.acquire()
        for folder in self.run.donors:
            donor = Run(folder, self.run.preset)
            record = find_record(donor, self.name).record
            if not record or record.state != "done" or record.key != self.key:
                continue
            if folder != self.run.path and not faults(donor, record):
                self._copy(folder, record)
                self.turn.release(force=True)
                return True
        return False

    def _copy(self, folder: Path, record: StageRecord) -> None:
        theirs = folder / relative(self.out, self.run.path)
        cards = [relative(path, folder) for path in theirs.glob("*.md")]
        with held(self.run.path):
            if self.out.exists():
                self.out.rename(aside(self.out))
            # Killed in between, it is not finished and is copied again.
            write_record(self.run, self.name, StageRecord("working", 0.0, self.key, {}))
            for name in (*record.outputs, *cards):
                path = self.run.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                half = temporary_file(path)
                shutil.copy2(folder / name, half)
                os.replace(half, path)
            write_record(self.run, self.name, record)
        print(f"{self.name}: copied from {folder}, which has made the same", flush=True)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run folder while the stage's files are made. Raises InputError where another
        process holds it."""
        with held(self.run.path, together=True):
            record = find_record(self.run, self.name).record
            spent = record.seconds if record else 0.0
            self._write("working", spent)
            if processes.is_main():
                note(self.run)
            began = time.monotonic()
            try:
                yield
            except BaseException:
                # What stopped the work, such as a full disk, may stop this too.
                with suppress(InputError):
                    self._write("working", spent + time.monotonic() - began)
                self.turn.release(force=True)
                raise
            self._write("done", spent + time.monotonic() - began)
            self.turn.release(force=True)
            # What comes next may read what the main process has just finished.
            processes.barrier()

    def _write(self, state: str, seconds: float) -> None:
        if not processes.is_main():
            return
        outputs = {}
        if state == "done":
            for path in output_files(self.out, self.beside):
                outputs[relative(path, self.run.path)] = describe(path)
        record = StageRecord(state, round(seconds, 2), self.key, outputs)
        write_record(self.run, self.name, record)

    def _begin_anew(self, why: str) -> bool:
        """False: not current. What stands in the stage's place is set aside."""
        if not self.run.redo:
            raise _refusal(self.run, self.name, why)
        places = self._places()
        kept = ""
        if places:
            kept = f"; what was there is kept as {relative(aside(places[0]), self.run.path)}"
        print(f"{self.name}: redone, because {why}{kept}", flush=True)
        with held(self.run.path):
            for path in (*places, self.stamp):
                if path.exists():
                    path.rename(aside(path))
            if self.out.is_dir():
                # Empty, so nothing to keep.
                self.out.rmdir()
        return False

    def _places(self) -> list[Path]:
        """What stands where the stage's files belong, those of languages that the run has no more
        included."""
        found = [self.out] if self.out.exists() else []
        if self.out.is_dir() and not any(self.out.iterdir()):
            found = []
        for name in sorted({path.name for path in self.beside}):
            found += sorted(self.out.parent.glob(f"*/{name}"))
        return found


def refuse_outdated(run: Run, before: Preset) -> None:
    """Raise InputError where a stage was made by `before`, the preset that the folder holds, with
    other values than the run's preset has, options of the same sections that were off among them.
    What a stage's key holds in a form of its own, the stage itself compares."""
    old, new, known = asdict(before), asdict(run.preset), in_use(before)
    for name in run.stamps:
        record = find_record(run, name).record
        for section, used in record.key["uses"].items() if record else ():
            was, now = old.get(section), new.get(section)
            if isinstance(used, dict) and isinstance(was, dict):
                compared = {field for field in used if was.get(field, ...) == used[field]}
                if compared:
                    compared |= was.keys() - known[section].keys() - used.keys()
                was = {field: was[field] for field in compared}
                now = {field: new[section][field] for field in compared}
            why = difference({section: was}, {section: now}, "uses") if was != now else ""
            if why:
                raise _refusal(run, name, why)


def _refusal(run: Run, name: str, why: str) -> InputError:
    return InputError(
        f"{run.path}: {name} is there already, and {why}; name another run folder, or make it "
        "again with redo=True"
    )


def fields(preset: Preset, *names: str) -> dict[str, Any]:
    """The preset's values of these names, sections whole or single values such as prompts.parts,
    as a stage's key holds them: {section: {name: value}}. An option that is off is left out."""
    values = in_use(preset)
    found: dict[str, Any] = {}
    for name in names:
        section, _, field = name.partition(".")
        if not field:
            found[section] = values[section]
        elif field in values[section]:
            found.setdefault(section, {})[field] = values[section][field]
    return found


def difference(old: dict, new: dict, prefix: str = "") -> str:
    """The first difference of two stage keys in words; empty if there is none."""
    for name in sorted(old.keys() | new.keys()):
        before = old.get(name)
        after = new.get(name)
        label = name if prefix in ("", "uses") else f"{prefix}.{name}"
        if isinstance(before, dict) and isinstance(after, dict):
            why = difference(before, after, label)
            if why:
                return why
        elif before != after:
            if prefix == "inputs":
                return f"{name} changed"
            return f"{label} was {before}, is now {after}"
    return ""
