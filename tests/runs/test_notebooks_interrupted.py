"""Ctrl-C while notebooks are executed: it ends within seconds and leaves nothing half done."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.runs import notebooks


def notebook(path, *sources):
    tagged = new_code_cell('run_dir: str = ""', metadata={"tags": ["parameters"]})
    cells = [tagged, *(new_code_cell(source) for source in sources)]
    nbformat.write(new_notebook(cells=cells, metadata=notebooks.KERNEL), path)
    return path


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_an_interrupted_batch_ends_soon_and_leaves_no_partial_notebook(tmp_path):
    told = f"import os, time; open(f'{tmp_path}/pid{{os.getpid()}}', 'w').close()"
    paths = [notebook(tmp_path / f"0{i}_slow.ipynb", told, "time.sleep(120)") for i in range(3)]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/01_slow.ipynb").write_text("of an earlier run")
    code = (
        "from pathlib import Path; from xlnb.runs import notebooks; "
        f"notebooks.execute_all([Path(p) for p in {[str(p) for p in paths]!r}], "
        f"Path({str(tmp_path / 'out')!r}), {{}})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 110
    while len(list(tmp_path.glob("pid*"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    # On an idle machine it takes 2 seconds; cells sleep for 120.
    _, shown = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in shown
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["01_slow.ipynb"]
    assert (tmp_path / "out/01_slow.ipynb").read_text() == "of an earlier run"
    kernels = [int(path.name.removeprefix("pid")) for path in tmp_path.glob("pid*")]
    assert len(kernels) == 2 and all(is_gone(pid) for pid in kernels)


def test_a_kernel_that_dies_is_one_line_and_leaves_no_notebook(tmp_path):
    path = notebook(tmp_path / "00_dies.ipynb", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(InputError, match=r"out/00_dies\.ipynb: its kernel has ended"):
        notebooks.execute(path, tmp_path / "out" / path.name, {})
    assert list((tmp_path / "out").iterdir()) == []
