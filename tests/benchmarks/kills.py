"""Kills all over a run, notebooks and papermill included:

OMP_NUM_THREADS=1 python tests/benchmarks/kills.py OUT [ROUND …]

A run that is as small as one can be that has every stage is made undisturbed, notebooks included.
Others are killed, with SIGKILL, SIGTERM and SIGINT in turn, at a random moment of every stage in
turn, and go on by the same command. Three are made by `run`, so that each stage meets all three
signals, one of them then killed while it executes two notebooks; another one by papermill, on a
notebook that makes what it lacks. Then each run's files are compared with the undisturbed one's. OUT/kills.json
is written after every kill; the same command goes on where it stopped. Rounds, from 0, may be made
side by side once the undisturbed run is there.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from xlnb.cli.main import main
from xlnb.common.files import read_json, read_jsonl, sha256, write_json, write_jsonl
from xlnb.runs import notebooks
from xlnb.runs.notebooks import NOTEBOOKS, normalise
from xlnb.runs.provenance import environment

PRESET = "lab-quick"
VALUES = {
    "prompts.langs": "en,es",
    "lab.english": "8",
    "lab.train": "6",
    "lab.reward": "4",
    "lab.eval": "4",
    "lab.translation_noise": "0.1",
    "sft.steps": "2",
    "sft.batch": "2",
    "sft.micro_batch": "1",
    "sft.save_steps": "1",
    "english.steps": "2",
    "english.batch": "2",
    "english.micro_batch": "1",
    "english.save_steps": "1",
    "training.steps": "2",
    "training.batch": "2",
    "training.micro_batch": "1",
    "training.save_steps": "1",
    "sampling.batch_tokens": "1600",
    "scoring.batch_tokens": "1024",
    "scoring.scorers": "cross_lingual,multilingual,translated",
    "evaluation.resamples": "50",
}
DEMONSTRATIONS = [
    {"prompt": "What is the capital of France?", "completion": "The capital is Paris."},
    {"prompt": "¿Cuál es la capital de Francia?", "completion": "La capital es París."},
    {"prompt": "What is the capital of Spain?", "completion": "The capital is Madrid."},
    {"prompt": "¿Cuál es la capital de España?", "completion": "La capital es Madrid."},
]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# The notebook that papermill makes a run with, and those that `run` executes.
NOTEBOOK = NOTEBOOKS / "07_win_rates.ipynb"
EXECUTED = (NOTEBOOKS / "04_pairs.ipynb", NOTEBOOK)
# What a command says that was told to end.
INTERRUPTED = "interrupted; the same command goes on from here\n"
# Where a kill met no stage.
BETWEEN = "between stages"
# Where the run went on to its end all the same.
NOT_HEARD = "not heard"
# The variable by which a run's processes are known.
MARK = "KILLED_RUN"
# Seconds in which the processes of a killed one have to end: a kernel looks for its parent once
# a second.
PATIENCE = 30


class Round(NamedTuple):
    """A run that is killed."""

    # run or papermill
    made_by: str
    # Every so many stages: a notebook's kernel takes its time to begin.
    every: int = 1
    # kills in its notebooks
    in_notebooks: int = 0


ROUNDS = (Round("run"), Round("run"), Round("run", in_notebooks=3), Round("papermill", every=4))
# What is imported before anything is begun.
MODULES = ("xlnb.stages", "xlnb.training", "xlnb.tuning", "bitsandbytes", "papermill")


class Forked:
    """A process of the command line in which the imports, which take longer than all else, are done:
    a copy of this one. As subprocess.Popen, so far as it is needed."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]):
        self.errors = log.with_suffix(".err")
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.environ.update(environment)
            with log.open("a") as said, self.errors.open("w") as errors:
                os.dup2(said.fileno(), sys.stdout.fileno())
                os.dup2(errors.fileno(), sys.stderr.fileno())
            os._exit(main(command))

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self) -> tuple[None, str]:
        while self.poll() is None:
            time.sleep(0.01)
        return None, self.errors.read_text()


