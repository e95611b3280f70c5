"""The opening line of every notebook: `run = nb.start(preset, run_dir, overrides, needs=…)`."""

import pandas as pd
import torch

from xlnb import figures
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.presets import parse_overrides
from xlnb.runs.layout import Run
from xlnb.runs.provenance import provenance
from xlnb.runs.run import open_run
from xlnb.stages import run_until


def start(
    preset: str,
    run_dir: str,
    overrides: str,
    *,
    needs: str = "prompts",
    lab: bool = False,
    redo: bool = False,
) -> Run:
    """Open a run folder, make what is missing of it up to the stage `needs`, and say what it is.

    A relative `run_dir` is taken from the project's root. The lab's models are so small that a
    second thread costs more than it brings, so they get one. Raises InputError where a finished
    stage was made with other values than these: name another folder, or say `redo`; and where the
    notebook is about the lab and its truth (`lab`) and the run is not.
    """
    run = open_run(ROOT / run_dir, preset, parse_overrides(overrides), redo=redo)
    if lab and not run.is_lab:
        why = "run it with preset lab, without prompts.path"
        raise InputError(f"this notebook is about the lab's world: {why}")
    if run.is_lab:
        torch.set_num_threads(1)
    figures.style()
    pd.set_option("display.max_colwidth", None)
    run_until(run, needs)
    print(provenance(run))
    return run
