"""What has to stand beside a result: versions, device, revision."""

import json
import platform
import subprocess
from importlib.metadata import version
from typing import TypedDict

from xlnb import __version__
from xlnb.common.files import INSTALLED, ROOT, read_json, write_text
from xlnb.runs.layout import Run

PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes")


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


class Environment(TypedDict):
    versions: dict[str, str]
    device: str
    git: str


def environment() -> Environment:
    """Versions, device and git revision."""
    import torch

    device = f"CPU, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    return {"versions": versions(), "device": device, "git": revision()}


def note(run: Run) -> None:
    """Name in the run's record what is at work on it now, where that names something else."""
    if run.record.exists():
        record = read_json(run.record)
        noted = record | environment()
        if noted != record:
            write_text(run.record, json.dumps(noted, indent=2) + "\n")


def made_by(run: Run) -> Environment:
    """What made a run, of several the last, as its record says."""
    record = read_json(run.record)
    return {"versions": record["versions"], "device": record["device"], "git": record["git"]}


def revision() -> str:
    """The git revision of a checkout; the version of what was installed without one."""
    revision = ""
    if not INSTALLED:
        git = ["git", "describe", "--always", "--dirty"]
        described = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
        revision = described.stdout.strip()
    return revision or f"{__version__}, not a git checkout"


def provenance(run: Run) -> str:
    """What made the run, in a line: preset, seed, versions, device and git revision."""
    record = read_json(run.record)
    made_with = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"{run.preset.name}, seed {run.preset.seed}; {made_with}; {record['device']}; "
        f"xlnb {record['git']}"
    )
