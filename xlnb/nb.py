"""The opening line of every notebook: `run = nb.start(preset, run_dir, overrides, needs=…)`."""

import ast
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from IPython.core.getipython import get_ipython

from xlnb import figures
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.presets import parse_overrides
from xlnb.runs.layout import Run
from xlnb.runs.provenance import provenance
from xlnb.runs.run import open_run
from xlnb.stages import run_until

# How papermill begins the cell of the parameters that it was given.
INJECTED = "# Parameters\n"


def begin() -> None:
    """Pictures and tables in the kit's style; `start` does so for a notebook about a run.

    Raises InputError for a parameter of papermill's that the notebook does not have.
    """
    shell = get_ipython()
    if shell is not None:
        check_injected(shell.user_ns["In"])
    figures.style()
    pd.set_option("display.max_colwidth", None)


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
    second thread costs more than it brings, so they get one. Raises InputError as `begin`; where a
    finished stage was made with other values than these: name another folder, or say `redo`; and
    where the notebook is about the lab and its truth (`lab`) and the run is not.
    """
    begin()
    if not run_dir.strip():
        raise InputError("run_dir is empty; name a folder, such as runs/lab")
    run = open_run(ROOT / run_dir, preset, parse_overrides(overrides), redo=redo)
    if lab and not run.is_lab:
        why = "run it with preset lab, without prompts.path"
        raise InputError(f"this notebook is about the lab's world: {why}")
    if run.is_lab:
        torch.set_num_threads(1)
    run_until(run, needs)
    print(provenance(run))
    return run


def check_injected(cells: Sequence[str]) -> None:
    """Raise InputError where papermill, which would only warn, was given a name that the notebook's
    parameters, `name: type = value`, do not hold.

    `cells`: the sources of what has been run. papermill's own cell is one of them.
    """
    known = dict.fromkeys(name for source in cells for name in _assigned(source, ast.AnnAssign))
    injected = [source for source in cells if source.startswith(INJECTED)]
    for source in injected[-1:]:
        for name in _assigned(source, ast.Assign):
            if name not in known:
                raise InputError(f"no parameter '{name}'; this notebook has {', '.join(known)}")


def _assigned(source: str, kind: type[ast.AnnAssign] | type[ast.Assign]) -> Iterator[str]:
    """Names that a cell assigns in this way. One that does not parse has assigned nothing."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for statement in tree.body:
        if isinstance(statement, kind):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id
