"""Training logs, and what training did to the responses it was shown."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd
import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from xlnb.analysis.read import Record
from xlnb.logprobs import sequence_logprobs
from xlnb.losses import LOSSES, PairLogps, nll_loss
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


def mean_length(
    tokenizer: PreTrainedTokenizerBase, pairs: Mapping[str, Sequence[Record]], side: str
) -> float:
    """Mean tokens of one side's responses, of the first 40 pairs of every language."""
    lengths = []
    for by_lang in pairs.values():
        _, responses = pair_ids(tokenizer, by_lang[:40], side)
        lengths += [len(ids) for ids in responses]
    return float(np.mean(lengths))


def pulls(pair_loss: Callable[..., Tensor], beta: float, length: float) -> pd.DataFrame:
    """A row a weight c of the NLL: how hard each term of `pair_loss` pulls where policy =
    reference, by theory, and what autograd finds on both sides.

    `pair_loss`: see `exercises.training`; `length`: of the chosen response, in tokens.
    """
    rows = []
    for c in (0.0, 0.2, 1.0):
        chosen, rejected = torch.tensor([-8.0]), torch.tensor([-9.0])
        sides = chosen.clone().requires_grad_(), rejected.clone().requires_grad_()
        pair_loss(*sides, chosen, rejected, torch.tensor([length]), beta, c).sum().backward()
        on_chosen, on_rejected = (-side.grad.item() for side in sides if side.grad is not None)
        rows.append(
            {
                "c": f"{c:g}",
                "DPO, β/2": beta / 2,
                "NLL, c/|y|": c / length,
                "on chosen, by autograd": on_chosen,
                "on rejected, by autograd": on_rejected,
            }
        )
    return pd.DataFrame(rows)


def first_terms(logs: Logs, settings: Mapping[str, Training]) -> dict[str, list[float]]:
    """{model: the first term of its loss, DPO's or KTO's, a step each}."""
    found = {}
    for model, log in logs.items():
        found[model] = [record[f"{settings[model].loss}_loss"] for record in log]
    return found


def stretches(logs: Logs, settings: Mapping[str, Training]) -> pd.DataFrame:
    """A row a model: how its training starts and ends.

    The first term of the loss at step 1, and the means over the first and the last ten steps of the
    pairs in the right order (%), and of the NLL (nats a token); the margin (β nats) at the end.
    """
    rows = {}
    for model, log in logs.items():
        table = pd.DataFrame(log)
        right, nll = 100 * table["rewards/accuracies"], table["nll_loss"]
        rows[model] = {
            "first term, step 1": f"{table[f'{settings[model].loss}_loss'].iloc[0]:.4f}",
            "right, first 10 (%)": f"{right.head(10).mean():.1f}",
            "right, last 10 (%)": f"{right.tail(10).mean():.1f}",
            "NLL, first 10": f"{nll.head(10).mean():.3f}",
            "NLL, last 10": f"{nll.tail(10).mean():.3f}",
            "margin, last 10": f"{table['rewards/margins'].tail(10).mean():.3f}",
        }
    return pd.DataFrame(rows).T


def nll_by_micro_batch(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Record]
) -> pd.DataFrame:
    """A row a micro-batch size: the NLL of the chosen responses under a bare model, averaged per
    sequence and per token (nats a token)."""
    prompts, responses = pair_ids(tokenizer, pairs, "chosen")
    logps = torch.stack([row.sum() for row in sequence_logprobs(model, prompts, responses)])
    lengths = torch.tensor([float(len(ids)) for ids in responses])
    rows = {}
    for size in sorted({1, 4, 16, len(pairs)}):
        cut = list(zip(logps.split(size), lengths.split(size), strict=True))
        per_sequence = np.mean([nll_loss(a, b).mean() for a, b in cut])
        per_token = np.mean([-a.sum() / b.sum() for a, b in cut])
        rows[size] = {"per sequence": per_sequence, "per token": per_token}
    return pd.DataFrame(rows).T.rename_axis("micro-batch")
