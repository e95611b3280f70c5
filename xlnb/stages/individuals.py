"""Tastes of the lab as users of a run (`xlnb.individual`): how few labels tell what a user likes.

A user is a taste that the run's π^0 has not learnt. Labels are pairs of English responses to half
of the shared prompts; what they have taught is seen in the other languages, on the other half, and
on contested pairs alone, which the user and the run's own taste order oppositely: there nothing is
gained by what both like.
"""

import time
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from xlnb.common.columns import Floats
from xlnb.common.errors import InputError
from xlnb.common.records import Sample, Score
from xlnb.common.tastes import OPPOSITE
from xlnb.individual import NEUTRAL, fit_preference, units
from xlnb.lab.tastes import TASTES
from xlnb.lab.truth import lab_truth
from xlnb.rewards import split_scorers
from xlnb.runs.layout import Run
from xlnb.stages.reading import OfSplit
from xlnb.stages.users import rows_of

# Of a user, so many labels.
LABELS = (10, 30, 100)
# They are drawn so often, and accuracies are means over draws.
DRAWS = 20


class Known(NamedTuple):
    """A prompt's scored responses: what is known of each, (n, 3), and its points by each taste."""

    lang: str
    rows: Floats
    points: dict[str, Floats]


def of_tastes(run: Run) -> dict[str, dict[str, Any]]:
    """By user, {"labels": accuracy by their number (None: the responses give fewer), "reward": that
    of the reward alone, "oracle": that of as many labels of the run's own taste as a user has at
    most, "contested": pairs, "seconds": of a user's weights, the median of all fits}."""
    if "likelihood" not in split_scorers(run.preset.scoring.scorers):
        raise InputError(f"{run.path}: a user is weights on likelihood, too; add it to the scores")
    users = [name for taste in TASTES for name in (taste, OPPOSITE + taste) if name != run.taste]
    taught, tested = _known(run, [run.taste, *users])
    own = np.concatenate([_labels(known, run.taste) for known in taught])
    found = {}
    for user in users:
        labels = np.concatenate([_labels(known, user) for known in taught])
        contested = [(known.lang, _labels(known, user, not_by=run.taste)) for known in tested]
        by_number: dict[int, list[float]] = {number: [] for number in LABELS}
        by_oracle = []
        seconds = []
        for draw in range(DRAWS):
            stream = np.random.default_rng([run.preset.seed, draw])
            for number in (number for number in LABELS if number <= len(labels)):
                began = time.perf_counter()
                weights = _weights(run, stream.permutation(labels)[:number])
                seconds.append(time.perf_counter() - began)
                by_number[number].append(_accuracy(contested, weights))
            weights = _weights(run, stream.permutation(own)[: LABELS[-1]])
            by_oracle.append(_accuracy(contested, weights))
        found[user] = {
            "labels": {str(number): _mean(some) for number, some in by_number.items()},
            "reward": _mean([_accuracy(contested, np.array(NEUTRAL))]),
            "oracle": _mean(by_oracle),
            "contested": sum(len(differences) for _, differences in contested),
            "seconds": round(float(np.median(seconds)), 5) if seconds else 0.0,
        }
    return found


def _known(run: Run, tastes: Sequence[str]) -> tuple[list[Known], list[Known]]:
    """English responses to every second shared prompt, and other languages' to the others."""
    here = run.iteration(1).shared
    reward = split_scorers(run.preset.scoring.scorers)[0]
    found: dict[tuple[str, int], Known] = {}
    for lang in here.langs:
        samples = OfSplit(here.samples(lang), Sample, "reward")
        scores = OfSplit(here.scores(lang), Score, "reward")
        for number, (sample, score) in enumerate(zip(samples, scores, strict=True)):
            rows = rows_of(score, reward)
            points = {}
            for taste in tastes:
                points[taste] = np.array(lab_truth(taste)(sample), float)[list(rows)]
            found[lang, number] = Known(lang, np.array([*rows.values()], float), points)
    scale = units(np.concatenate([known.rows for known in found.values()]))
    taught: list[Known] = []
    tested: list[Known] = []
    for (lang, number), known in found.items():
        if (lang == "en") == (number % 2 == 0):
            (taught if lang == "en" else tested).append(known._replace(rows=known.rows * scale))
    return taught, tested


def _labels(known: Known, user: str, not_by: str = "") -> Floats:
    """(pairs, 3): what is known of the better response less that of the worse, by a user, of all
    pairs that he tells apart; `not_by`: of those alone that another orders oppositely."""
    found = []
    for i, j in combinations(range(len(known.rows)), 2):
        gain = np.sign(known.points[user][i] - known.points[user][j])
        theirs = -gain if not not_by else np.sign(known.points[not_by][i] - known.points[not_by][j])
        if gain and theirs == -gain:
            found.append(gain * (known.rows[i] - known.rows[j]))
    return np.array(found).reshape(-1, len(NEUTRAL))


def _weights(run: Run, labels: Floats) -> Floats:
    return fit_preference(labels, np.zeros_like(labels), ridge=run.preset.pairing.ridge)


def _accuracy(contested: Sequence[tuple[str, Floats]], weights: Floats) -> float:
    """The share of pairs that these weights order as the user does, ties half: the mean over
    languages."""
    by_lang: dict[str, list[float]] = {}
    for lang, differences in contested:
        by_lang.setdefault(lang, []).extend((np.sign(differences @ weights) + 1) / 2)
    shares = [float(np.mean(some)) for some in by_lang.values() if some]
    return float(np.mean(shares)) if shares else np.nan


def _mean(accuracies: Sequence[float]) -> float | None:
    """None without any, and without a contested pair."""
    if not accuracies or np.isnan(accuracies).any():
        return None
    return round(float(np.mean(accuracies)), 4)
