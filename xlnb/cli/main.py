""""""

import argparse
import errno
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json
from xlnb.presets import PRESETS, get_preset, parse_overrides
from xlnb.runs.layout import Run
from xlnb.runs.run import open_run

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
    # whoever read the output, such as `head`, has read enough
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # what is left has nowhere to go
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = error.filename or "the run folder"
        print(
            f"error: {where}: no space left on the disk; free some and start again, finished work is kept",
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

    run = commands.add_parser(
        "run", help="all stages and notebooks into a run folder; goes on where it stopped"
    )
    run.add_argument("--run", type=Path, help="the run folder (default: runs/<preset>)")
    run.add_argument(
        "--preset", help=f"one of {', '.join(PRESETS)} (default: the run folder's own, else lab)"
    )
    run.add_argument(
        "--until",
        metavar="STAGE",
        help="stop after this stage, without notebooks (names: see list)",
    )
    _add_yes(run)
    _add_overrides(run)
    run.set_defaults(function=_run)

    stage = commands.add_parser("stage", help="one stage of a run folder")
    stage.add_argument(
        "stage",
        choices=[
            "localise",
            "prompts",
            "sample",
            "prefer",
            "translate",
            "logps",
            "score",
            "pair",
            "train",
            "respond",
            "judge",
            "report",
        ],
    )
    stage.add_argument("--run", type=Path, required=True)
    stage.add_argument("--preset", default="", help="needed where the folder is new")
    stage.add_argument(
        "--iteration",
        type=int,
        default=1,
        help="for sample, translate, score, pair and train (default: 1; 0 is English DPO)",
    )
    stage.add_argument(
        "--model", default="", help="for respond and judge: sft, dpo, icr1 … (default: all)"
    )
    _add_yes(stage)
    _add_overrides(stage)
    stage.set_defaults(function=_stage)

    winrate = commands.add_parser(
        "winrate", help="win rates of models by language, from files of annotations"
    )
    winrate.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="AlpacaEval's annotations.json, CSV with index,len_output,len_baseline,preference, or a folder such as a "
        "run's eval/; named <model>.<lang>.csv, <lang>/<model>.csv or <model>/<lang>/annotations.json",
    )
    winrate.add_argument("--model", default="", help="the model (default: from the file's name)")
    winrate.add_argument(
        "--lang",
        default="",
        help="the language, as a code (default: from the file's name, else en)",
    )
    winrate.add_argument(
        "--difficulty",
        type=Path,
        metavar="CSV",
        help="with --gamed-baseline: LC as on the leaderboard",
    )
    winrate.add_argument(
        "--gamed-baseline",
        type=Path,
        metavar="CSV",
        help="AlpacaEval's concise and verbose baselines",
    )
    winrate.add_argument(
        "--json", action="store_true", help="print JSON: {model: {lang: {wr, wr_se, …}}}"
    )
    winrate.set_defaults(function=_winrate)

    push = commands.add_parser(
        "push", help="upload a trained adapter with its model card to the Hub"
    )
    push.add_argument("--run", type=Path, required=True)
    push.add_argument("--model", required=True, help="dpo, icr1 …")
    push.add_argument(
        "--to", required=True, metavar="ORG/NAME", help="made where it is new, and then private"
    )
    push.set_defaults(function=_push)

    plan = commands.add_parser(
        "plan", help="tokens, FLOPs, hours, memory and disk of each stage, before a run"
    )
    plan.add_argument("--preset", default="lab", help=f"one of {', '.join(PRESETS)} (default: lab)")
    plan.add_argument(
        "--gpu", required=True, help="such as h100, a100-80g, rtx4090; cpu: this machine's"
    )
    plan.add_argument("--gpus", type=int, default=1, help="how many of them (default: 1)")
    plan.add_argument(
        "--prompts",
        type=int,
        default=0,
        help="training prompts a language, all iterations together",
    )
    plan.add_argument("--prompt-tokens", type=float, default=0, help="mean length of a prompt")
    plan.add_argument("--response-tokens", type=float, default=0, help="mean length of a response")
    plan.add_argument(
        "--json", action="store_true", help="print JSON: bytes, hours, a record a stage"
    )
    _add_overrides(plan)
    plan.set_defaults(function=_plan)

    commands.add_parser("list", help="presets, stages and notebooks").set_defaults(function=_list)

    check = commands.add_parser(
        "check", help="what works here and what is missing, OK, NOTE or FAIL a line"
    )
    check.add_argument("--preset", default="lab", help="whose models to look for (default: lab)")
    _add_overrides(check)
    check.set_defaults(function=_check)

    render = commands.add_parser(
        "render", help="normalise executed notebooks in place, so that they diff well"
    )
    render.add_argument("notebooks", type=Path, nargs="+")
    render.set_defaults(function=_render)
    return parser


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--yes", action="store_true", help="let a model that costs money begin without a question"
    )


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a preset key, such as -p training.lr=5e-5 -p seed=1",
    )


