"""`check`: what works on this machine and what is missing."""

import argparse

from xlnb.cli.options import Commands, add_overrides, add_preset
from xlnb.presets import get_preset, parse_overrides


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "check", help="what works here and what is missing, OK, NOTE or FAIL a line"
    )
    add_preset(parser, default="lab")
    add_overrides(parser)
    parser.set_defaults(function=check_machine)


def check_machine(args: argparse.Namespace) -> int:
    from xlnb.planning.check import run_checks

    return run_checks(get_preset(args.preset, parse_overrides(args.overrides)))
