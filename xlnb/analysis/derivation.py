"""Rewards of held-out prompts beside the oracle's scores: notebook 01."""

from collections.abc import Sequence

import pandas as pd

from xlnb.analysis import read
from xlnb.analysis.read import Record
from xlnb.analysis.responses import centred, facts
from xlnb.common.intervals import clustered_error
from xlnb.evaluation.truth import reward_accuracy
from xlnb.lab.truth import lab_truth
from xlnb.runs.layout import Run


def held_out(run: Run, scorer: str, lang: str) -> list[tuple[Record, Record]]:
    """Samples of π^0 on the prompts of split `reward`, each with its scores by a scorer."""
    by_id = {record["prompt_id"]: record for record in read.scores(run, 1, scorer, lang)}
    held = [record for record in read.samples(run, 1, lang) if record["split"] == "reward"]
    return [(sample, by_id[sample["prompt_id"]]) for sample in held]


def by_score(table: pd.DataFrame) -> pd.DataFrame:
    """A row an oracle's score (points): mean reward (β nats), each prompt's mean taken off, with
    its 95% interval, lo and hi, clustered by fact, over the n prompts that have such a response;
    of two facts or more.

    `table`: a row a response, with lang, prompt_id, oracle, reward.
    """
    rewards = centred(table, ["reward"])
    by_prompt = rewards.groupby(["oracle", "prompt_id"])["reward"].mean()
    rows = []
    for score, values in by_prompt.groupby("oracle"):
        mean = values.mean()
        reach = 1.96 * clustered_error(values.to_numpy(), facts(values))
        rows.append((score, mean, mean - reach, mean + reach, len(values)))
    return pd.DataFrame(rows, columns=["score", "mean", "lo", "hi", "n"]).dropna(ignore_index=True)


def accuracy(
    samples: Sequence[Record], scores: Sequence[Record], taste: str
) -> dict[str, float | int | None]:
    """`evaluation.truth.reward_accuracy` in the lab, of records as `read` gives them."""
    typed = [read.as_score(record) for record in scores]
    typed_samples = [read.as_sample(record) for record in samples]
    return reward_accuracy(typed_samples, typed, "reward", lab_truth(taste))
