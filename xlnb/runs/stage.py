"""A stage of a run: whether what it made is still current, and the record that says so."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, relative, sha256, write_text
from xlnb.presets import Preset
from xlnb.runs.layout import Run
from xlnb.runs.lock import held


class Stage:
    """One step of a run: its inputs, the preset fields it uses, and the file or folder it makes.

        stage = Stage(run, "icr1/samples", inputs=[…], uses=fields(…), out=folder)
        return stage.make(function)

    `function` runs where the stage has not finished with these inputs and fields; killed, it finds
    its own partial work in `out` and goes on. `beside`: files <out>/../<lang>/<name> that it makes
    as well. Inputs that a stage of this run has begun to make must be finished. Of several
    processes all go through this together: the main one decides, removes, locks and stamps.
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
        inputs = list(inputs)
        self._check(inputs)
        self.key = {
            "uses": json.loads(json.dumps(uses)),
            "inputs": {relative(path, run.path): sha256(path) for path in inputs},
        }

    def _check(self, inputs: list[Path]) -> None:
        for path in inputs:
            if not path.exists():
                raise InputError(
                    f"stage {self.name} needs {path}, which is not there; "
                    "run the stage that makes it first"
                )
        for path in inputs:
            for maker in self.run.makers(path):
                stamp = self.run.stamp(maker)
                if stamp.exists() and read_json(stamp)["state"] != "done":
                    raise InputError(
                        f"stage {self.name} needs all that stage {maker} makes, "
                        "which has not finished; run it first"
                    )

    def make(self, function: Callable[[], None]) -> Path:
        """`out`, made by `function` where it is not current."""
        if not self.current():
            with self.working():
                function()
        return self.out

    def current(self) -> bool:
        """True if finished with the same inputs and fields. Stale work is removed, and the output
        says why."""
        return processes.from_main(self._current)

    def _current(self) -> bool:
        if not self.stamp.exists():
            self._remove()
            return False
        stamp = read_json(self.stamp)
        why = difference(stamp["key"], self.key)
        if why:
            print(f"{self.name}: redone, because {why}", flush=True)
            self._remove()
            return False
        return stamp["state"] == "done" and all(path.exists() for path in (self.out, *self.beside))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run folder while the stage's files are made. Raises InputError where another
        process holds it."""
        with held(self.run.path, together=True):
            spent = read_json(self.stamp)["seconds"] if self.stamp.exists() else 0.0
            self._write("working", spent)
            began = time.monotonic()
            try:
                yield
            except BaseException:
                self._write("working", spent + time.monotonic() - began)
                raise
            self._write("done", spent + time.monotonic() - began)
            # What comes next may read what the main process has just finished.
            processes.barrier()

    def _write(self, state: str, seconds: float) -> None:
        if processes.is_main():
            record = {"state": state, "seconds": round(seconds, 2), "key": self.key}
            write_text(self.stamp, json.dumps(record, indent=1))

    def _remove(self) -> None:
        if not self.stamp.exists() and not self.out.exists():
            return
        with held(self.run.path):
            self.stamp.unlink(missing_ok=True)
            if self.out.is_dir():
                shutil.rmtree(self.out)
            else:
                self.out.unlink(missing_ok=True)
            # Of languages that the run has no more, too.
            for name in {path.name for path in self.beside}:
                for path in self.out.parent.glob(f"*/{name}"):
                    path.unlink()


def fields(preset: Preset, *names: str) -> dict[str, Any]:
    """The preset's values of these names, sections whole or single values such as prompts.fresh,
    as a stage's key holds them: {section: {name: value}}."""
    values = asdict(preset)
    found: dict[str, Any] = {}
    for name in names:
        section, _, field = name.partition(".")
        if field:
            found.setdefault(section, {})[field] = values[section][field]
        else:
            found[section] = values[section]
    return found


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds that each finished stage took, interruptions included."""
    records = {name: read_json(path) for name, path in run.stamps.items()}
    return {
        name: record["seconds"] for name, record in records.items() if record["state"] == "done"
    }


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
