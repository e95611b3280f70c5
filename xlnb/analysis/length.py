"""What a win rate owes to length."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xlnb.evaluation.biases import length_bias
from xlnb.evaluation.judged import Judged
from xlnb.evaluation.leaderboard import Leaderboard
from xlnb.evaluation.tables import win_rates
from xlnb.winrates import length_controlled, win_rate


class ByLength(NamedTuple):
    """What `figures.win_rates.win_rate_by_length` draws; lengths in characters, rates in points."""

    # longer (mean length of the model's response − the baseline's), wr, se: groups of equal size
    groups: pd.DataFrame
    # longer, wr: the fit behind LC; no rows where length explains nothing
    curve: pd.DataFrame
    wr: float
    lc: float


def by_length(
    preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike, *, bins: int = 8
) -> ByLength:
    """The win rate by how much longer the model's response is, and the fit of which LC is read.

    Arguments (n,) as for `winrates.length_controlled`. The fit is
    logit P(model wins) = logit LC + w_len tanh(−longer / sd(longer)).
    """
    columns = (preference, len_output, len_baseline)
    p, output, baseline = (np.asarray(values, float) for values in columns)
    judged = ~np.isnan(p)
    p, output, baseline = p[judged], output[judged], baseline[judged]
    longer = output - baseline
    order = np.argsort(longer, kind="stable")
    rows = []
    for group in np.array_split(order, min(bins, len(p))):
        rows.append((longer[group].mean(), *win_rate(p[group])))
    groups = pd.DataFrame(rows, columns=["longer", "wr", "se"])
    curve = pd.DataFrame(columns=["longer", "wr"], dtype=float)
    lc = length_controlled(p, output, baseline)
    w_len = length_bias(p, output, baseline)["w_len"]
    if w_len and 0 < lc < 100:
        x = np.linspace(min(longer.min(), 0), max(longer.max(), 0), 300)
        z = np.log(lc / (100 - lc)) + w_len * np.tanh(-x / longer.std(ddof=1))
        curve = pd.DataFrame({"longer": x, "wr": 100 / (1 + np.exp(-z))})
    return ByLength(groups, curve, win_rate(p)[0], lc)


class Planted(NamedTuple):
    """Comparisons, (n,) each, of a judge whose liking for length is known."""

    preference: np.ndarray
    len_output: np.ndarray
    len_baseline: np.ndarray


def planted(
    w_len: float, gap: float, rng: np.random.Generator, *, w_b: float = 0.4, n: int = 2000
) -> Planted:
    """A judge with logit P(model wins) = w_b + w_len tanh(d / sd(d)), d = baseline's characters −
    model's, of mean `gap`. At equal lengths the model wins with probability sigmoid(w_b)."""
    delta = rng.normal(gap, 400, n).round()
    p = 1 / (1 + np.exp(-w_b - w_len * np.tanh(delta / delta.std(ddof=1))))
    return Planted(1 + (rng.random(n) < p), 2000 - delta, np.full(n, 2000))


def planted_row(judged: Planted, w_b: float = 0.4) -> dict[str, float]:
    """What was planted, what WR and LC say of it, and `length_bias`."""
    row = {"planted": 100 / (1 + np.exp(-w_b)), "WR": win_rate(judged.preference)[0]}
    row["LC"] = length_controlled(*judged)
    bias = length_bias(*judged)
    return row | {key: bias[key] for key in ("difference", "se", "w_len", "sds_apart")}


# A model that is better 60% of the time, length aside: the weight of length, and the mean of the
# baseline's characters less the model's.
SIMULATED = {
    "blind to length": (0.0, -300.0),
    "likes length, model longer": (-1.5, -300.0),
    "likes length, model shorter": (-1.5, 300.0),
}


def simulated(seed: int) -> dict[str, Planted]:
    """Three judges of `SIMULATED`, drawn one after the other."""
    rng = np.random.default_rng(seed)
    return {title: planted(w_len, gap, rng) for title, (w_len, gap) in SIMULATED.items()}


def two_forms(judged: Mapping[str, Judged], leaderboard: Leaderboard) -> pd.DataFrame:
    """A row a model of AlpacaEval's leaderboard: WR, its LC in the leaderboard's form and from
    length alone, and `length_bias`."""
    of_all = {model: {"en": one} for model, one in judged.items()}
    forms = {
        "LC, leaderboard": win_rates(of_all, leaderboard),
        "LC, length alone": win_rates(of_all),
    }
    rows = {}
    for model, one in judged.items():
        row = {"WR": forms["LC, leaderboard"][model]["en"]["wr"]}
        row |= {form: rates[model]["en"]["lc"] for form, rates in forms.items()}
        bias = length_bias(one.preference, one.len_output, one.len_baseline)
        rows[model] = row | {key: bias[key] for key in ("longer", "sds_apart", "w_len")}
    return pd.DataFrame(rows).T


def lc_less_wr(win_rates: Mapping[str, Mapping[str, Mapping[str, float]]]) -> pd.DataFrame:
    """Models by languages: what length control changes, in points."""
    rows = {}
    for model, by_lang in win_rates.items():
        rows[model] = {lang: entry["lc"] - entry["wr"] for lang, entry in by_lang.items()}
    return pd.DataFrame(rows).T
