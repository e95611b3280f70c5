"""The run folder: which stage is finished and current, whole-file writes, journals that survive a kill."""

import csv
import errno
import glob
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from xlnb import parallel
from xlnb.errors import InputError
from xlnb.hub import adapter_folder, is_hub_id
from xlnb.presets import Models, Preset, get_preset, override, preset_from_dict, to_json

ROOT = Path(__file__).resolve().parents[1]
MIN_FREE = 256 * 2**20  # bytes of disk that a run must find: adapters, checkpoints and samples of the lab fit well
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes")


@dataclass(frozen=True)
class Run:
    """A run folder and its resolved preset. Models are named sft (π_I), dpo (π^0), icr1 (π^1), icr2 (π^2) …"""

    path: Path
    preset: Preset

    @property
    def models(self) -> list[str]:
        return ["sft", "dpo", *(f"icr{t}" for t in range(1, self.preset.iterations + 1))]

    @property
    def is_lab(self) -> bool:
        """Whether the prompts are the lab's, whose truth the oracle knows."""
        return not self.preset.prompts.path

    def folder(self, iteration: int) -> Path:
        """Where iteration t makes π^t: `dpo` for the English iteration 0, `icr<t>` after it."""
        if not 0 <= iteration <= self.preset.iterations:
            raise InputError(f"iteration {iteration}: this run has iterations 0 to {self.preset.iterations}")
        return self.path / self.models[iteration + 1]

    def base(self, model: str) -> Models:
        """What a model's adapter stands on: π_I's checkpoint, or π^0's where that is a checkpoint of its own."""
        models = self.preset.models
        return replace(models, base=models.dpo) if models.dpo and model != "sft" else models

    def adapter(self, model: str) -> Path | None:
        """The folder of a model's adapter; None for `sft`, which is the bare base, and for a `dpo` that is one."""
        if model not in self.models:
            raise InputError(f"unknown model '{model}'; this run has {', '.join(self.models)}")
        if model == "sft" or (model == "dpo" and self.preset.models.dpo):
            return None
        if model == "dpo" and self.preset.models.dpo_adapter:
            return adapter_folder(self.preset.models.dpo_adapter)
        return self.path / model / "adapter"


def open_run(path: str | Path, preset: str = "", overrides: dict[str, Any] | None = None) -> Run:
    """Open a run folder, making it where it is new.

    Without `preset`, the folder's own `preset.json` is used, with `overrides` on top. A changed preset does not
    undo anything here: each stage finds out by itself whether what it made is still current.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, not a run folder; name a folder")
    record = path / "preset.json"
    if preset:
        resolved = get_preset(preset, overrides)
    elif record.exists():
        saved = read_json(record)
        if not isinstance(saved, dict) or "name" not in (saved.get("preset") or {}):
            raise InputError(f"{record}: holds no preset; name one to start again in this folder")
        resolved = override(preset_from_dict(saved["preset"]), overrides or {})
    else:
        raise InputError(f"{path} is not a run folder (it has no preset.json); name a preset to start one")
    if resolved.models.dpo and resolved.models.dpo_adapter:
        raise InputError("models.dpo and models.dpo_adapter both name π^0; give one of them")
    given = resolved.models.dpo_adapter
    if given and not is_hub_id(given) and not Path(given).is_dir():
        raise InputError(f"models.dpo_adapter {given}: neither a folder here nor ORG/NAME on the Hub; mend the name")
    baseline = resolved.evaluation.baseline
    if "{lang}" not in baseline and baseline not in Run(path, resolved).models:
        raise InputError(
            f"evaluation.baseline '{baseline}': expected {', '.join(Run(path, resolved).models)}, or files as "
            "FOLDER/{lang}/NAME.json"
        )
    free = shutil.disk_usage(_existing(path)).free
    if free < MIN_FREE:
        raise InputError(
            f"{path}: only {free / 2**20:.0f} MiB of disk are free, a run needs {MIN_FREE / 2**20:.0f}; free some"
        )
    wanted = {"preset": json.loads(to_json(resolved)), "versions": versions()}
    # Reading a run with a later revision, or on another machine, leaves the record of what made it as it is.
    known = record.exists() and {name: read_json(record).get(name) for name in wanted} == wanted
    if not known and parallel.is_main():
        with _held(path):  # a command at work here goes by the record that there is
            write_text(record, json.dumps({"preset": wanted["preset"], **environment()}, indent=2) + "\n")
    return Run(path, resolved)


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def environment() -> dict[str, Any]:
    """Versions, device and git revision: what has to stand beside a result."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "versions": versions(),
        "device": device,
        "git": git.stdout.strip() or "not a git checkout",
    }


