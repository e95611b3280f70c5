"""`sweep`: a grid of runs in child processes, killed and resumed, and its table."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from dataclasses import asdict

import pytest
from damage import DAMAGED, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SMALL

from xlnb.cli.main import main
from xlnb.common.files import ROOT, read_json, write_json
from xlnb.presets import get_preset

AXES = ["training.lr=1e-4,1e-2", "scoring.beta=0.1,0.2", "seed=0..1"]
SWEEP = [sys.executable, "-m", "xlnb", "sweep", "--preset", "lab-quick", "-j", "2"]
FIXED = [part for key, value in SMALL.items() for part in ("-p", f"{key}={value}")]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


def logs(folder):
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.log"))}


def finished(folder):
    """The metrics of points that were made to their end: a kill may fall between the file and the
    stage's record."""
    found = []
    for path in folder.glob("*/stages/report.json"):
        if '"done"' in path.read_text(encoding="utf-8"):
            found.append(path.parents[1] / "metrics.json")
    return found


def processes():
    """The command lines of all, whole."""
    ps = ["ps", "-ewwo", "args"]
    return subprocess.run(ps, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep that was ended by SIGTERM in the middle, and what the last command said."""
    folder = tmp_path_factory.mktemp("sweep") / "out"
    command = [*SWEEP, "--out", str(folder), *FIXED, *AXES]
    first = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    begun = time.monotonic()
    while not finished(folder) and time.monotonic() - begun < 300:
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=90)
    assert first.returncode == 143
    assert "interrupted; the same command goes on from here" in said
    # All of its processes have ended with it.
    assert str(folder) not in processes()
    made = {path: path.stat().st_mtime_ns for path in finished(folder)}
    assert 1 <= len(made) < 8
    again = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert {path: path.stat().st_mtime_ns for path in made} == made
    return folder, again.stdout


def test_every_point_is_a_run_with_its_values(swept):
    folder, _ = swept
    for lr in ("1e-4", "1e-2"):
        for seed in (0, 1):
            run = folder / f"training.lr={lr}__scoring.beta=0.2__seed={seed}"
            preset = read_json(run / "preset.json")["preset"]
            assert (preset["training"]["lr"], preset["seed"]) == (float(lr), seed)
            assert preset["scoring"]["beta"] == 0.2
            assert read_json(run / "metrics.json")["seed"] == seed
    assert len(list(folder.glob("*/metrics.json"))) == 8


def test_what_points_share_is_made_once(swept):
    """Of four points of a seed one has made it, and three have copied it."""
    folder, _ = swept
    copied = "\n".join(logs(folder).values()).splitlines()
    for name in ("prompts", "dpo/adapter", "icr1/samples", "icr1/logps/cross_lingual"):
        said = [line for line in copied if line.startswith(f"{name}: copied from ")]
        # Prompts depend on no seed.
        assert len(said) == (7 if name == "prompts" else 6), name
    # One β is two learning rates' pairs.
    pairs = [line for line in copied if line.startswith("icr1/pairs: copied from ")]
    assert len(pairs) >= 4
    # The learning rate is the adapter's own; a report has its run's own seconds.
    own = ("icr1/adapter: copied", "report: copied")
    assert not any(line.startswith(own) for line in copied)
    assert not any("redone" in line or "made again" in line for line in copied)
    for seed in (0, 1):
        weights = {}
        for run in folder.glob(f"*seed={seed}/"):
            weights[(run / "dpo/adapter/adapter_model.safetensors").read_bytes()] = run
        assert len(weights) == 1


def test_the_table_has_intervals_and_paired_differences(swept, capsys):
    folder, said = swept
    record = read_json(folder / "sweep.json")
    assert len(record["points"]) == 8
    assert {"versions", "device", "git"} == record["made_by"][0].keys()
    rows = list(csv.DictReader((folder / "sweep.csv").open()))
    assert len(rows) == len(record["rows"])
    mine = [row for row in rows if row["measure"] == "win rate, non-en"]
    assert [row["against"] for row in mine].count("") == 4
    assert [row["against"] for row in mine].count("training.lr=1e-4") == 2
    assert {row["seeds"] for row in mine} == {"2"}
    values = {}
    for point in record["points"]:
        values[tuple(point["values"].values())] = point["measures"]["win rate, es"]
    (row,) = [
        row
        for row in record["rows"]
        if row["against"] == "training.lr=1e-4"
        and row["scoring.beta"] == "0.2"
        and row["measure"] == "win rate, es"
    ]
    gains = [values["1e-2", "0.2", seed] - values["1e-4", "0.2", seed] for seed in "01"]
    assert row["mean"] == pytest.approx(sum(gains) / 2)
    assert row["low"] <= row["mean"] <= row["high"]
    assert (folder / "sweep.png").exists()
    assert "training.lr=1e-2 scoring.beta=0.1 − training.lr=1e-4" in said
    before = (folder / "sweep.csv").read_bytes()
    assert main(["sweep", "--out", str(folder), "--table"]) == 0
    assert (folder / "sweep.csv").read_bytes() == before
    assert "accuracy, cross_lingual" in capsys.readouterr().out


def test_points_end_with_a_sweep_that_is_killed(tmp_path):
    folder = tmp_path / "out"
    command = [*SWEEP, "--out", str(folder), *FIXED, "seed=0,1"]
    sweep = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    begun = time.monotonic()
    while len(list(folder.glob("*/stages/*"))) < 2 and time.monotonic() - begun < 300:
        time.sleep(0.1)
    sweep.kill()
    sweep.wait()
    told = time.monotonic()
    while (running := f"{folder}" in processes()) and time.monotonic() - told < 60:
        time.sleep(0.1)
    assert not running
    assert "interrupted; the same command goes on from here" in logs(folder)["seed=0"]


def test_a_point_that_fails_is_named_and_stops_no_other(tmp_path, capsys):
    folder = tmp_path / "out"
    argv = ["sweep", "--preset", "lab-quick", "--out", str(folder), "--until", "prompts", "-j", "1"]
    assert main([*argv, "prompts.langs=th;es,en"]) == 1
    out = capsys.readouterr().out
    assert "failed: prompts.langs=th: prompts.langs: the lab does not speak 'th'" in out
    assert "failed: prompts.langs=es" not in out
    # A value with a comma in it is one value.
    made = folder / "prompts.langs=es-en"
    assert sorted(path.stem for path in made.glob("prompts/*.jsonl")) == ["en", "es"]
    assert read_json(made / "preset.json")["preset"]["prompts"]["langs"] == "es,en"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no key to vary"),
        (["x=1"], "unknown preset key 'x'"),
        (["seed"], "expected key=value"),
        (["seed="], "seed: '' holds no value"),
        (["seed=1,,2"], "seed: '' holds no value"),
        (["seed=3..1"], "seed: '3..1' holds no value"),
        (["seed=0..99999999999999999999999"], "holds more than 10,000 values; name fewer"),
        (["seed=1,1"], "two points are seed=1"),
        (["training.lr=1e-4,0.0001"], "two points are training.lr=0.0001"),
        (["seed=1", "seed=2"], "seed is given twice"),
        (["seed=1", "-p", "seed=2"], "seed is given twice"),
        (["training.lr=1e-4,abc"], "preset key 'training.lr': expected float, got 'abc'"),
        (["scoring.scorers=likelihood;nix"], "scoring.scorers 'nix'"),
        (
            ["prompts.langs=en,es"],
            "put semicolons between values, as 'prompts.langs=en;es', or one",
        ),
        (["prompts.langs=en,es;;en"], "prompts.langs: '' holds no value"),
        (["seed=1", "--until", "nix"], "unknown stage 'nix'"),
        (["seed=1", "-j", "0"], "-j 0: expected a number of at least 1"),
        (["seed=1", "--table"], "--table takes no keys"),
        (["--table"], "run a sweep into this folder first"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, capsys, arguments, message):
    folder = tmp_path / "out"
    assert main(["sweep", "--preset", "lab-quick", "--out", str(folder), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not folder.exists()


@settings(DAMAGED, max_examples=60)
@given(data=st.data())
def test_a_damaged_grid_is_a_table_or_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "grid"
    record = {
        "preset": asdict(get_preset("lab-quick")),
        "axes": {"training.lr": ["1e-4"], "seed": ["0", "1"]},
    }
    write_json(folder / "grid.json", record)
    path = folder / "grid.json"
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    said = io.StringIO()
    with redirect_stderr(said):
        code = main(["sweep", "--out", str(folder), "--table"])
    assert (code, len(said.getvalue().splitlines())) in ((0, 0), (2, 1)), said.getvalue()
