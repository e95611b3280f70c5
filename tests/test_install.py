"""What `pip install .` gives: the package with the lab's data, and none of its tests."""

import subprocess
import sys
import zipfile

import pytest

import xlnb
from xlnb.common.files import ROOT, relative


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built offline, with the build back end of requirements.txt."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(folder), "."], cwd=ROOT, check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_its_data(wheel):
    assert wheel.name.startswith(f"xlnb-{xlnb.__version__}-")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("xlnb", "data/lab", "data/checks", "data/prompts", "notebooks"):
        inside = "" if folder == "xlnb" else "xlnb/"
        for path in (ROOT / folder).rglob("*.*"):
            if path.is_file() and path.suffix != ".pyc" and ".ipynb_checkpoints" not in path.parts:
                assert inside + relative(path, ROOT) in names
    assert "xlnb/data/results/calibration.json" in names
    for name in ("analyses", "gemma3_270m", "gemma3_270m_small", "related_methods"):
        assert f"xlnb/data/results/{name}.json" in names
    assert not [name for name in names if not name.startswith(("xlnb/", "xlnb-"))]
    assert not [name for name in names if "test" in name]


def test_an_installed_kit_finds_its_data_from_any_folder(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "from pathlib import Path; from xlnb.models.places import base_path; "
        "from xlnb.planning.devices import CALIBRATION; from xlnb.runs import notebooks; "
        "from xlnb.checks.instructions import split_kinds; split_kinds('json'); "
        "from xlnb.runs import provenance; from xlnb.lab.world import load_world; "
        "assert Path(base_path('data/lab/sft')).is_dir() and CALIBRATION.exists(); "
        "assert load_world().langs and len(notebooks.numbered()) > 5; print(provenance.revision())"
    )
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "elsewhere",
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{xlnb.__version__}, not a git checkout"
