"""`evidence`: a lab run beside what else could have made its result."""

import argparse

from xlnb.cli.options import Commands, add_overrides, add_preset, place
from xlnb.presets import parse_overrides
from xlnb.runs.run import open_run


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "evidence",
        help="a lab run, rewards under every taste and its opposite, and controls' win rates",
    )
    parser.add_argument("--run", type=place, required=True, help="the run folder, finished or not")
    add_preset(parser, note="needed where the folder is new")
    add_overrides(parser)
    parser.set_defaults(function=make_evidence)


def make_evidence(args: argparse.Namespace) -> None:
    from xlnb import stages

    run = open_run(args.run, args.preset, parse_overrides(args.overrides))
    print(stages.evidence(run))
