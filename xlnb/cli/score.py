"""`score`: rewards of one's own responses."""

import argparse
from pathlib import Path

from xlnb.cli.options import Commands, add_scored_by, place, scored_by


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser("score", help="rewards of responses of one's own")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--responses",
        type=Path,
        metavar="FILE",
        help="JSON lines with prompt_id, lang, instruction and responses, a list of texts",
    )
    given.add_argument("--pairs", metavar="SOURCE", help="preference pairs, as for accuracy")
    parser.add_argument("--out", type=place, required=True, metavar="FILE", help="JSON lines")
    add_scored_by(parser)
    parser.set_defaults(function=write_scores)


def write_scores(args: argparse.Namespace) -> None:
    from xlnb.common.processes import is_main
    from xlnb.stages.given import unread
    from xlnb.stages.given_pairs import score_pairs, score_responses

    run, model = scored_by(args)
    if args.pairs:
        scores = score_pairs(run, model, args.pairs, "", args.english, args.scores, args.out)[2]
    else:
        scores = score_responses(run, model, args.responses, args.english, args.scores, args.out)
    if is_main():
        for lang, counts in unread(scores).items():
            print(f"{lang}: not read by the models: {counts}")
        print(args.out)
