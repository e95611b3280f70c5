"""A record of runs as `analyses` writes it, made up: two arms, one of them better by so much."""

import numpy as np

from xlnb.presets.claims import BASE


def run_of(values, seed, facts, lc):
    model = {"wr": {"en": 0.0, "es": float(np.mean(facts))}, "lc": {"en": 0.0, "es": lc}}
    return {
        "values": {**BASE, **values},
        "seed": seed,
        "models": {"icr1": model | {"facts": facts}},
    }


def record_of(gain, seeds=5):
    """Arm a has `gain` points more than b on each of four facts, give or take."""
    stream = np.random.default_rng(0)
    runs = []
    for seed in range(seeds):
        facts = stream.normal(50, 1, size=4)
        runs.append(
            run_of({}, seed, list(facts + gain + stream.normal(0, 0.5, 4)), 50 + gain + seed / 9)
        )
        runs.append(run_of({"training.nll": "0"}, seed, list(facts), 50.0))
    return {"runs": runs}
