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
    from xlnb.common.given import is_blank
    from xlnb.common.languages import language_name
    from xlnb.evaluation.text_table import aligned
    from xlnb.runs.run import open_run
    from xlnb.stages.comparing import compare, english_question

    if is_blank(args.question) or args.n < 1:
        raise InputError("compare: expected a question and -n of at least 1")
    language_name(args.lang)
    run = open_run(args.run)
    english = args.english or english_question(run, args.question, args.lang)
    answers = compare(run, args.question, args.lang, english, args.n)
    rewards = ["-" if one.reward is None else f"{one.reward:+.3f}" for one in answers]
    texts = [" ".join(one.text.split()) for one in answers]
    left = aligned(["model", *(one.model for one in answers)], [["R_c", *rewards]])
    for line, text in zip(left.splitlines(), ["answer", *texts], strict=True):
        print(f"{line}  {text}")
    if english:
        print(f"\nR_c: by π^0 under '{english}', in β nats")
    else:
        print(f"\nR_c needs the question in English: --english (of {args.lang} it is not known)")
