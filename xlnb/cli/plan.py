"""`plan`: what a run will take on a device, before it."""

import argparse
import json
from pathlib import Path

from xlnb.cli.options import Commands, add_overrides, add_preset, amount
from xlnb.common.errors import InputError
from xlnb.presets import get_preset, parse_overrides
from xlnb.runs.layout import Run

# Of GPUs, prompts and tokens.
MOST = 10**9


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "plan", help="tokens, FLOPs, hours, memory and disk of each stage, before a run"
    )
    add_preset(parser, default="lab")
    parser.add_argument(
        "--gpu", required=True, help="such as h100, a100-80g, rtx4090; cpu: this machine's"
    )
    parser.add_argument("--gpus", type=int, default=1, help="how many of them (default: 1)")
    parser.add_argument(
        "--prompts",
        type=int,
        default=0,
        help="training prompts a language, all iterations together",
    )
    parser.add_argument("--prompt-tokens", type=amount, default=0, help="mean length of a prompt")
    parser.add_argument(
        "--response-tokens", type=amount, default=0, help="mean length of a response"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: bytes, hours, a record a stage"
    )
    add_overrides(parser)
    parser.set_defaults(function=print_plan)


def print_plan(args: argparse.Namespace) -> None:
    from xlnb import stages
    from xlnb.planning.report import format_plan, make_plan

    if not 1 <= args.gpus <= MOST:
        raise InputError(f"--gpus {args.gpus}: expected 1 to {MOST:,}")
    preset = get_preset(args.preset, parse_overrides(args.overrides))
    most = {"prompts": MOST, "prompt_tokens": MOST}
    most["response_tokens"] = preset.sampling.max_new_tokens
    for name, limit in most.items():
        if not 0 <= getattr(args, name) <= limit:
            option = "--" + name.replace("_", "-")
            why = " (sampling.max_new_tokens)" if name == "response_tokens" else ""
            raise InputError(
                f"{option} {getattr(args, name):g}: expected a number up to {limit:,}{why}"
            )
    plan = make_plan(
        preset,
        stages.steps(Run(Path("runs") / preset.name, preset)),
        args.gpu,
        gpus=args.gpus,
        prompts=args.prompts,
        prompt_tokens=args.prompt_tokens,
        response_tokens=args.response_tokens,
    )
    print(json.dumps(plan, indent=1) if args.json else format_plan(plan))
