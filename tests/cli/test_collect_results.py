"""Published results are collected from runs, one a seed, into the folder that is named."""

import os
import subprocess
import sys

import pytest

from xlnb.common.files import ROOT, read_json, write_json

SCRIPT = ROOT / "tests" / "benchmarks" / "collect_results.py"


@pytest.fixture
def run(tmp_path):
    """A run folder as far as the script reads it, of a published record."""
    record = read_json(ROOT / "data" / "results" / "lab_seed0.json")
    write_json(tmp_path / "run" / "preset.json", {"preset": record["preset"]})
    write_json(tmp_path / "run" / "evidence.json", record)
    return tmp_path / "run"


def collect(out, *runs):
    command = [sys.executable, str(SCRIPT), "--out", str(out), *map(str, runs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_one_run_is_enough(run, tmp_path):
    done = collect(tmp_path / "out", run)
    assert done.returncode == 0, done.stderr
    published = read_json(ROOT / "data" / "results" / "lab_seed0.json")
    assert read_json(tmp_path / "out" / "lab_seed0.json") == published
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert pictures == {"tastes.png", "win_rates.png"}
    assert "nan" not in done.stdout


def test_a_run_or_a_seed_twice_is_refused(run, tmp_path):
    other = tmp_path / "other"
    other.symlink_to(run, target_is_directory=True)
    copy = tmp_path / "copy"
    for name in ("preset.json", "evidence.json"):
        write_json(copy / name, read_json(run / name))
    for second, message in ((other, "is given twice"), (copy, f"has seed 0, as {run} has")):
        done = collect(tmp_path / "out", run, second)
        assert done.returncode == 2
        assert done.stderr == f"error: {second} {message}; give one run a seed\n"
    assert not (tmp_path / "out").exists()
