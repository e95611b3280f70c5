"""A user's preference in the place of the reward: labelled pairs of the shared responses, which
every user's run has and every policy scores, give weights, and these the scores that make pairs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from xlnb.common.dropped import first_reasons
from xlnb.common.errors import InputError
from xlnb.common.files import read_numbered_jsonl
from xlnb.common.records import Sample, Score, read_records
from xlnb.individual import fit_preference, units
from xlnb.rewards import Values, split_scorers
from xlnb.runs.layout import Iteration

# What the user's score is called beside the others.
NAME = "preference"


# r, c and l of a response.
Row = tuple[float, int, float]

# By prompt_id and language: what is known of each response, by its text.
Known = dict[tuple[str, str], dict[str, Row]]


def inputs(here: Iteration) -> list[Path]:
    """The files that a user's weights are made of; none without a user."""
    if not here.run.preset.pairing.preference:
        return []
    shared = here.shared
    files = [Path(here.run.preset.pairing.preference)]
    for lang in shared.langs:
        files += [shared.samples(lang), shared.scores(lang)]
    return files


class User:
    """What a user's labels have taught: how to score responses as he would."""

    def __init__(self, here: Iteration):
        self.reward = split_scorers(here.run.preset.scoring.scorers)[0]
        known: Known = {}
        for lang in here.shared.langs:
            samples = read_records(here.shared.samples(lang), Sample)
            scores = read_records(here.shared.scores(lang), Score)
            for sample, score in zip(samples, scores, strict=True):
                texts = [response.text for response in sample.responses]
                rows = {texts[place]: row for place, row in rows_of(score, self.reward).items()}
                known[sample.prompt_id, lang] = rows
        self.units = units([row for rows in known.values() for row in rows.values()])
        pairs = list(_labels(Path(here.run.preset.pairing.preference), known))
        self.labels = len(pairs)
        # (2, labels, 3)
        sides = np.array(pairs, float).reshape(-1, 2, 3).swapaxes(0, 1) * self.units
        self.weights = fit_preference(*sides, ridge=here.run.preset.pairing.ridge)

    def scored(self, score: Score) -> Score:
        """With the user's score beside the others; None where the reward is."""
        values: Values = [None] * len(score.n_chars)
        for place, row in rows_of(score, self.reward).items():
            values[place] = float(np.array(row) * self.units @ self.weights)
        failures = dict(score.failures or {})
        read = (self.reward, "likelihood")
        failed = first_reasons(failures[name] for name in read if name in failures)
        failures |= {NAME: failed} if failed else {}
        return replace(score, scores=score.scores | {NAME: values}, failures=failures or None)


def rows_of(score: Score, reward: str) -> dict[int, Row]:
    """By their places, the responses that have a score of the name `reward`."""
    found = {}
    columns = (score.scores[reward], score.n_chars, score.scores["likelihood"])
    for place, (value, n_chars, likelihood) in enumerate(zip(*columns, strict=True)):
        if value is not None and likelihood is not None:
            found[place] = (value, n_chars, likelihood)
    return found


def _labels(path: Path, known: Known) -> Iterator[tuple[Row, Row]]:
    """What is known of the chosen and of the rejected response of every labelled pair. Raises
    InputError naming file and line."""
    for number, label in read_numbered_jsonl(path):
        where = f"{path}, line {number}"
        for name in ("prompt_id", "lang", "chosen", "rejected"):
            if not isinstance(label.get(name), str):
                raise InputError(
                    f"{where}: {name} is missing or no text; expected prompt_id, lang, chosen and "
                    "rejected"
                )
        if label["chosen"] == label["rejected"]:
            raise InputError(f"{where}: chosen and rejected are the same text; leave it out")
        rows = known.get((label["prompt_id"], label["lang"]), {})
        for name in ("chosen", "rejected"):
            if label[name] not in rows:
                raise InputError(
                    f"{where}: {name} is none of the scored responses of shared/samples to "
                    f"{label['prompt_id']} ({label['lang']}); label those"
                )
        yield rows[label["chosen"]], rows[label["rejected"]]
