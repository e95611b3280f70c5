"""The paper's claims, decided: for each the difference of two arms over seeds, and facts where they
are known, corrected for the number of comparisons.

`record`: analyses.json, as `stages.analyses.collect` makes it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from xlnb.analysis.read import Record
from xlnb.common.columns import Floats
from xlnb.common.intervals import seed_interval, t_p_value
from xlnb.presets.claims import SEEDS, Analysis, Arm, Claim, unit

ALPHA = 0.05

# Measures in points, characters or seconds, told with a digit; others, shares and nats, with three.
POINTS = ("wr", "lc", "chars")


class Difference(NamedTuple):
    """A mean difference, its 95% interval and two-sided p; NaN for a single seed."""

    mean: float
    low: float
    high: float
    p_value: float


NOTHING = Difference(np.nan, np.nan, np.nan, np.nan)


def runs_of(record: Record, arm: Arm, measure: str) -> dict[int, Record]:
    """{seed: an arm's run}, of those that are finished and whose record has that measure: one of an
    earlier revision may have fewer."""
    name = measure.partition(" ")[0]
    runs = {run["seed"]: run for run in record["runs"] if run["values"] == arm.changed}
    return {seed: run for seed, run in runs.items() if name in model_of(run, arm)}


def model_of(run: Record, arm: Arm) -> Record:
    """What was measured on the model that an arm looks at."""
    return run["models"].get(arm.model or list(run["models"])[-1], {})


def value(model: Record, measure: str) -> float:
    """A measure of a model (see `Claim.measure`), mean over the languages other than English; or of
    one language, as "wr sw"."""
    name, _, lang = measure.partition(" ")
    by_lang = model[name]
    if lang:
        return float(by_lang[lang])
    return float(np.mean([found for code, found in by_lang.items() if code != "en"]))


def over_seeds(differences: Sequence[float]) -> Difference:
    """Paired t over seeds."""
    if len(differences) < 2:
        return Difference(differences[0], np.nan, np.nan, np.nan)
    mean, low, high = seed_interval(differences)
    se = float(np.std(differences, ddof=1) / len(differences) ** 0.5)
    return Difference(mean, low, high, t_p_value(mean, se, len(differences)))


def over_seeds_and_facts(table: Floats) -> Difference:
    """(seeds, facts) differences, both drawn at random: the variance of the mean is

        s²_seeds / S + s²_facts / F − s² / (S F)

    of row means, column means and cells (two-way clustering: Cameron, Gelbach and Miller 2011),
    never less than the greater of the first two; t has S − 1 degrees of freedom.
    """
    seeds, facts = table.shape
    mean = float(table.mean())
    if seeds < 2:
        return Difference(mean, np.nan, np.nan, np.nan)
    of_seeds = table.mean(axis=1).var(ddof=1) / seeds
    of_facts = table.mean(axis=0).var(ddof=1) / facts
    both = of_seeds + of_facts - table.var(ddof=1) / table.size
    se = float(np.sqrt(max(both, of_seeds, of_facts)))
    reach = float(stdtrit(seeds - 1, 0.975)) * se
    return Difference(mean, mean - reach, mean + reach, t_p_value(mean, se, seeds))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's p values: none of n comparisons is called one by chance with more probability than
    that (Holm 1979). NaN is no comparison and stays."""
    p = np.array(p_values, float)
    order = [place for place in np.argsort(p) if not np.isnan(p[place])]
    found, most = p.copy(), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(order) - rank) * p[place]))
        found[place] = most
    return found.tolist()


def both_arms(record: Record, analysis: Analysis, claim: Claim) -> list[tuple[Record, Record]]:
    """What was measured on a claim's two models, a pair a seed that has both."""
    more, less = analysis.arms[claim.more], analysis.arms[claim.less]
    with_more, with_less = (runs_of(record, arm, claim.measure) for arm in (more, less))
    both = sorted(with_more.keys() & with_less.keys())
    return [(model_of(with_more[s], more), model_of(with_less[s], less)) for s in both]


