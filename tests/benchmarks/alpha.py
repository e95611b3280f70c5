"""The exact α against the published grid on 150,000 responses: python tests/benchmarks/alpha.py

Simulated rewards and lengths (15,000 prompts, 10 responses each; longer responses are preferred).
The alternative is the release's search written out plainly: argmax and argmin of every prompt for
each of 1,000 values of α. Writes data/results/alpha_cpu.json.
"""

import time
from statistics import median

import numpy as np

from xlnb.common.files import ROOT, write_json
from xlnb.length_control import grid_alpha, length_alpha
from xlnb.runs.provenance import environment

rng = np.random.default_rng(0)
# as long as X-AlpacaEval's responses
n_chars = np.rint(rng.lognormal(7, 0.6, (15_000, 10)))
# β nats
rewards = 0.0005 * n_chars + rng.normal(size=n_chars.shape)


def plain_grid() -> float:
    gaps = []
    for alpha in np.arange(1000) / 1000:
        scores = rewards - alpha * n_chars
        chosen, rejected = (
            np.take_along_axis(n_chars, pick(scores, axis=1)[:, None], 1)
            for pick in (np.argmax, np.argmin)
        )
        gaps.append(abs((chosen - rejected).mean()))
    return float(np.argmin(gaps)) / 1000


def timed(search, times: int):
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        found = search()
        seconds.append(time.perf_counter() - began)
    return found, round(median(seconds), 3)


rows = list(rewards), list(n_chars)
exact, exact_seconds = timed(lambda: length_alpha(*rows), 7)
grid, grid_seconds = timed(lambda: grid_alpha(*rows), 7)
plain, plain_seconds = timed(plain_grid, 1)
assert grid.alpha == plain
result = {
    "command": "python tests/benchmarks/alpha.py",
    "seed": 0,
    "responses": n_chars.size,
    "exact": {"seconds": exact_seconds, "alpha": exact.alpha, "gap": exact.gap},
    "grid, by the staircase": {"seconds": grid_seconds, "alpha": grid.alpha, "gap": grid.gap},
    "grid, written out plainly": {"seconds": plain_seconds, "alpha": plain},
    "times_faster_than_plain_grid": round(plain_seconds / exact_seconds),
    **environment(),
}
write_json(ROOT / "data" / "results" / "alpha_cpu.json", result)
print(result)
