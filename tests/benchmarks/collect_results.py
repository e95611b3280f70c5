"""Put finished lab runs under data/results with what has to stand beside a result, and draw and
print them together:

python tests/benchmarks/collect_results.py runs/lab runs/seed1 runs/seed2
"""

import sys
from pathlib import Path
from statistics import mean, stdev

import matplotlib.pyplot as plt

from xlnb import figures
from xlnb.common.files import ROOT, read_json, write_json
from xlnb.figures.win_rates import seed_points

RESULTS = ROOT / "data" / "results"

seeds = []
for folder in map(Path, sys.argv[1:]):
    record, metrics = read_json(folder / "preset.json"), read_json(folder / "metrics.json")
    seed = metrics["seed"]
    command = f"python -m xlnb run --preset {metrics['preset']}" + (
        f" -p seed={seed}" if seed else ""
    )
    write_json(RESULTS / f"lab_seed{seed}.json", {"command": command, **metrics, **record})
    seeds.append(metrics)

langs = list(seeds[0]["win_rates"]["sft"])
columns = [*langs, "non-en"]


def by_column(tables: list[dict[str, float]]) -> dict[str, list[float]]:
    """A list over seeds for each language and for the mean over languages other than English."""
    values = {lang: [table[lang] for table in tables] for lang in langs}
    return values | {
        "non-en": [mean(table[lang] for lang in langs if lang != "en") for table in tables]
    }


def row(name: str, values: dict[str, list[float]], digits: int) -> str:
    cells = (f"{mean(values[c]):.{digits}f} ± {stdev(values[c]):.{digits}f}" for c in columns)
    return f"| {name} | {' | '.join(cells)} |"


win_rates = {
    model: by_column(
        [{lang: seed["win_rates"][model][lang]["wr"] for lang in langs} for seed in seeds]
    )
    for model in seeds[0]["win_rates"]
}
print(f"| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
for model, values in win_rates.items():
    print(row(figures.model_name(model), values, 1))
rise = {
    lang: [b - a for a, b in zip(win_rates["dpo"][lang], win_rates["icr2"][lang], strict=True)]
    for lang in columns
}
print(row("π^0 → π^2", rise, 1))
for model, scorers in seeds[0]["rewards"].items():
    for scorer in scorers:
        accuracy = [
            {k: v["pair_accuracy"] for k, v in seed["rewards"][model][scorer].items()}
            for seed in seeds
        ]
        print(row(f"{scorer} of {figures.model_name(model)}", by_column(accuracy), 2))
print([round(sum(seed["seconds"].values())) for seed in seeds], "seconds in stages")

figures.style()
figure, ax = plt.subplots(figsize=(11, 4))
seed_points(win_rates, ax)
ax.set_title(f"Win rate against {figures.model_label('sft')} on the lab, {len(seeds)} seeds")
figure.savefig(RESULTS / "win_rates.png")
