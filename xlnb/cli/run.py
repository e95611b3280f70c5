"""`run`: all stages of a run, then the notebooks on it."""

import argparse
import sys
from pathlib import Path

from xlnb.cli.options import Commands, add_overrides, add_preset, add_yes, place
from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.presets import get_preset, parse_overrides
from xlnb.runs.layout import Run, record_of
from xlnb.runs.run import open_run


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "run", help="all stages and notebooks into a run folder; goes on where it stopped"
    )
    parser.add_argument("--run", type=place, help="the run folder (default: runs/<preset>)")
    add_preset(parser, note="default: the run folder's own, else lab")
    parser.add_argument(
        "--until",
        metavar="STAGE",
        help="stop after this stage, without notebooks (names: see list)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="how many processes share the stages out, each with its part of the cores (default: "
        "1; the lab's models are too small to use a second core in another way)",
    )
    parser.add_argument(
        "--share",
        action="store_true",
        help="copy stages that a run beside this one has finished with the same inputs and values",
    )
    add_yes(parser)
    add_overrides(parser)
    parser.set_defaults(function=run_all)


def run_all(args: argparse.Namespace) -> None:
    from xlnb import stages

    if processes.world() > 1 and not args.until:
        raise InputError(
            "run: the notebooks need one process; with several, name the last stage: --until STAGE"
        )
    if args.processes < 1 or (args.processes > 1 and processes.world() > 1):
        raise InputError("run: --processes is at least 1, and not for processes of a launcher")
    folder = args.run or Path("runs") / get_preset(args.preset or "lab").name
    preset = args.preset
    if not preset and not record_of(folder).exists():
        preset = "lab"
    donors = sorted(folder.parent.glob("*/")) if args.share else []
    run = open_run(folder, preset, parse_overrides(args.overrides), donors=donors)
    last = args.until or stages.steps(run)[-1].name
    _make(run, last, args)
    if not args.until:
        _execute_notebooks(run, judged=last == "report")
    elif processes.is_main():
        print(f"Finished up to {last}: {run.path}")


def _make(run: Run, last: str, args: argparse.Namespace) -> None:
    """The stages up to `last`, shared out where several processes are asked for."""
    from xlnb import stages

    if args.processes == 1:
        stages.run_until(run, last, yes=args.yes)
        return
    # The folder's own preset is what this process has just opened.
    command = [sys.executable, "-m", "xlnb", "run", "--run", str(run.path), "--until", last]
    command += ["--yes"] if args.yes else []
    with processes.joined(args.processes, command):
        stages.run_until(run, last, yes=args.yes)


def _execute_notebooks(run: Run, *, judged: bool) -> None:
    from xlnb.evaluation.text_table import format_table
    from xlnb.runs import notebooks
    from xlnb.stages.metrics import read_metrics

    paths = notebooks.of_run(run, judged=judged)
    left_out = [path.stem for path in notebooks.numbered() if path not in paths]
    if left_out:
        print(
            "Notebooks left out, about the lab's world, judgements or several runs: "
            f"{', '.join(left_out)}"
        )
    if judged:
        print("\nWin rates against " + run.preset.evaluation.baseline + "\n")
        print(format_table(read_metrics(run)["win_rates"], pooled={}) + "\n", flush=True)
    elif run.preset.prompts.eval_path:
        print(
            "Not judged: the oracle knows the lab's prompts only; evaluation.judge names another "
            "judge."
        )
    # Notebooks take the run by its folder, with the folder's own preset, so that they find every
    # stage finished.
    parameters = {"preset": "", "run_dir": str(run.path.resolve())}
    notebooks.execute_all(paths, run.notebooks, parameters)
    print()
    for made in (run.metrics, run.figures, run.notebooks):
        if made.exists():
            print(f"{made.name:<13} {made}")
