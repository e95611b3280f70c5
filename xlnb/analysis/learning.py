"""Training logs, and what training did to the responses it was shown."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd
import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from xlnb.analysis.read import Record
from xlnb.losses import LOSSES, PairLogps
from xlnb.models.chat import prompt_ids, response_ids
from xlnb.presets import Training
from xlnb.rewards import score_responses

Logs = Mapping[str, Sequence[Record]]


def pair_ids(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Record], side: str
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of the prompts and of one side's responses, "chosen" or "rejected"."""
    prompts, responses = [], []
    for pair in pairs:
        prompt, response = pair["prompt"][0]["content"], pair[side][0]["content"]
        prompts.append(prompt_ids(tokenizer, prompt))
        responses.append(response_ids(tokenizer, prompt, response))
    return prompts, responses


def first_step(logs: Logs, settings: Mapping[str, Training]) -> pd.DataFrame:
    """A row a model: its log's first step beside what theory predicts where policy = reference.

    `settings`: each model's training. DPO's loss is ln 2 there, KTO's 1/2.
    """
    rows = {}
    for model, log in logs.items():
        first, config = log[0], settings[model]
        no_change = PairLogps(*torch.zeros(4, 2, dtype=torch.float64))
        predicted = LOSSES[config.loss].of_pairs(no_change, config.beta).losses.item()
        rows[model] = {
            "first term": first[f"{config.loss}_loss"],
            "predicted": predicted,
            "rewards/margins": first["rewards/margins"],
            "nll_loss": first["nll_loss"],
            "loss": first["loss"],
            "predicted loss": predicted + config.nll * first["nll_loss"],
        }
    return pd.DataFrame(rows).T


def series(logs: Logs, key: str, factor: float = 1.0) -> dict[str, list[float]]:
    """{model: a logged quantity, times `factor`, a step each}."""
    found = {}
    for model, log in logs.items():
        found[model] = [factor * record[key] for record in log]
    return found


def last_tenth(logs: Logs, keys: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """A row a model: the mean of its logged `keys` over the last tenth of the steps."""
    rows: dict[str, dict[str, float]] = {}
    for model, log in logs.items():
        rows[model] = {}
        for key in keys[model]:
            rows[model][key] = np.mean([record[key] for record in log[-len(log) // 10 :]])
    return pd.DataFrame(rows).T


def logprob_changes(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    before: str | None,
    after: str | None,
    pairs: Sequence[Record],
) -> dict[str, np.ndarray]:
    """{"chosen", "rejected": (n,) log π_after(y|x) − log π_before(y|x) in nats} of these pairs.

    `before` and `after`: names of adapters of `model`; None: its bare base.
    """
    changes = {}
    for side in ("chosen", "rejected"):
        prompts, responses = pair_ids(tokenizer, pairs, side)
        new, old = score_responses(model, after, before, prompts, responses, batch_tokens=16384)
        sums = np.array([row.sum().item() for row in new])
        changes[side] = sums - [row.sum().item() for row in old]
    return changes


def change_row(up: np.ndarray, down: np.ndarray) -> dict[str, float]:
    """What became of the log-probabilities of chosen (`up`) and rejected (`down`) responses.

    Both (n,), in nats: means, and the shares of pairs in percent.
    """
    return {
        "chosen (nats)": up.mean(),
        "rejected (nats)": down.mean(),
        "margin grew (%)": 100 * np.mean(up > down),
        "chosen fell (%)": 100 * np.mean(up < 0),
        "both fell (%)": 100 * np.mean((up < 0) & (down < 0)),
    }


def interleaved(pairs: Mapping[str, Sequence[Record]], most: int) -> list[Record]:
    """The first pairs of every language in turn, cut to a power of two: so that any micro-batch of
    that many divides them, and has all languages."""
    groups = zip(*(by_lang[:most] for by_lang in pairs.values()), strict=False)
    mixed = list(chain.from_iterable(groups))
    return mixed[: 2 ** int(np.log2(len(mixed)))]


def first_questions(prompts: Mapping[str, Sequence[Record]]) -> list[Record]:
    """The first evaluation prompt of every language that has one."""
    found = []
    for records in prompts.values():
        found += [record for record in records if record["split"] == "eval"][:1]
    return found
