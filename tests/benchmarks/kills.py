"""Kills all over a run, judge and responses included:

python tests/benchmarks/kills.py OUT [KILLS] [SEED]

A `lab-quick` run is made undisturbed. Others are killed, with SIGKILL and SIGTERM in turn, at a
random moment of every stage in turn, and go on by the same command, until there were KILLS (100);
then each run's files are compared with the undisturbed one's. Writes how many kills met which stage
to OUT/kills.json, after every run anew.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from xlnb.common.files import read_json, sha256, write_json
from xlnb.runs.provenance import environment

RUN = ("run", "--preset", "lab-quick", "--until", "report", "--run")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
# What a command says that was told to end.
INTERRUPTED = "interrupted; the same command goes on from here\n"
# Where a kill met no stage.
BETWEEN = "between stages"
# Where the run went on to its end all the same.
NOT_HEARD = "not heard"


def begin(folder: Path) -> subprocess.Popen:
    log = folder.with_suffix(".log").open("a")
    command = [sys.executable, "-m", "xlnb", *RUN, str(folder)]
    return subprocess.Popen(command, stdout=log, stderr=subprocess.PIPE, text=True)


def states(folder: Path) -> dict[str, str]:
    """working or done, by stage, of those that were begun."""
    found = {}
    for stamp in (folder / "stages").glob("*.json"):
        found[stamp.stem] = read_json(stamp)["state"]
    return found


def finish(folder: Path) -> None:
    process = begin(folder)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"{folder}: exit {process.returncode}: {said}")


def kill(folder: Path, stage: str, seconds: float, number: int) -> str:
    """Go on with a run and kill it `seconds` after it is at work on the stage. The stage that the
    kill met, BETWEEN, NOT_HEARD, or nothing where it came too late: the stage or the run had ended."""
    if states(folder).get(stage) == "done":
        return ""
    stamp = folder / "stages" / f"{stage}.json"
    before = written(stamp)
    process = begin(folder)
    while process.poll() is None and written(stamp) == before:
        time.sleep(0.002)
    time.sleep(seconds)
    late = process.poll() is not None
    process.send_signal(SIGNALS[number % 2])
    _, said = process.communicate()
    if process.returncode == 0:
        return "" if late else NOT_HEARD
    expected = 128 + signal.SIGTERM if number % 2 else -signal.SIGKILL
    if process.returncode != expected or (number % 2 and INTERRUPTED not in said):
        raise SystemExit(f"{folder}: exit {process.returncode}: {said}")
    at_work = [name for name, state in states(folder).items() if state == "working"]
    return at_work[0] if at_work else BETWEEN


def written(path: Path) -> int:
    """When, in nanoseconds; 0 where it is not there."""
    return path.stat().st_mtime_ns if path.exists() else 0


def artifacts(folder: Path) -> dict[str, object]:
    """What every stage wrote, by path: its checksum; of JSON that holds times, all but these."""
    found: dict[str, object] = {}
    for stamp in sorted((folder / "stages").glob("*.json")):
        for name in read_json(stamp)["outputs"]:
            path = folder / name
            if path.name in ("metrics.json", "training.json"):
                values = read_json(path)
                found[name] = {key: values[key] for key in values if "seconds" not in key}
            else:
                found[name] = sha256(path)
    for path in folder.rglob("*"):
        if path.suffix in (".part", ".tmp") or ".old" in path.name:
            found[f"{path.relative_to(folder)}"] = "left over"
    return found


out = Path(sys.argv[1])
most = int(sys.argv[2]) if len(sys.argv) > 2 else 100
seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
stream = random.Random(seed)
out.mkdir(parents=True, exist_ok=True)
os.environ["OMP_NUM_THREADS"] = "1"
finish(out / "whole")
expected = artifacts(out / "whole")
took = {}
for line in (out / "whole" / "history.jsonl").read_text().splitlines():
    entry = json.loads(line)
    took[entry["stage"].replace("/", ".")] = entry["seconds"]
met: dict[str, Counter[str]] = {name: Counter() for name in (*took, BETWEEN, NOT_HEARD)}
differ: list[str] = []
number = runs = 0
while number < most:
    runs += 1
    folder = out / f"killed{runs}"
    for stage, seconds in took.items():
        if number == most:
            break
        where = kill(folder, stage, stream.uniform(0, seconds), number)
        if where:
            met[where][SIGNALS[number % 2].name] += 1
            number += 1
    finish(folder)
    ours = artifacts(folder)
    for name in sorted(expected.keys() | ours):
        if ours.get(name) != expected.get(name):
            differ.append(f"{folder.name}/{name}")
    said = folder.with_suffix(".log").read_text()
    differ += [line for line in said.splitlines() if "redone" in line or "made again" in line]
    result = {
        "command": f"python tests/benchmarks/kills.py OUT {most} {seed}",
        "preset": "lab-quick",
        "kills": number,
        "runs": runs,
        "files_compared": runs * len(expected),
        "differ": differ,
        "kills_by_stage": {name: dict(counts) for name, counts in met.items()},
        **environment(),
    }
    write_json(out / "kills.json", result)
    print(number, "kills,", len(differ), "differ", flush=True)
