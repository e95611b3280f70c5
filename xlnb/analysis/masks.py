"""Scores under the release's mask, which drops a response's first token and, where the response is
shorter than its batch, counts the padding after it; beside the right ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from xlnb.analysis.read import Record
from xlnb.analysis.responses import best_and_worst, facts, verdict
from xlnb.evaluation.alpaca_eval import preference_of
from xlnb.winrates import bootstrap_interval, paired_difference, win_rate

# Rows of the release's batches.
BATCH = 3

Shares = dict[str, tuple[float, float, float, int]]


def padded(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], pad: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids of a batch, (B, width), each row padded behind its end; the attention mask; and the
    mask of response tokens."""
    width = max(len(x) + len(y) for x, y in zip(prompts, responses, strict=True))
    ids = torch.full((len(prompts), width), pad)
    attended, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (x, y) in enumerate(zip(prompts, responses, strict=True)):
        end = len(x) + len(y)
        ids[row, :end] = torch.tensor([*x, *y])
        attended[row, :end] = 1
        mask[row, len(x) : end] = 1
    return ids, attended, mask


def logits(model: Any, ids: Tensor, attended: Tensor) -> Tensor:
    """In float32, on the CPU."""
    with torch.inference_mode():
        found = model(input_ids=ids.to(model.device), attention_mask=attended.to(model.device))
    return found.logits.float().cpu()


def shorter_than_batch(lengths: Sequence[int], batch: int = BATCH) -> np.ndarray:
    """Whether each row is shorter than the longest of its batch; batches are cut as rows come."""
    found = []
    for start in range(0, len(lengths), batch):
        rows = np.asarray(lengths[start : start + batch])
        found.append(rows < rows.max())
    return np.concatenate(found)


def masked_scores(
    records: Sequence[Record], values: Sequence[Tensor], lengths: Sequence[int]
) -> pd.DataFrame:
    """A row a response: log π − log π_I (nats) of every token, and under the release's mask.

    `values`: of each response, one a token and then the padding token's; `lengths`: tokens of each
    prompt and its response. Columns: lang, prompt_id, text; score (all tokens), first, pad (those
    of one token), alone (the longest of its batch), padded (shorter than it), release (in batches
    as the rows come) and reshuffled (in batches of the rows in another order).
    """
    names = []
    for record in records:
        for response in record["responses"]:
            names.append((record["lang"], record["prompt_id"], response["text"]))
    table = pd.DataFrame(names, columns=["lang", "prompt_id", "text"])
    table["score"] = [each[:-1].sum().item() for each in values]
    table["first"] = [each[0].item() for each in values]
    table["pad"] = [each[-1].item() for each in values]
    table["alone"] = table["score"] - table["first"]
    table["padded"] = table["alone"] + table["pad"]
    as_they_come = np.arange(len(table))
    shuffled = np.random.default_rng(0).permutation(len(table))
    for name, order in (("release", as_they_come), ("reshuffled", shuffled)):
        shorter = np.empty(len(table), bool)
        shorter[order] = shorter_than_batch(np.asarray(lengths)[order].tolist())
        table[name] = np.where(shorter, table["padded"], table["alone"])
    return table


def chosen_pairs(table: pd.DataFrame, score: str) -> pd.Series:
    """(chosen, rejected) by this column, a prompt a row; index: lang, prompt_id."""
    groups = table.groupby(["lang", "prompt_id"], sort=False)
    found = {names: best_and_worst(rows[score], list(rows["text"])) for names, rows in groups}
    return pd.Series(found).rename_axis(["lang", "prompt_id"])


def changed(table: pd.DataFrame, left: str, right: str) -> pd.Series:
    """Whether a prompt's pair by one column is not its pair by the other."""
    return chosen_pairs(table, left) != chosen_pairs(table, right)


def changed_shares(table: pd.DataFrame, left: str, right: str) -> Shares:
    """{lang: (percent of prompts whose pair changes, its 95% interval's low and high, count)}; the
    interval is clustered, the lab's prompts by fact."""
    found: Shares = {}
    for lang, flags in changed(table, left, right).groupby(level="lang", sort=False):
        share = 100 * np.mean(flags)
        low, high = bootstrap_interval(1 + flags.to_numpy(float), clusters=facts(flags))
        found[str(lang)] = (share, low, high, int(flags.sum()))
    return found


def oracle_agrees(table: pd.DataFrame, score: str, taste: str) -> pd.Series:
    """AlpacaEval's preference of the oracle for chosen over rejected, a prompt each; index as of
    `chosen_pairs`."""
    pairs = chosen_pairs(table, score)
    found = []
    for (lang, prompt_id), (chosen, rejected) in pairs.items():
        high, low = (verdict(prompt_id, lang, text).points(taste) for text in (chosen, rejected))
        found.append(float(preference_of(high, low)))
    return pd.Series(found, pairs.index)


def agreement(table: pd.DataFrame, taste: str) -> dict[str, tuple[float, float, float]]:
    """In how many of 100 pairs the oracle prefers chosen, by every token and under the release's
    mask, and their difference; each with the low and the high end of its 95% interval, clustered by
    fact."""
    right, wrong = (oracle_agrees(table, score, taste) for score in ("score", "release"))
    clusters = facts(right)
    found = {}
    for name, preference in (("every token", right), ("release", wrong)):
        low, high = bootstrap_interval(preference, clusters=clusters)
        found[name] = (win_rate(preference)[0], low, high)
    test = paired_difference(wrong, right, clusters=clusters)
    low, high = test["ci"]
    return {**found, "release − every token": (test["difference"], low, high)}


def pairs_changed(records: Sequence[Record], left: ArrayLike, right: ArrayLike) -> int:
    """How many prompts give another pair by one way to compute the rewards than by the other.

    `left`, `right`: rewards of all responses of the records, in order.
    """
    one, other = np.asarray(left), np.asarray(right)
    start = count = 0
    for record in records:
        texts = [response["text"] for response in record["responses"]]
        rows = slice(start, start + len(texts))
        count += best_and_worst(one[rows], texts) != best_and_worst(other[rows], texts)
        start += len(texts)
    return count