def difference(record: Record, analysis: Analysis, claim: Claim) -> tuple[Difference, int] | None:
    """A claim's difference, and over how many seeds; None where no seed has both arms."""
    pairs = both_arms(record, analysis, claim)
    if not pairs:
        return None
    if claim.measure == "wr":
        return over_seeds_and_facts(
            np.array([np.subtract(a["facts"], b["facts"]) for a, b in pairs])
        ), len(pairs)
    found = [value(a, claim.measure) - value(b, claim.measure) for a, b in pairs]
    return over_seeds(found), len(pairs)


def verdict(claim: Claim, found: Difference, seeds: int, corrected: float) -> tuple[str, str]:
    """agree, disagree, undecided, not comparable or too few seeds; and why, in a sentence."""
    if seeds < SEEDS:
        return "too few seeds", f"{seeds} of {SEEDS} seeds are finished."
    told = corrected < ALPHA
    direction = "more" if found.mean > 0 else "less"
    ours = f"{claim.more} has {direction} than {claim.less}" if told else "The lab tells no side"
    p = f"(p {corrected:.2g}, corrected)"
    if not claim.paper:
        return "not comparable", f"The paper has no figure of this. {ours} {p}."
    if not told:
        return "undecided", f"{ours} {p}."
    return ("agree" if found.mean > 0 else "disagree"), f"{ours} {p}."


def verdicts(record: Record, analyses: Mapping[str, Analysis]) -> pd.DataFrame:
    """A row a claim: analysis, claim, paper, measure, seeds, ours (the difference with its
    interval), p (corrected over all rows that have one), verdict, why. Claims without a run are
    rows too."""
    rows: list[dict[str, object]] = []
    found: list[tuple[Claim, Difference, int]] = []
    for name, analysis in analyses.items():
        for claim in analysis.claims:
            made = difference(record, analysis, claim)
            there, seeds = made or (NOTHING, 0)
            found.append((claim, there, seeds))
            rows.append(
                {
                    "analysis": name,
                    "claim": claim.text,
                    "the paper's": claim.paper or "no figure",
                    "measure": claim.measure,
                    "seeds": seeds,
                    "ours": in_words(there, claim.measure),
                }
            )
    corrected = holm([there.p_value for _, there, _ in found])
    for row, (claim, there, seeds), p in zip(rows, found, corrected, strict=True):
        row["p"] = p
        row["verdict"], row["why"] = verdict(claim, there, seeds, p)
    return pd.DataFrame(rows)


def in_words(found: Difference, measure: str) -> str:
    """A difference with its interval, in the digits of its measure."""
    digits = 1 if measure.partition(" ")[0] in POINTS else 3
    if np.isnan(found.mean):
        return ""
    text = f"{found.mean:+.{digits}f}"
    if np.isnan(found.low):
        return text
    return f"{text} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def arm_table(record: Record, analysis: Analysis, measure: str) -> pd.DataFrame:
    """A row an arm and finished seed: arm, seed, value."""
    rows = []
    for name, arm in analysis.arms.items():
        for seed, run in runs_of(record, arm, measure).items():
            measured = value(model_of(run, arm), measure)
            rows.append({"arm": name, "seed": seed, "value": measured})
    return pd.DataFrame(rows, columns=["arm", "seed", "value"])


def gap_table(record: Record, analysis: Analysis, of_unit: str) -> pd.DataFrame:
    """A row a claim in that unit that some seed has both arms of: claim, mean, low, high, seeds;
    the interval, NaN for a single seed, is that of the verdict."""
    rows = []
    for claim in analysis.claims:
        made = difference(record, analysis, claim)
        if made and unit(claim.measure) == of_unit:
            found, seeds = made
            rows.append((claim.text, found.mean, found.low, found.high, seeds))
    return pd.DataFrame(rows, columns=["claim", "mean", "low", "high", "seeds"])