def provenance(run: Run) -> str:
    """What made the run, in a line: preset, seed, versions, device and git revision."""
    record = read_json(run.path / "preset.json")
    made_with = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return f"{run.preset.name}, seed {run.preset.seed}; {made_with}; {record['device']}; xlnb {record['git']}"


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
            raise InputError(f"stage {name} needs {missing[0]}, which is not there; run the stage that makes it first")
        for maker in filter(None, (_unfinished_maker(path, run.path) for path in inputs)):
            raise InputError(f"stage {name} needs all that stage {maker} makes, which has not finished; run it first")
        self.key = {
            "uses": json.loads(json.dumps(uses)),
            "inputs": {_relative(path, run.path): sha256(path) for path in inputs},
        }

    def current(self) -> bool:
        """True if finished with the same inputs and fields. Stale work is removed, and the output says why."""
        return parallel.from_main(self._current)

    def _current(self) -> bool:
        if not self.stamp.exists():
            self._remove()
            return False
        stamp = read_json(self.stamp)
        why = _difference(stamp["key"], self.key)
        if why:
            print(f"{self.name}: redone, because {why}", flush=True)
            self._remove()
            return False
        return stamp["state"] == "done" and all(path.exists() for path in (self.out, *self.beside))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run folder while the stage's files are made. Raises InputError where another run holds it."""
        with _held(self.run.path, together=True):
            spent = read_json(self.stamp)["seconds"] if self.stamp.exists() else 0.0
            self._write("working", spent)
            began = time.monotonic()
            try:
                yield
            except BaseException:
                self._write("working", spent + time.monotonic() - began)
                raise
            self._write("done", spent + time.monotonic() - began)
            parallel.barrier()  # what comes next may read what the main process has just finished

    def _write(self, state: str, seconds: float) -> None:
        if parallel.is_main():
            write_text(
                self.stamp, json.dumps({"state": state, "seconds": round(seconds, 2), "key": self.key}, indent=1)
            )

    def _remove(self) -> None:
        if not self.stamp.exists() and not self.out.exists():
            return
        with _held(self.run.path):
            self.stamp.unlink(missing_ok=True)
            if self.out.is_dir():
                shutil.rmtree(self.out)
            else:
                self.out.unlink(missing_ok=True)
            for name in {path.name for path in self.beside}:
                for path in self.out.parent.glob(f"*/{name}"):  # of languages that the run has no more, too
                    path.unlink()


@contextmanager
def _held(folder: Path, together: bool = False) -> Iterator[None]:
    """One command at a time makes or removes a run's files; the lock ends with the process that holds it.

    `together`: all of its processes are here, and the main one takes the lock for them."""
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "stages" / ".lock", timeout=0)

    def take() -> None:
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{folder}: another process is at work in this run folder; wait for it or stop it"
            ) from None

    parallel.from_main(take) if together else take()
    try:
        yield
    finally:
        lock.release()


