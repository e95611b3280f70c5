"""`analyses`: the runs that decide the paper's claims, or those of related methods, and what was
measured on them."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xlnb.cli.options import Commands, add_overrides, add_preset, for_run, place
from xlnb.common.errors import InputError
from xlnb.common.files import json_text, write_text
from xlnb.presets import get_preset, override, parse_overrides
from xlnb.presets.claims import SEEDS, get_analyses, points
from xlnb.presets.grid import Point, parse_axes
from xlnb.presets.related import PAGES


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "analyses", help="the runs that decide the paper's claims, some seeds an arm"
    )
    parser.add_argument("--out", type=place, required=True, help="the folder of the runs")
    parser.add_argument(
        "--page",
        choices=PAGES,
        default="analyses",
        help="the paper's claims, or related methods (default: %(default)s)",
    )
    known = "; of ".join(f"{page}: {', '.join(names)}" for page, names in PAGES.items())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {known} (default: all)")
    parser.add_argument(
        "--seeds",
        default=f"0..{SEEDS - 1}",
        metavar="N..M",
        help="all arms of one seed before the next (default: %(default)s)",
    )
    parser.add_argument(
        "-j", dest="jobs", type=int, default=1, metavar="N", help="runs side by side (default: 1)"
    )
    parser.add_argument(
        "--collect", action="store_true", help="run nothing: the record of what is finished"
    )
    parser.add_argument(
        "--also",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a record of runs that another machine has finished, which are not made here",
    )
    add_preset(parser, "lab")
    add_overrides(parser)
    parser.set_defaults(function=analyses)


def analyses(args: argparse.Namespace) -> int:
    from xlnb.stages.analyses import is_in, read_also
    from xlnb.stages.sweeping import make_points, tasks

    if args.jobs < 1:
        raise InputError(f"analyses: -j {args.jobs}: expected a number of at least 1")
    fixed = parse_overrides(args.overrides)
    preset = get_preset(args.preset)
    page = PAGES[args.page]
    seeds = parse_axes([f"seed={args.seeds}"])["seed"]
    once = {override(preset, {"seed": seed}).seed for seed in seeds}
    if len(once) < len(seeds):
        raise InputError(f"analyses: --seeds {args.seeds}: a seed is named twice; leave one out")
    also = read_also(args.also, override(preset, fixed))
    # Bad values of any are told before the first begins.
    todo = []
    for seed in seeds:
        some = points(preset, get_analyses(page, args.names), [seed], fixed)
        some = [point for point in some if not is_in(also, point)]
        todo.append(tasks(args.out, some, "report", for_run(args.preset, fixed)))
    options = "" if args.page == "analyses" else f"--page {args.page} "
    options += f"--preset {args.preset} --seeds {args.seeds}"
    path = args.out / f"{args.page}.json"
    record = {
        "command": f"python -m xlnb analyses {options}",
        "preset": asdict(override(preset, fixed)),
    }
    # Of all that is finished, whatever this command was asked for.
    every = points(preset, page.values(), seeds, fixed)
    failed: dict[str, str] = {}
    if not args.collect:
        for number, of_seed in enumerate(todo, 1):
            failed |= make_points(args.out, of_seed, args.jobs)
            _write(path, record, every, also, look_inside=number == len(todo))
    else:
        _write(path, record, every, also)
    for name, why in failed.items():
        print(f"failed: {name}: {why}", flush=True)
    return 1 if failed else 0


def _write(
    path: Path,
    record: Mapping[str, Any],
    every: Sequence[Point],
    also: Sequence[dict[str, Any]],
    *,
    look_inside: bool = True,
) -> None:
    """The page's record, of those points that are finished. Looking inside of a run takes minutes:
    between seeds it is left out."""
    from xlnb.analysis.inside import inside_of_method
    from xlnb.stages.analyses import collect, is_in, together

    here = [point for point in every if not is_in(also, point)]
    with_users = path.stem == "related_methods"
    found = together([collect(path.parent, here, with_users=with_users), *also])
    if path.stem == "analyses" and look_inside:
        found["inside"] = inside_of_method(path.parent, here)
    # A line a run: hundreds of them are committed.
    lines = ",\n".join(map(json_text, found["runs"]))
    head = json_text({**record, **found, "runs": []}, indent=1)
    write_text(path, head.replace('"runs": []', f'"runs": [\n{lines}\n]') + "\n")
    print(f"{path}: {len(found['runs'])} of {len(every)} runs are finished", flush=True)
