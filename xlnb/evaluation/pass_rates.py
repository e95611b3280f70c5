"""How often a model's responses meet the checks that their prompts carry, a kind each."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from xlnb.common.intervals import Clusters, bootstrap_mean

# Of each of a prompt's checks its kind, and whether the response meets it.
Met = list[tuple[str, bool]]


class PassRate(TypedDict):
    """Shares, from 0 to 1."""

    rate: float
    # [lo, hi], 95%, of clusters as independent draws: questions on one paragraph are one
    ci: list[float]
    # checks, and the clusters that their prompts are in
    n: int
    clusters: int


def pass_rates(
    met: Sequence[Met], clusters: Clusters, *, resamples: int = 1000
) -> dict[str, PassRate]:
    """{kind: its rate}; `met` and `clusters`: one a response."""
    values: dict[str, list[float]] = {}
    of: dict[str, list] = {}
    for checks, cluster in zip(met, clusters, strict=True):
        for kind, is_met in checks:
            values.setdefault(kind, []).append(float(is_met))
            of.setdefault(kind, []).append(cluster)
    found: dict[str, PassRate] = {}
    for kind, some in values.items():
        interval = bootstrap_mean(np.array(some), of[kind], 0.95, resamples, seed=0)
        found[kind] = {
            "rate": float(np.mean(some)),
            "ci": list(interval),
            "n": len(some),
            "clusters": len(set(of[kind])),
        }
    return found