def _unfinished_maker(path: Path, folder: Path) -> str | None:
    """The stage that makes this file of the run folder, if it was begun and not finished."""
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
    names = [".".join(parts[:n]) for n in range(1, len(parts))]
    if parts[:1] == ("eval",):  # eval/<model>/<lang>/model_outputs.json
        kind = {"model_outputs.json": "responses", "annotations.json": "annotations"}.get(parts[-1], "")
        names = [".".join((*parts[:2], kind))]
    for stamp in (folder / "stages" / f"{name}.json" for name in names):
        if stamp.exists() and read_json(stamp)["state"] != "done":
            return stamp.stem.replace(".", "/")
    return None


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds that each finished stage took, interruptions included."""
    stamps = {path.stem: read_json(path) for path in sorted((run.path / "stages").glob("*.json"))}
    return {name.replace(".", "/"): stamp["seconds"] for name, stamp in stamps.items() if stamp["state"] == "done"}


class Journal:
    """Records appended to `<path>.part` as they are made; `finish` writes `path` whole. Each has a "prompt_id".

    A line torn by a kill is dropped when the journal is opened again, and its record made anew. Of several processes
    each appends to a part of its own, `<path>.<rank>.part` beside the main one's, and reads them all, so that any
    number of processes takes up what another number left.
    """

    def __init__(self, path: Path):
        self.path = path
        self.part = path.with_name(f"{path.name}.part" if parallel.is_main() else f"{path.name}.{parallel.rank()}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.part.exists():
            whole = _whole_lines(self.part)
            with self.part.open("r+b") as file:
                file.truncate(len(whole))
        self.records = self._read()

    @property
    def done(self) -> set[str]:
        return {record["prompt_id"] for record in self.records}

    def append(self, records: list[dict]) -> None:
        with _named_errors(self.part), self.part.open("a", encoding="utf-8") as file:
            file.writelines(json_text(record) + "\n" for record in records)
            file.flush()
            os.fsync(file.fileno())
        self.records += records

    def finish(self, order: list[str]) -> list[dict]:
        """Write the records of all parts in the order of these prompt ids and drop the parts.

        For the main process, once all have made theirs."""
        by_id = {record["prompt_id"]: record for record in self._read()}
        ordered = [by_id[prompt_id] for prompt_id in order]
        write_jsonl(self.path, ordered)
        for part in self._parts():
            part.unlink()
        return ordered

    def _parts(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.*part"))

    def _read(self) -> list[dict]:
        return [json.loads(line) for part in self._parts() for line in _whole_lines(part).splitlines()]


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: under a temporary name, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _named_errors(path), temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON with every character as it is, but for halves of one (lone surrogates), which UTF-8 lacks: \\ud83d."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace").decode()


def write_json(path: Path, value: Any) -> None:
    write_text(path, json_text(value, indent=1) + "\n")


def write_jsonl(path: Path, records: Iterable[dict]) -> None:
    write_text(path, "".join(json_text(record) + "\n" for record in records))


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises InputError naming the file where it is missing, not UTF-8 or not JSON."""
    return _parse(path, read_text(path), f"{path}")


def read_jsonl(path: Path) -> list[dict]:
    """Parse JSON lines. Raises InputError naming file and line for anything that is not one JSON object a line."""
    return [record for _, record in read_numbered_jsonl(path)]


def read_numbered_jsonl(path: Path) -> list[tuple[int, dict]]:
    """As `read_jsonl`, each record with its line number from 1."""
    records = []
    # Not splitlines(): it also splits at U+2028 and others, which JSON strings may hold as they are.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            record = _parse(path, line, f"{path}, line {number}")
            if not isinstance(record, dict):
                raise InputError(f"{path}, line {number}: expected a JSON object, found {type(record).__name__}")
            records.append((number, record))
    return records


def read_numbered_csv(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows below a CSV file's header, each with the number of the line it begins in. Raises as `read_jsonl`."""
    csv.field_size_limit(2**31 - 1)  # a field may be longer than Python's 131,072 characters
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    records, ended = [], 0
    try:
        header = next(reader, [])
        ended = reader.line_num
        for values in reader:
            number, ended = ended + 1, reader.line_num
            if not values:
                continue  # an empty line
            if len(values) != len(header):
                expected = f"{len(header)} ({','.join(header)})"
                raise InputError(f"{path}, line {number}: {len(values)} columns, expected {expected}")
            records.append((number, dict(zip(header, values, strict=True))))
    except csv.Error as error:
        raise InputError(f"{path}, line {ended + 1}: not valid CSV ({error}); mend the row") from None
    return records


def read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # read_text would change the line ends inside of CSV's quotes
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 ({error.reason}); save the file as UTF-8") from None


def _parse(path: Path, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = f", line {error.lineno}" if where == str(path) else ""
        raise InputError(f"{where}{at}: not valid JSON ({error.msg} at column {error.colno}); mend the line") from None


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise InputError(
            f"{path}: no space left on the disk; free some and start again, finished work is kept"
        ) from None


def _whole_lines(path: Path) -> bytes:
    text = path.read_bytes()
    return text[: text.rfind(b"\n") + 1]


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _difference(old: dict, new: dict, prefix: str = "") -> str:
    """The first difference of two stage keys in words; empty if there is none."""
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            if why := _difference(before, after, name if prefix in ("", "uses") else f"{prefix}.{name}"):
                return why
        elif before != after:
            if prefix == "inputs":
                return f"{name} changed"
            label = name if prefix in ("", "uses") else f"{prefix}.{name}"
            return f"{label} was {before}, is now {after}"
    return ""
