"""Put lab runs with their evidence into a folder, with what has to stand beside a result, and draw
and print them together, as README shows them:

python tests/benchmarks/collect_results.py --out data/results runs/seed0 runs/seed1 runs/seed2
"""

import argparse
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
import pandas as pd

from xlnb import figures
from xlnb.analysis import evidence
from xlnb.analysis.evidence import in_words
from xlnb.analysis.seeds import Columns, by_column, gain, win_rates
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, write_json
from xlnb.figures.scores import SCORER_NAMES, opposite_tastes
from xlnb.figures.win_rates import seed_points


def read_runs(folders: list[Path]) -> list[dict]:
    """The runs' records, each with its whole preset. Raises InputError where a run or a seed is
    there twice: its interval would be over fewer draws than it says."""
    found: dict[int, Path] = {}
    records = []
    for folder in folders:
        record = read_json(folder / "evidence.json")
        record["preset"] = read_json(folder / "preset.json")["preset"]
        seed = record["seed"]
        if seed in found:
            same = folder.resolve() == found[seed].resolve()
            what = "is given twice" if same else f"has seed {seed}, as {found[seed]} has"
            raise InputError(f"{folder} {what}; give one run a seed")
        found[seed] = folder
        records.append(record)
    return records


def show(title: str, rows: dict[str, Columns], digits: int) -> None:
    columns = list(next(iter(rows.values())))
    print(f"\n{title}\n\n| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, values in rows.items():
        cells = [f"{mean(values[column]):.{digits}f}" for column in columns[:-1]]
        print(f"| {name} | {' | '.join(cells)} | {in_words(values['non-en'], digits)} |")


def show_frame(title: str, table: pd.DataFrame) -> None:
    columns = [str(name) for name in table.columns]
    print(f"\n{title}\n\n| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for scorer, row in table.iterrows():
        print(f"| {SCORER_NAMES[str(scorer)]} | {' | '.join(row)} |")


def accuracies(records: list[dict], policy: str) -> dict[str, Columns]:
    rows = {}
    for scorer in records[0]["rewards_shared"][policy]:
        tables = []
        for record in records:
            by_lang = record["rewards_shared"][policy][scorer]
            tables.append({lang: entry["pair_accuracy"] for lang, entry in by_lang.items()})
        rows[SCORER_NAMES[scorer]] = by_column(tables)
    return rows


def draw_tastes(rows: pd.DataFrame, out: Path) -> None:
    tastes = list(dict.fromkeys(rows["taste"]))
    figure, grid = plt.subplots(1, len(tastes), figsize=(13, 3.6), sharey=True, squeeze=False)
    axes = list(grid.flat)
    for taste, ax in zip(tastes, axes, strict=True):
        opposite_tastes(rows[rows["taste"] == taste], ax)
        ax.set_title(taste)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2)
    what = "share of prompts whose best response by the score is better than its worst"
    figure.supxlabel(what, fontsize=11, x=0.02, ha="left")
    figure.savefig(out / "tastes.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where records and pictures go")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, a seed each")
    args = parser.parse_args()
    try:
        records = read_runs(args.runs)
    except InputError as error:
        parser.exit(2, f"error: {error}\n")
    for record in records:
        write_json(args.out / f"lab_seed{record['seed']}.json", record)
    models = list(records[0]["win_rates"])[: records[0]["preset"]["iterations"] + 2]
    last = models[-1]
    rows = win_rates(records)
    named = {figures.model_name(model): values for model, values in rows.items()}
    named[f"π^0 → {figures.model_name(last)}"] = gain(rows, "dpo", last)
    show("Win rates", named, 1)
    for policy in models[1:-1]:
        title = f"Pair accuracy on π_I's responses, policy {figures.model_name(policy)}"
        show(title, accuracies(records, policy), 2)
    opposites = evidence.opposites(records)
    show_frame("Mean over a taste and its opposite", evidence.opposites_table(opposites))
    noises = evidence.translators(records)
    noises["cell"] = [
        f"{row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]" if len(records) > 1 else f"{row.mean:.3f}"
        for row in noises.itertuples(index=False)
    ]
    show_frame(
        "By a translator's errors", noises.pivot(index="scorer", columns="noise", values="cell")
    )
    print([round(sum(record["seconds"].values())) for record in records], "seconds in stages")

    figures.style()
    draw_tastes(opposites, args.out)
    figure, ax = plt.subplots(figsize=(11, 4))
    seed_points({model: rows[model] for model in models}, ax)
    seeds = f"{len(records)} seeds" if len(records) > 1 else "1 seed"
    ax.set_title(f"Win rate against {figures.model_label('sft')} on the lab, {seeds}")
    figure.savefig(args.out / "win_rates.png")


if __name__ == "__main__":
    main()