def begin(folder: Path, how: str, last: str = "report") -> Forked | subprocess.Popen:
    """A process that makes a run, up to a stage (empty: and its notebooks)."""
    values = {"sft.path": f"{out / 'demonstrations.jsonl'}", **VALUES}
    log, environment = folder.with_suffix(".log"), {MARK: f"{folder}"}
    if how == "run":
        command = ["run", "--preset", PRESET, "--run", f"{folder}"]
        command += ["--until", last] if last else []
        for name, value in values.items():
            command += ["-p", f"{name}={value}"]
        return Forked(command, log, environment)
    given = {"preset": PRESET, "run_dir": f"{folder}"}
    given["overrides"] = " ".join(f"{key}={value}" for key, value in values.items())
    command = [sys.executable, "-m", "papermill", f"{NOTEBOOK}", f"{folder.with_suffix('.ipynb')}"]
    for name, value in given.items():
        command += ["-p", name, value]
    environment = {**os.environ, **environment}
    with log.open("a") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=subprocess.PIPE, text=True, env=environment
        )


def finish(folder: Path, how: str, last: str = "report") -> None:
    process = begin(folder, how, last)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"{folder}: exit {process.returncode}: {said[-2000:]}")


def states(folder: Path) -> dict[str, str]:
    """working or done, by stage, of those that were begun."""
    found = {}
    for stamp in (folder / "stages").glob("*.json"):
        found[stamp.stem] = read_json(stamp)["state"]
    return found


def written(path: Path) -> int:
    """When, in nanoseconds; 0 where it is not there."""
    return path.stat().st_mtime_ns if path.exists() else 0


def in_stage(folder: Path, how: str, stage: str, seconds: float, number: int) -> str:
    """Go on with a run and kill it `seconds` after it is at work on the stage: what the kill met, or
    nothing where it came too late, since the stage or the run had ended."""
    if states(folder).get(stage) == "done":
        return ""
    stamp = folder / "stages" / f"{stage}.json"
    before = written(stamp)
    process = begin(folder, how)
    while process.poll() is None and written(stamp) == before:
        time.sleep(0.002)
    time.sleep(seconds)
    missed = kill(process, how, number, folder)
    if missed is not None:
        return missed
    at_work = [name for name, state in states(folder).items() if state == "working"]
    return at_work[0] if at_work else BETWEEN


def in_notebooks(folder: Path, seconds: float, number: int) -> str:
    """Kill a run `seconds` after it has begun with its notebooks."""
    process = begin(folder, "run", last="")
    while process.poll() is None and not list(folder.glob("notebooks/.*.tmp.ipynb")):
        time.sleep(0.01)
    time.sleep(seconds)
    missed = kill(process, "run", number, folder)
    return "notebooks" if missed is None else missed


def kill(process: Forked | subprocess.Popen, how: str, number: int, folder: Path) -> str | None:
    """Kill it, and wait for all that it has started. NOT_HEARD where it went on to its end, empty
    where that was there before; else None."""
    late = process.poll() is not None
    process.send_signal(SIGNALS[number])
    _, said = process.communicate()
    if process.returncode == 0:
        return "" if late else NOT_HEARD
    if how == "run":
        told = SIGNALS[number] != signal.SIGKILL
        expected = 128 + SIGNALS[number] if told else -signal.SIGKILL
        # Before it listens, as any process.
        early = told and process.returncode == -SIGNALS[number]
        if not early and (process.returncode != expected or (told and INTERRUPTED not in said)):
            raise SystemExit(f"{folder}: exit {process.returncode}: {said[-2000:]}")
    deadline = time.monotonic() + PATIENCE
    while alive(folder):
        if time.monotonic() > deadline:
            raise SystemExit(f"{folder}: processes {alive(folder)} outlive {SIGNALS[number].name}")
        time.sleep(0.1)
    return None


