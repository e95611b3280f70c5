"""Sums of token log-probabilities, by two ways to compute them: notebook 02."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from xlnb.analysis.read import Record

Sums = dict[str, np.ndarray]


def example(samples: Sequence[Record], scores: Sequence[Record]) -> tuple[Record, Record]:
    """The sample and its response of 6 to 12 tokens that ended by itself and has the highest
    reward; the shortest response where none is so long."""
    found = []
    for sample, score in zip(samples, scores, strict=True):
        for response, reward in zip(sample["responses"], score["reward"], strict=True):
            if response["finish_reason"] == "stop":
                found.append((reward, sample, response))
    fit = [each for each in found if 6 <= len(each[2]["token_ids"]) <= 12]
    shortest = min(found, key=lambda each: len(each[2]["token_ids"]))
    _, sample, response = max(fit or [shortest], key=lambda each: each[0])
    return sample, response


def nearest(responses: Sequence[Record], tokens: int) -> Record:
    """The response whose number of tokens is nearest."""
    return min(responses, key=lambda response: abs(len(response["token_ids"]) - tokens))


def sums(
    sides: Sequence[Sequence[torch.Tensor]], beta: float, dtype: torch.dtype = torch.float32
) -> Sums:
    """log π^0, log π_I (nats) and reward (β nats) of every response, (n,) each.

    `sides`: the token values under both, as `rewards.score_responses` returns them; they are summed
    in `dtype`.
    """
    totals = []
    for side in sides:
        totals.append(np.array([values.to(dtype).sum().item() for values in side]))
    policy, reference = totals
    return {"log π^0": policy, "log π_I": reference, "reward": beta * (policy - reference)}


def compared(left: Sums, right: Sums, title: str) -> pd.DataFrame:
    """How far two computations of the same sums agree, a row a quantity.

    `title`: the first column's; the standard deviation is that of `right`.
    """
    rows = []
    for name in left:
        correlation = np.corrcoef(left[name], right[name])[0, 1]
        apart = np.abs(left[name] - right[name]).mean()
        rows.append((name, correlation, apart, right[name].std()))
    columns = ["correlation", "mean |difference|", "standard deviation over responses"]
    return pd.DataFrame(rows, columns=[title, *columns])
