"""Options that several commands have."""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from xlnb.common.errors import InputError
from xlnb.presets import parse_overrides

if TYPE_CHECKING:
    from xlnb.runs.layout import Run

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


def place(text: str) -> Path:
    """A path. Raises ValueError, of which argparse makes a line, for an empty one, as of a shell's
    variable that is not set: it would be the current folder."""
    if not text.strip():
        raise ValueError(text)
    return Path(text)


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=place, required=True, help="the run folder")


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


def for_run(preset: str, overrides: Mapping[str, str]) -> list[str]:
    """The options with which `run` makes a run of a preset with these values."""
    options = ["--preset", preset]
    for key, value in overrides.items():
        options += ["-p", f"{key}={value}"]
    return options


def add_scored_by(parser: argparse.ArgumentParser) -> None:
    """What scores responses: two checkpoints, or a run's models; and by which scores."""
    parser.add_argument("--policy", default="", help="π: a checkpoint, or an adapter on --ref")
    parser.add_argument("--ref", default="", help="π_I: a folder or a Hub id")
    parser.add_argument("--run", type=place, help="or a run folder, whose π_I is the reference")
    parser.add_argument("--model", default="", help="with --run: dpo, icr1 … (default: dpo)")
    parser.add_argument(
        "--english", default="", metavar="SOURCE", help="English prompts by id, if rows have none"
    )
    parser.add_argument(
        "--scores",
        default="cross_lingual,multilingual,likelihood,likelihood_sum,brevity",
        help="names of scores (default: %(default)s)",
    )
    add_overrides(parser)


def scored_by(args: argparse.Namespace) -> tuple["Run", str]:
    """The run and the name of its model that the options mean."""
    from xlnb.stages.given import run_of, run_with

    overrides = parse_overrides(args.overrides)
    if args.run and not (args.policy or args.ref):
        model = args.model or "dpo"
        return run_of(args.run, model, overrides), model
    if args.model and not args.run:
        raise InputError(f"--model {args.model} goes with --run; leave it out")
    if args.policy and args.ref and not args.run:
        return run_with(args.policy, args.ref, overrides), "dpo"
    raise InputError("give --policy and --ref, or --run (and --model): what scores the responses")
