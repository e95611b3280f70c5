"""`stage`: one stage of a run folder."""

import argparse
import inspect
from collections.abc import Iterator

from xlnb.cli.options import Commands, add_overrides, add_preset, add_run, add_yes
from xlnb.common import processes
from xlnb.presets import parse_overrides
from xlnb.runs.run import open_run


class StageNames:
    """The names in `xlnb.stages.STAGES`, whose import takes seconds, read when they are needed."""

    def __iter__(self) -> Iterator[str]:
        from xlnb.stages import STAGES

        return iter(STAGES)


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser("stage", help="one stage of a run folder")
    parser.add_argument("stage", metavar="STAGE", choices=StageNames(), help="one of %(choices)s")
    add_run(parser)
    add_preset(parser, note="needed where the folder is new")
    parser.add_argument(
        "--iteration",
        type=int,
        default=1,
        help="for select, gate, sample … train (default: 1; 0 is English DPO)",
    )
    parser.add_argument(
        "--model", default="", help="for respond and judge: sft, dpo, icr1 … (default: all)"
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="for translate, logps and score: of the shared responses, not the policy's own",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="for judge and localise: ask once more about what had no answer",
    )
    add_yes(parser)
    add_overrides(parser)
    parser.set_defaults(function=run_stage)


def run_stage(args: argparse.Namespace) -> None:
    from xlnb.stages import STAGES

    run = open_run(args.run, args.preset, parse_overrides(args.overrides))
    stage = STAGES[args.stage]
    takes = inspect.signature(stage).parameters
    given: dict[str, object] = {
        "iteration": args.iteration,
        "shared": args.shared,
        "yes": args.yes,
        "again": args.again,
    }
    options = {name: value for name, value in given.items() if name in takes}
    calls = [options]
    if "model_name" in takes:
        models = [args.model] if args.model else run.models
        calls = [{**options, "model_name": model} for model in models]
    for call in calls:
        made = stage(run, **call)
        if processes.is_main():
            print(made)
