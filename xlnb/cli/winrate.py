"""`winrate`: win rates by language from files of annotations."""

import argparse
from pathlib import Path

from xlnb.cli.options import Commands
from xlnb.common.errors import InputError


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "winrate", help="win rates of models by language, from files of annotations"
    )
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="AlpacaEval's annotations.json, CSV with index,len_output,len_baseline,preference, or "
        "a folder such as a run's eval/; named <model>.<lang>.csv, <lang>/<model>.csv or "
        "<model>/<lang>/annotations.json",
    )
    parser.add_argument("--model", default="", help="the model (default: from the file's name)")
    parser.add_argument(
        "--lang",
        default="",
        help="the language, as a code (default: from the file's name, else en)",
    )
    parser.add_argument(
        "--difficulty",
        type=Path,
        metavar="CSV",
        help="with --gamed-baseline: LC as on the leaderboard",
    )
    parser.add_argument(
        "--gamed-baseline",
        type=Path,
        metavar="CSV",
        help="AlpacaEval's concise and verbose baselines",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: {model: {lang: {wr, wr_se, …}}}"
    )
    parser.set_defaults(function=print_win_rates)


def print_win_rates(args: argparse.Namespace) -> None:
    from xlnb.common.languages import language_name
    from xlnb.evaluation import annotations as files
    from xlnb.evaluation import tables
    from xlnb.evaluation.leaderboard import read_leaderboard
    from xlnb.evaluation.text_table import format_table
    from xlnb.runs.records import check_judged

    if bool(args.difficulty) != bool(args.gamed_baseline):
        raise InputError(
            "--difficulty and --gamed-baseline: give both for the leaderboard's LC, or neither"
        )
    if args.lang:
        language_name(args.lang)
    for path in args.files:
        try:
            check_judged(path)
        except InputError as error:
            raise InputError(f"winrate {error}") from None
    annotations = files.read_annotations(
        args.files, model=args.model, lang=args.lang, detect=not args.json
    )
    needs = None
    if args.difficulty:
        needs = read_leaderboard(args.difficulty, args.gamed_baseline)
    win_rates = tables.win_rates(annotations, needs)
    if args.json:
        print(tables.to_json(win_rates))
        return
    print(format_table(win_rates, pooled=tables.pooled_win_rates(annotations)))
    if needs:
        print("\nLC: as on AlpacaEval's leaderboard, with difficulty and gamed baselines")
    else:
        print("\nLC: by length alone; not comparable with AlpacaEval's leaderboard")
    every = [rows for by_lang in annotations.values() for rows in by_lang.values()]
    if any(rows.in_language and len(rows.in_language) < len(rows.index) for rows in every):
        print(f"in language: told from at most {files.TOLD} responses of a file, spread evenly")
    for model, by_lang in annotations.items():
        for lang, rows in by_lang.items():
            n = len(rows.preference)
            judged = win_rates[model][lang]["n"]
            if judged < n:
                print(
                    f"{model}, {lang}: {n - judged} of {n} rows have no judgement and count for "
                    "nothing"
                )
