"""`compare`: the answers of a run's models to one question, side by side."""

import argparse

from xlnb.cli.options import Commands, add_run
from xlnb.common.errors import InputError


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "compare", help="answers of π_I, π^0, π^1 … to a question, with R_c of each"
    )
    parser.add_argument("question", help="in the language of --lang")
    add_run(parser)
    parser.add_argument("--lang", default="en", help="its language, as a code (default: en)")
    parser.add_argument("-n", type=int, default=3, help="answers a model (default: 3)")
    parser.add_argument(
        "--english",
        default="",
        help="the same question in English, which R_c reads (default: the question where it is "
        "English, the parallel one where it is the lab's)",
    )
    parser.set_defaults(function=print_answers)


def print_answers(args: argparse.Namespace) -> None:
    import pandas as pd

    from xlnb.common.text import in_one_line
    from xlnb.evaluation.text_table import aligned
    from xlnb.explore.asking import Player
    from xlnb.runs.run import open_run

    if args.n < 1:
        raise InputError("compare: expected -n of at least 1")
    run = open_run(args.run)
    player = Player(run)
    question = player.question(args.question, args.lang, args.english)
    answers = player.ask(question, n=args.n, seed=run.preset.seed)
    rewards = ["-"] * len(answers)
    if question.english:
        # None of an answer before which a model thought.
        rewards = ["-" if pd.isna(each) else f"{each:+.3f}" for each in answers["R_c"]]
    texts = [in_one_line(" ".join(text.split())) for text in answers["answer"]]
    left = aligned(["model", *answers["model"]], [["R_c", *rewards]])
    for line, text in zip(left.splitlines(), ["answer", *texts], strict=True):
        print(f"{line}  {text}")
    if question.english:
        print(f"\nR_c: by π^0 under '{question.english}', in β nats")
    else:
        print(f"\nR_c needs the question in English: --english (of {args.lang} it is not known)")
