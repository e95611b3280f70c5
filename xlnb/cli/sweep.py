"""`sweep`: a run for every combination of some keys' values, and one table of all."""

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xlnb.cli.options import Commands, add_overrides, add_preset, add_yes, for_run, place
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, write_json, write_text
from xlnb.presets import get_preset, override, parse_overrides, preset_from_dict
from xlnb.presets.grid import grid, parse_axes


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "sweep", help="a run for every combination of keys' values, and one table of them"
    )
    parser.add_argument("--out", type=place, required=True, help="the folder of the runs")
    parser.add_argument(
        "axes",
        nargs="*",
        metavar="KEY=V1,V2,…",
        help="a preset key and its values, such as training.lr=1e-4,2e-4 or seed=0..4",
    )
    parser.add_argument("--table", action="store_true", help="run nothing: the table of what is in")
    parser.add_argument(
        "-j",
        dest="jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="runs side by side, a thread each (default: the number of cores, %(default)s)",
    )
    parser.add_argument("--until", default="", metavar="STAGE", help="stop each after this stage")
    add_preset(parser, "lab")
    add_yes(parser)
    add_overrides(parser)
    parser.set_defaults(function=sweep)


def sweep(args: argparse.Namespace) -> int:
    from xlnb.stages.sweeping import make_points, tasks

    record = args.out / "grid.json"
    failed: dict[str, str] = {}
    if args.table:
        if args.axes:
            raise InputError("sweep: --table takes no keys; it shows the last command's")
        if not record.exists():
            raise InputError(f"{record}: not there; run a sweep into this folder first")
    else:
        if args.jobs < 1:
            raise InputError(f"sweep: -j {args.jobs}: expected a number of at least 1")
        axes, fixed = parse_axes(args.axes), parse_overrides(args.overrides)
        preset = get_preset(args.preset)
        points = grid(preset, axes, fixed)
        options = [*for_run(args.preset, fixed), *(["--yes"] if args.yes else [])]
        todo = tasks(args.out, points, args.until, options)
        preset = override(preset, fixed)
        write_json(record, {"preset": asdict(preset), "axes": axes})
        failed = make_points(args.out, todo, args.jobs)
    _show_table(args.out, _read_grid(record))
    for name, why in failed.items():
        print(f"failed: {name}: {why}", flush=True)
    return 1 if failed else 0


def _read_grid(path: Path) -> dict[str, Any]:
    """grid.json. Raises InputError where it is damaged."""
    damaged = InputError(f"{path}: damaged; run the sweep into this folder again")
    record = read_json(path)
    if not isinstance(record, dict):
        raise damaged
    preset, axes = record.get("preset"), record.get("axes")
    if not isinstance(preset, dict) or not isinstance(preset.get("name"), str):
        raise damaged
    if not isinstance(axes, dict) or not axes:
        raise damaged
    for values in axes.values():
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise damaged
    return record


def _show_table(folder: Path, record: dict[str, Any]) -> None:
    """Write and print the table of the points whose report is there."""
    import matplotlib.pyplot as plt

    from xlnb import figures
    from xlnb.analysis.sweeps import NON_ENGLISH, in_cells, measures, setting_names, sweep_table
    from xlnb.figures.sweeps import settings
    from xlnb.runs import provenance
    from xlnb.runs.layout import Run
    from xlnb.stages.sweeping import as_written, finished

    found, made_by, without = [], [], []
    for point in grid(preset_from_dict(record["preset"]), record["axes"], {}):
        run = Run(folder / point.name, point.preset)
        if not finished(run, "report"):
            without.append(point.name)
            continue
        with as_written(run):
            found.append((point.values, measures(read_json(run.metrics), run.models[-1])))
            made = provenance.made_by(run)
        if made not in made_by:
            made_by.append(made)
    if without:
        print(f"not in the table, without a finished report: {', '.join(without)}", flush=True)
    if not found:
        return
    table = sweep_table(record["axes"], found)
    points = [{"values": values, "measures": measured} for values, measured in found]
    rows = table.to_dict("records")
    write_json(
        folder / "sweep.json", {**record, "made_by": made_by, "points": points, "rows": rows}
    )
    write_text(folder / "sweep.csv", table.to_csv(index=False))
    named = table.assign(setting=setting_names(table))
    drawn = named[(named["measure"] == NON_ENGLISH) & (named["against"] == "")]
    if len(drawn):
        figures.style()
        figure, ax = plt.subplots(figsize=(9, 1.5 + 0.4 * len(drawn)))
        settings(drawn, ax)
        figure.savefig(folder / "sweep.png")
        plt.close(figure)
    print(f"\n{in_cells(table).to_string()}\n\n{folder / 'sweep.csv'}", flush=True)
