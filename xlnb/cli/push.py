"""`push`: a trained adapter to the Hub, or the π_I that it stands on."""

import argparse

from xlnb.cli.options import Commands, add_run
from xlnb.runs.run import open_run


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "push", help="upload a trained adapter, or π_I where it was made here, to the Hub"
    )
    add_run(parser)
    parser.add_argument("--model", required=True, help="dpo, icr1 …, or sft")
    parser.add_argument(
        "--to", required=True, metavar="ORG/NAME", help="made where it is new, and then private"
    )
    parser.add_argument(
        "--base", default="", metavar="ORG/NAME", help="its base on the Hub, where that is a folder"
    )
    parser.set_defaults(function=push_adapter)


def push_adapter(args: argparse.Namespace) -> None:
    from xlnb.runs.push import push

    print(push(open_run(args.run), args.model, args.to, args.base))
