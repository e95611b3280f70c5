"""The command line: a command a file, and the edge at which expected errors become one line.

Exit codes: 0; 2 for bad input and errors of the system; 1 for what nobody expected; 130 when
interrupted, 143 when told to end; what `check` returns.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from xlnb.cli import (
    accuracy,
    analyses,
    check,
    clean,
    compare,
    edge,
    evidence,
    plan,
    push,
    render,
    run,
    score,
    stage,
    sweep,
    winrate,
)
from xlnb.cli import list as list_
from xlnb.common import processes
from xlnb.common.interruption import Ended, interruptible
from xlnb.common.parent import end_with_parent

COMMANDS = (
    run,
    sweep,
    evidence,
    analyses,
    stage,
    winrate,
    accuracy,
    score,
    compare,
    push,
    plan,
    list_,
    check,
    render,
    clean,
)


def main(argv: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot write is no reason to lose what was made.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = _parser().parse_args(argv)
    try:
        with interruptible():
            end_with_parent()
            code = args.function(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has read enough; what is left has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt as interrupt:
        if processes.is_main():
            print("interrupted; the same command goes on from here", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(interrupt, Ended) else signal.SIGINT)
    except Exception as error:
        line = edge.explain(error)
        if args.debug or line is None:
            print(edge.trace(error), file=sys.stderr, flush=True)
        if line is None:
            return 1
        if processes.first_to_say(line):
            print(f"error: {line}", file=sys.stderr, flush=True)
        return 2
    processes.leave()
    return code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xlnb", description="Implicit cross-lingual rewarding, step by step."
    )
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    for each in (parser, *commands.choices.values()):
        each.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show the whole traceback of an error",
        )
    return parser
