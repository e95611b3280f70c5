"""`clean`: sweep what stages have set aside."""

import argparse
import shutil

from xlnb.cli.options import Commands, add_run
from xlnb.runs.lock import held
from xlnb.runs.records import set_aside
from xlnb.runs.run import open_run


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "clean", help="remove what stages of a run have set aside (.old), which nothing reads"
    )
    add_run(parser)
    parser.set_defaults(function=clean)


def clean(args: argparse.Namespace) -> None:
    run = open_run(args.run)
    freed = 0
    with held(run.path):
        for path in set_aside(run):
            files = path.rglob("*") if path.is_dir() else [path]
            freed += sum(file.stat().st_size for file in files if file.is_file())
            print(f"removed {path}")
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    print(f"{freed / 2**20:.1f} MiB are free again")
