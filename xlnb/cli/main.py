"""The command line: a command a file, and the edge at which expected errors become one line.

Exit codes: 0; 2 for bad input and a full disk; 130 when interrupted; what `check` returns.
"""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence

from xlnb.cli import check, clean, plan, push, render, run, stage, winrate
from xlnb.cli import list as list_
from xlnb.common import processes
from xlnb.common.errors import InputError

COMMANDS = (run, stage, winrate, push, plan, list_, check, render, clean)

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        code = args.function(args)
        sys.stdout.flush()
    except InputError as error:
        if processes.first_to_say(str(error)):
            print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has read enough; what is left has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = error.filename or "the run folder"
        print(
            f"error: {where}: no space left on the disk; free some and start again, finished work "
            "is kept",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        if processes.is_main():
            print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    processes.leave()
    return code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xlnb", description="Implicit cross-lingual rewarding, step by step."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
