"""Which way pairs of each language push a model: gradients of a training's first step, compared."""

import random
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xlnb.engine.rows import Row
from xlnb.evaluation.clusters import fact_of
from xlnb.logprobs import response_logprobs
from xlnb.losses import nll_loss
from xlnb.models.packing import collate

# Two halves of the same pairs, of which each has its own gradient.
Halves = tuple[Tensor, Tensor]

PAIRS_AT_ONCE = 8


def gradients(model: Any, rows: Sequence[Row]) -> dict[str, Tensor]:
    """{"DPO", "NLL": the gradient of what the model trains, in one piece}, mean over the pairs.

    A training begins with the policy as its own reference, where DPO's gradient is that of
    −β/2 (log π(y⁺|x) − log π(y⁻|x)); without the factor it points the same way.
    """
    weights = [each for each in model.parameters() if each.requires_grad]
    found = {"DPO": torch.zeros(sum(map(Tensor.numel, weights)))}
    found["NLL"] = found["DPO"].clone()
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        some = rows[start : start + PAIRS_AT_ONCE]
        prompts = [row["prompt_ids"] for row in some]
        responses = [row["chosen_ids"] for row in some] + [row["rejected_ids"] for row in some]
        chosen, rejected = response_logprobs(model, collate(prompts * 2, responses)).sum(1).chunk(2)
        lengths = torch.tensor([len(row["chosen_ids"]) for row in some], device=chosen.device)
        losses = {"DPO": rejected - chosen, "NLL": nll_loss(chosen, lengths)}
        for name, values in losses.items():
            parts = torch.autograd.grad(
                values.sum() / len(rows), weights, retain_graph=name == "DPO"
            )
            found[name] += torch.cat([part.detach().float().cpu().flatten() for part in parts])
    return found


def halves(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows in two, all of a fact in the same one, which is the same in every language."""
    found: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        place = random.Random(f"half {fact_of(row['prompt_id'])}").random() < 0.5
        found[place].append(row)
    return found


def cosines(of: Mapping[str, Halves]) -> pd.DataFrame:
    """Cosines of the names' gradients, each of one half with the other, which have no pair and no
    fact in common: of a name with itself the ceiling that noise leaves."""
    table = pd.DataFrame(index=list(of), columns=list(of), dtype=float)
    for one, other in product(of, of):
        both = (_cosine(of[one][0], of[other][1]), _cosine(of[one][1], of[other][0]))
        table.loc[one, other] = float(np.mean(both))
    return table


def of_ceiling(table: pd.DataFrame) -> pd.DataFrame:
    """The same as shares of what noise allows: divided by the geometric mean of both ceilings; NaN
    where one is not above 0."""
    ceilings = pd.Series(np.diag(table), table.index).where(lambda value: value > 0)
    return table.div(np.sqrt(ceilings), axis=0).div(np.sqrt(ceilings), axis=1)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))
