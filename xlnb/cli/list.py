"""`list`: presets, stages and notebooks, or a preset's page."""

import argparse
from pathlib import Path

from xlnb.cli.options import PRESET_HELP, Commands
from xlnb.common.files import ROOT
from xlnb.presets import PRESETS, get_preset
from xlnb.presets.files import yaml_lines
from xlnb.runs.layout import Run


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser("list", help="presets, stages and notebooks, or a preset's page")
    parser.add_argument(
        "--preset",
        help=f"print every value of it with its meaning, as YAML to begin a file of your own with: "
        f"{PRESET_HELP}",
    )
    parser.set_defaults(function=print_list)


def print_list(args: argparse.Namespace) -> None:
    if args.preset:
        print("\n".join(yaml_lines(get_preset(args.preset), without=["name"])))
        return

    from xlnb import stages
    from xlnb.runs import notebooks

    for preset in PRESETS.values():
        print(
            f"preset    {preset.name:<12} base {preset.models.base}, {preset.iterations} iterations"
        )
    for step in stages.steps(Run(Path("runs/lab"), PRESETS["lab"])):
        print(f"stage     {step.name}")
    for notebook in notebooks.numbered():
        print(f"notebook  {notebook.relative_to(ROOT)}")
