"""`render`: executed notebooks as they are committed."""

import argparse
from pathlib import Path

from xlnb.cli.options import Commands
from xlnb.common.errors import InputError


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "render", help="normalise executed notebooks in place, so that they diff well"
    )
    parser.add_argument("notebooks", type=Path, nargs="+")
    parser.set_defaults(function=render)


def render(args: argparse.Namespace) -> None:
    from xlnb.runs import notebooks

    for path in args.notebooks:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        notebooks.normalise(path)
        print(path)
