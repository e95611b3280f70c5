""""""

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, sha256, write_text
from xlnb.runs.layout import Run
from xlnb.runs.lock import held


class Stage:
    """One step of a run: its inputs, the preset fields it uses, and the file or folder it makes.

    stage = Stage(run, "icr1/samples", inputs=[…], uses={"sampling": …}, out=folder)
    if stage.current():
        return stage.out
    with stage.working():
        …                     # a killed stage finds its own partial work in `out` and goes on
    return stage.out

    `beside`: files <out>/../<lang>/<name> that it makes as well. Inputs that a stage of this run has begun to make must
    be finished. Of several processes all go through this together: the main one decides, removes, locks and stamps.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        *,
        inputs: Iterable[Path],
        uses: dict[str, Any],
        out: Path,
        beside: Iterable[Path] = (),
    ):
        inputs = list(inputs)
        self.run, self.name, self.out, self.beside = run, name, out, list(beside)
        self.stamp = run.path / "stages" / f"{name.replace('/', '.')}.json"
        missing = [path for path in inputs if not path.exists()]
        if missing:
            raise InputError(
                f"stage {name} needs {missing[0]}, which is not there; run the stage that makes it first"
            )
        for maker in filter(None, (_unfinished_maker(path, run.path) for path in inputs)):
            raise InputError(
                f"stage {name} needs all that stage {maker} makes, which has not finished; run it first"
            )
        self.key = {
            "uses": json.loads(json.dumps(uses)),
            "inputs": {relative(path, run.path): sha256(path) for path in inputs},
        }

    def current(self) -> bool:
        """True if finished with the same inputs and fields. Stale work is removed, and the output says why."""
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
        """Hold the run folder while the stage's files are made. Raises InputError where another run holds it."""
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
            processes.barrier()  # what comes next may read what the main process has just finished

    def _write(self, state: str, seconds: float) -> None:
        if processes.is_main():
            write_text(
                self.stamp,
                json.dumps(
                    {"state": state, "seconds": round(seconds, 2), "key": self.key}, indent=1
                ),
            )

    def _remove(self) -> None:
        if not self.stamp.exists() and not self.out.exists():
            return
        with held(self.run.path):
            self.stamp.unlink(missing_ok=True)
            if self.out.is_dir():
                shutil.rmtree(self.out)
            else:
                self.out.unlink(missing_ok=True)
            for name in {path.name for path in self.beside}:
                for path in self.out.parent.glob(
                    f"*/{name}"
                ):  # of languages that the run has no more, too
                    path.unlink()


def _unfinished_maker(path: Path, folder: Path) -> str | None:
    """The stage that makes this file of the run folder, if it was begun and not finished."""
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
    names = [".".join(parts[:n]) for n in range(1, len(parts))]
    if parts[:1] == ("eval",):  # eval/<model>/<lang>/model_outputs.json
        kind = {"model_outputs.json": "responses", "annotations.json": "annotations"}.get(
            parts[-1], ""
        )
        names = [".".join((*parts[:2], kind))]
    for stamp in (folder / "stages" / f"{name}.json" for name in names):
        if stamp.exists() and read_json(stamp)["state"] != "done":
            return stamp.stem.replace(".", "/")
    return None


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds that each finished stage took, interruptions included."""
    stamps = {path.stem: read_json(path) for path in sorted((run.path / "stages").glob("*.json"))}
    return {
        name.replace(".", "/"): stamp["seconds"]
        for name, stamp in stamps.items()
        if stamp["state"] == "done"
    }


def relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()


def difference(old: dict, new: dict, prefix: str = "") -> str:
    """The first difference of two stage keys in words; empty if there is none."""
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            if why := difference(
                before, after, name if prefix in ("", "uses") else f"{prefix}.{name}"
            ):
                return why
        elif before != after:
            if prefix == "inputs":
                return f"{name} changed"
            label = name if prefix in ("", "uses") else f"{prefix}.{name}"
            return f"{label} was {before}, is now {after}"
    return ""
