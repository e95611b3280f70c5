"""Put finished lab runs under data/results, with what has to stand beside a result:

python tests/benchmarks/collect_results.py runs/lab runs/seed1 runs/seed2
"""

import sys
from pathlib import Path

from xlnb.runs import ROOT, read_json, write_json

for folder in map(Path, sys.argv[1:]):
    record, metrics = read_json(folder / "preset.json"), read_json(folder / "metrics.json")
    seed = metrics["seed"]
    command = f"python -m xlnb run --preset {metrics['preset']}" + (f" -p seed={seed}" if seed else "")
    write_json(ROOT / "data" / "results" / f"lab_seed{seed}.json", {"command": command, **record, **metrics})
