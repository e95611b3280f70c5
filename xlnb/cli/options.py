"""Options that several commands have."""

import argparse
import math
from pathlib import Path
from typing import Protocol

PRESET_HELP = "a preset's name (see list) or a file of your own, such as mine.yaml"


class Commands(Protocol):
    """What argparse gives a command's `add_parser`."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser: ...


def amount(text: str) -> float:
    """A finite number of at least 0. Raises ValueError, of which argparse makes a line."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError(text)
    return number


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="the run folder")


def add_preset(parser: argparse.ArgumentParser, default: str = "", note: str = "") -> None:
    parser.add_argument(
        "--preset", default=default, help=f"{PRESET_HELP} ({note or f'default: {default}'})"
    )


def add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--yes", action="store_true", help="let a model that costs money begin without a question"
    )


def add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a preset key, such as -p training.lr=5e-5 -p seed=1",
    )