def _overrides(args: argparse.Namespace) -> dict[str, str]:
    return parse_overrides(args.overrides)


def _run(args: argparse.Namespace) -> None:
    from xlnb import stages
    from xlnb.evaluation.text_table import format_table
    from xlnb.runs import notebooks

    if processes.world() > 1 and not args.until:
        raise InputError(
            "run: the notebooks need one process; with several, name the last stage: --until STAGE"
        )
    folder = args.run or Path("runs") / (args.preset or "lab")
    preset = args.preset or ("" if (folder / "preset.json").exists() else "lab")
    run = open_run(folder, preset, _overrides(args))
    last = args.until or stages.steps(run)[-1].name
    stages.run_until(run, last, yes=args.yes)
    if args.until:
        if processes.is_main():
            print(f"Finished up to {last}: {run.path}")
        return
    judged = last == "report"
    paths = notebooks.of_run(run, judged=judged)
    if left_out := [path.stem for path in notebooks.numbered() if path not in paths]:
        print(
            f"Notebooks left out, about the lab's world or about judgements: {', '.join(left_out)}"
        )
    # Notebooks take the run by its folder, so that they find every stage finished.
    if judged:
        print("\nWin rates against " + run.preset.evaluation.baseline + "\n")
        print(format_table(read_json(run.path / "metrics.json")["win_rates"]) + "\n", flush=True)
    elif run.preset.prompts.eval_path:
        print(
            "Not judged: the oracle knows the lab's prompts only; evaluation.judge names another judge."
        )
    # the folder's own preset
    parameters = {"preset": "", "run_dir": str(run.path.resolve())}
    notebooks.execute_all(paths, run.path / "notebooks", parameters)
    print()
    for name in ("metrics.json", "figures", "notebooks"):
        if (run.path / name).exists():
            print(f"{name:<13} {run.path / name}")


def _stage(args: argparse.Namespace) -> None:
    from xlnb import stages

    run = open_run(args.run, args.preset, _overrides(args))
    function = getattr(stages, "collect_prompts" if args.stage == "prompts" else args.stage)
    if args.stage in ("sample", "translate", "logps", "score", "pair", "train"):
        calls: list[tuple] = [(run, args.iteration)]
    elif args.stage in ("respond", "judge"):
        calls = [(run, model) for model in ([args.model] if args.model else run.models)]
    else:
        calls = [(run,)]
    for call in calls:
        out = function(*call, **({"yes": args.yes} if args.stage in ("judge", "localise") else {}))
        if processes.is_main():
            print(out)


def _winrate(args: argparse.Namespace) -> None:
    from xlnb.common.languages import language_name
    from xlnb.evaluation import annotations as files
    from xlnb.evaluation import tables
    from xlnb.evaluation.leaderboard import read_leaderboard
    from xlnb.evaluation.text_table import format_table

    if bool(args.difficulty) != bool(args.gamed_baseline):
        raise InputError(
            "--difficulty and --gamed-baseline: give both for the leaderboard's LC, or neither"
        )
    if args.lang:
        language_name(args.lang)
    annotations = files.read_annotations(
        args.files, model=args.model, lang=args.lang, detect=not args.json
    )
    needs = read_leaderboard(args.difficulty, args.gamed_baseline) if args.difficulty else None
    win_rates = tables.win_rates(annotations, needs)
    if args.json:
        print(tables.to_json(win_rates))
        return
    print(format_table(win_rates, pooled=tables.pooled_win_rates(annotations)))
    print(
        "\nLC: as on AlpacaEval's leaderboard, with difficulty and gamed baselines"
        if needs
        else "\nLC: by length alone; not comparable with AlpacaEval's leaderboard"
    )
    if any(
        a.in_language and len(a.in_language) < len(a.index)
        for rows in annotations.values()
        for a in rows.values()
    ):
        print(f"in language: told from at most {files.TOLD} responses of a file, spread evenly")
    for model, by_lang in annotations.items():
        for lang, rows in by_lang.items():
            n, judged = len(rows.preference), win_rates[model][lang]["n"]
            if judged < n:
                print(
                    f"{model}, {lang}: {n - judged} of {n} rows have no judgement and count for nothing"
                )


def _push(args: argparse.Namespace) -> None:
    from xlnb.runs.card import push

    print(push(open_run(args.run), args.model, args.to))


def _list(args: argparse.Namespace) -> None:
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


def _plan(args: argparse.Namespace) -> None:
    from xlnb import stages
    from xlnb.planning.report import format_plan, make_plan

    if args.gpus < 1:
        raise InputError(f"--gpus {args.gpus}: at least 1")
    preset = get_preset(args.preset, _overrides(args))
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


def _check(args: argparse.Namespace) -> int:
    from xlnb.planning.check import run_checks

    return run_checks(get_preset(args.preset, _overrides(args)))


def _render(args: argparse.Namespace) -> None:
    from xlnb.runs import notebooks

    for path in args.notebooks:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        notebooks.normalise(path)
        print(path)


if __name__ == "__main__":
    sys.exit(main())
