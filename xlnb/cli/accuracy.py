"""`accuracy`: how often scores prefer the chosen response of published pairs."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from xlnb.cli.options import Commands, add_scored_by, place, scored_by
from xlnb.common.errors import InputError


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "accuracy", help="how often rewards prefer the chosen response of preference pairs"
    )
    parser.add_argument(
        "--pairs",
        required=True,
        metavar="SOURCE",
        help="rows with prompt_id, lang, prompt, chosen, rejected and, if they have one, category: "
        "a file, a folder of <lang>.jsonl, or hub:ORG/NAME; other names as lang=language,de=German",
    )
    parser.add_argument("--langs", default="", help="such as en,de,es (default: all)")
    parser.add_argument(
        "--out",
        type=place,
        metavar="FILE",
        help="keep the scores there, as `score` writes them; stopped, the same command goes on",
    )
    add_scored_by(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(function=print_accuracy)


def print_accuracy(args: argparse.Namespace) -> None:
    from xlnb.common.files import json_text
    from xlnb.common.processes import is_main, world
    from xlnb.evaluation.accuracy import accuracies, accuracy_text, preferred
    from xlnb.stages.given import unread
    from xlnb.stages.given_pairs import score_pairs

    if world() > 1 and not args.out:
        raise InputError("accuracy: several processes need --out, where they put scores together")
    run, model = scored_by(args)
    with TemporaryDirectory() as folder:
        out = args.out or Path(folder) / "scores.jsonl"
        pairs, report, scores = score_pairs(
            run, model, args.pairs, args.langs, args.english, args.scores, out
        )
    table = accuracies(preferred(pairs, scores))
    if not is_main():
        return
    if args.json:
        print(json_text({**table, "pairs": report, "unread": unread(scores)}, indent=1))
        return
    print(accuracy_text(table))
    print("\nties count half; a prompt is one draw, whatever pairs and languages it has")
    for lang, counts in report.items():
        if counts["dropped"]:
            print(f"{lang}: {counts['pairs']} of {counts['rows']} rows, {counts['dropped']}")
    for lang, reasons in unread(scores).items():
        print(f"{lang}: not read by the models: {reasons}")