def alive(folder: Path) -> list[int]:
    """The processes of a run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={folder}\0" in (place / "environ").read_text():
                found.append(int(place.name))
        except OSError:
            # It has just ended, or is another user's.
            continue
    return found


def artifacts(folder: Path) -> dict[str, object]:
    """What every stage wrote, by path: its checksum; of JSON that holds times, all but these."""
    found: dict[str, object] = {}
    for stamp in sorted((folder / "stages").glob("*.json")):
        for name in read_json(stamp)["outputs"]:
            path = folder / name
            if path.name in ("metrics.json", "training.json"):
                found[name] = without_times(read_json(path))
            elif path.name == "adapter_config.json":
                # It names the base, which is the run's own here.
                found[name] = of_any_run(path, folder)
            else:
                found[name] = sha256(path)
    for path in folder.glob("notebooks/*.ipynb"):
        found[f"notebooks/{path.name}"] = of_any_run(path, folder)
    for path in folder.rglob("*"):
        if path.suffix in (".part", ".tmp") or ".tmp." in path.name or ".old" in path.name:
            found[f"{path.relative_to(folder)}"] = "left over"
    return found


def of_any_run(path: Path, folder: Path) -> str:
    """A text without what it says of the run that it is about: where it lies, and which revision
    began it."""
    text = path.read_text().replace(f"{folder}", "").replace(folder.name, "")
    return text.replace(read_json(folder / "preset.json")["git"], "")


def without_times(value: Any) -> Any:
    if isinstance(value, list):
        return [without_times(inside) for inside in value]
    if not isinstance(value, dict):
        return value
    return {
        name: without_times(inside)
        for name, inside in value.items()
        if "second" not in name and "runtime" not in name
    }


def compared(folder: Path, made: Round) -> dict[str, Any]:
    """How many files of a run there are, and which differ from the undisturbed one's, or were made
    anew."""
    expected, ours = artifacts(out / "whole"), artifacts(folder)
    if not made.in_notebooks:
        expected = {name: what for name, what in expected.items() if "notebooks/" not in name}
    if made.made_by == "papermill":
        normalise(folder.with_suffix(".ipynb"))
        theirs = of_any_run(out / "whole/notebooks" / NOTEBOOK.name, out / "whole")
        if of_any_run(folder.with_suffix(".ipynb"), folder) != theirs:
            ours[NOTEBOOK.name] = "differs"
    names = sorted(expected.keys() | ours)
    differ = [name for name in names if ours.get(name) != expected.get(name)]
    said = folder.with_suffix(".log").read_text()
    differ += [line for line in said.splitlines() if "redone" in line or "made again" in line]
    return {"files_compared": len(expected), "differ": differ}


def note(number: int, entry: dict[str, Any]) -> None:
    """Add to what was done in a round, and write the table of all of them."""
    write_jsonl(journal(number), [*done(number), {"round": number, **entry}])
    every = [entry for place in range(len(ROUNDS)) for entry in done(place)]
    kills = [entry for entry in every if "met" in entry]
    by_stage = {name: Counter() for name in (*took, "notebooks", BETWEEN, NOT_HEARD)}
    for one in kills:
        by_stage[one["met"]][one["signal"]] += 1
    runs = [one for one in every if "differ" in one]
    result = {
        "command": "OMP_NUM_THREADS=1 python tests/benchmarks/kills.py OUT",
        "preset": PRESET,
        "values": VALUES,
        "kills": len(kills),
        "by_signal": Counter(one["signal"] for one in kills),
        "runs": [{"made_by": ROUNDS[one["round"]].made_by, **one} for one in runs],
        "kills_by_stage": by_stage,
        **environment(),
    }
    write_json(out / "kills.json", result)
    print(len(kills), "kills,", entry, flush=True)


def journal(number: int) -> Path:
    return out / f"kills{number}.jsonl"


def done(number: int) -> list[dict[str, Any]]:
    return read_jsonl(journal(number)) if journal(number).exists() else []


def once(number: int, aimed: str, killed_with: int, meet: Callable[[int], str]) -> None:
    """Kill a round's run in one stage, but not where that was done before."""
    if any(entry.get("aimed") == aimed for entry in done(number)):
        return
    met = meet(killed_with)
    if met:
        note(number, {"aimed": aimed, "signal": SIGNALS[killed_with].name, "met": met})


out = Path(sys.argv[1]).absolute()
rounds = [int(number) for number in sys.argv[2:]] or range(len(ROUNDS))
out.mkdir(parents=True, exist_ok=True)
for module in MODULES:
    import_module(module)
notebooks.of_run = lambda run, judged: EXECUTED
# In the background of a shell it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
write_jsonl(out / "demonstrations.jsonl", DEMONSTRATIONS)
if not (out / "whole/metrics.json").exists():
    finish(out / "whole", "run")
if not (out / "whole/notebooks" / NOTEBOOK.name).exists():
    finish(out / "whole", "run", last="")
took = {}
for entry in read_jsonl(out / "whole" / "history.jsonl"):
    took[entry["stage"].replace("/", ".")] = entry["seconds"]
for number in rounds:
    how, every, in_them = ROUNDS[number]
    folder = out / f"killed{number}"
    stream = random.Random(number)
    for place, (stage, seconds) in enumerate(took.items()):
        moment = stream.uniform(0, seconds)
        if place % every == 0:
            once(number, stage, (place + number) % 3, partial(in_stage, folder, how, stage, moment))
    finish(folder, how)
    for place in range(in_them):
        once(number, f"notebooks {place}", place, partial(in_notebooks, folder, 20 * place))
    if in_them:
        finish(folder, how, last="")
    if not any("differ" in entry for entry in done(number)):
        note(number, compared(folder, ROUNDS[number]))
