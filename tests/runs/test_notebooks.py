"""The committed notebooks are clean, and every one runs by papermill on one run of `lab-quick`."""

import re

import nbformat
import pytest
from evidence_record import evidence_record

from xlnb import stages
from xlnb.common.files import ROOT, write_json
from xlnb.runs.notebooks import execute, numbered
from xlnb.runs.run import open_run

NOTEBOOKS = numbered()


def test_all_notebooks_are_there():
    numbers = [f"{number:02d}" for number in range(14)]
    assert [path.stem[:2] for path in NOTEBOOKS] == numbers


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_hygiene(path):
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), (
        "execute and normalise it"
    )
    assert [
        output for cell in code for output in cell.outputs if output.output_type == "error"
    ] == []
    assert max(len(cell.source.splitlines()) for cell in code) <= 20
    assert max(len(line) for cell in code for line in cell.source.splitlines()) <= 100
    # GitHub shows a notebook of this size.
    assert len(text.encode()) < 250_000
    assert str(ROOT) not in text
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users|usr)/", text)
    assert any(
        output.get("data", {}).get("image/png") for cell in code for output in cell.outputs
    ), "has a figure"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("notebooks") / "run", "lab-quick")
    stages.run_until(run)
    write_json(run.evidence, evidence_record(0, (0.9, 0.7)))
    return run.path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_by_papermill(path, run_dir, tmp_path):
    output = tmp_path / path.name
    parameters = {"preset": "lab-quick", "run_dir": str(run_dir)}
    if path.stem == "10_seeds":
        parameters = {"run_dirs": f"{run_dir},data/results/lab_seed*.json"}
    execute(path, output, parameters)
    executed = nbformat.read(output, as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    if path.stem in ("00_tour", "03_rewards"):
        shown = [
            str(output.get("text")) for cell in executed.cells for output in cell.get("outputs", [])
        ]
        assert "a record of seed 0\n" in shown
    assert any(
        o.get("data", {}).get("image/png") for c in executed.cells for o in c.get("outputs", [])
    )
