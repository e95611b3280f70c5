"""Several scores of one prompt's responses fused by a gate that sees where they conflict.

    s(y) = Σ_v g_v z_v(y),   g = softmax_v(a_v − b k_v),   k_v = 1 − mean over u ≠ v of τ(v, u)

z_v: view v's scores, centred and divided by their deviation within the prompt; τ: how far two views
order the prompt's responses alike, from −1 to 1 (Kendall's). So a view that all others contradict
weighs less. a and b are fitted to labelled pairs while views are left out at random, so that the
gate cannot lean on one. After gated fusion of views of speech that pull apart (arXiv 2501.08057,
whose equations are not released); b = 0 and equal a are the plain mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xlnb.common.columns import Floats
from xlnb.common.errors import InputError


class Labelled(NamedTuple):
    """A prompt's responses by every view, (V, n), and pairs of them: (better, worse) places."""

    views: Floats
    pairs: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Gate:
    """a, (V,), and b of a gate that was fitted; `mean` for one that was not."""

    a: tuple[float, ...]
    b: float

    @classmethod
    def mean(cls, views: int) -> "Gate":
        return cls((0.0,) * views, 0.0)

    def weights(self, views: Floats) -> Floats:
        """g of one prompt's views, (V, n) to (V,)."""
        _check(views, len(self.a))
        logits = np.array(self.a) - self.b * conflicts(views)
        powers = np.exp(logits - logits.max())
        return powers / powers.sum()

    def score(self, views: Floats) -> Floats:
        """s of one prompt's responses, (V, n) to (n,)."""
        return self.weights(views) @ standardised(views)


def standardised(views: Floats) -> Floats:
    """Each view centred and divided by its deviation within the prompt; 0 where it has none."""
    centred = views - views.mean(1, keepdims=True)
    spread = views.std(1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def fused(views: Mapping[str, Sequence[float | None]], gate: Gate) -> list[float | None]:
    """One prompt's score by the gate, of the responses that every view has scored; None of
    others."""
    columns = np.array(list(views.values()), float)
    scored = ~np.isnan(columns).any(0)
    values: list[float | None] = [None] * len(scored)
    for place, value in zip(np.flatnonzero(scored), gate.score(columns[:, scored]), strict=True):
        values[place] = float(value)
    return values


def conflicts(views: Floats) -> Floats:
    """k of each view, (V, n) to (V,): from 0, all others order the responses as it does, to 2, all
    turn them round. A view alone has no conflict."""
    agreement = _agreement(views)
    others = len(views) - 1
    if not others:
        return np.zeros(1)
    return 1 - (agreement.sum(1) - agreement.diagonal()) / others


def _agreement(views: Floats) -> Floats:
    """(V, V): the mean over pairs of responses of the product of two views' signs; ties are 0."""
    n = views.shape[1]
    first, second = np.triu_indices(n, 1)
    signs = np.sign(views[:, first] - views[:, second])
    return signs @ signs.T / max(1, len(first))


def fit_gate(
    prompts: Sequence[Labelled],
    *,
    drop: float = 0.3,
    steps: int = 300,
    lr: float = 0.05,
    ridge: float = 1e-3,
    seed: int = 0,
) -> Gate:
    """The gate that makes the labelled pairs likely.

        min over a, b of   mean −log σ(s(y⁺) − s(y⁻)) + λ (‖a‖² + b²)

    by Adam from the plain mean. In each step a view is out with probability `drop`, at random and
    at least one is in: it has no weight, and nothing conflicts with it. Raises InputError without a
    pair, for views that are not finite, and for prompts of unlike views.
    """
    if not any(prompt.pairs for prompt in prompts) or not 0 <= drop < 1:
        raise InputError(
            "fit_gate: expected labelled pairs of some prompts, and drop from 0 to below 1"
        )
    views = len(prompts[0].views)
    differences = []
    agreements = []
    for prompt in prompts:
        _check(prompt.views, views)
        z = standardised(prompt.views)
        for better, worse in prompt.pairs:
            differences.append(z[:, better] - z[:, worse])
            agreements.append(_agreement(prompt.views))
    # (pairs, V) and (pairs, V, V)
    difference = torch.tensor(np.stack(differences))
    agreement = torch.tensor(np.stack(agreements))
    stream = torch.Generator().manual_seed(seed)
    a = torch.zeros(views, dtype=torch.float64, requires_grad=True)
    b = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([a, b], lr=lr)
    for _ in range(steps):
        present = _present(views, drop, stream)
        weights = (a - b * _conflicts_among(agreement, present)).masked_fill(~present, -torch.inf)
        margins = (weights.softmax(1) * difference).sum(1)
        loss = -F.logsigmoid(margins).mean() + ridge * (a.square().sum() + b.square())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Gate(tuple(a.tolist()), b.item())


def _present(views: int, drop: float, stream: torch.Generator) -> Tensor:
    """(V,): which views are in."""
    draws = torch.rand(views, generator=stream)
    return (draws >= drop) | (draws == draws.max())


def _conflicts_among(agreement: Tensor, present: Tensor) -> Tensor:
    """`conflicts` of every pair's prompt, (pairs, V), with the views that are in alone."""
    others = present.double().expand(len(present), -1) * (1 - torch.eye(len(present)))
    number = others.sum(1).clamp(min=1)
    alone = others.sum(1) == 0
    return (1 - (agreement * others).sum(2) / number).masked_fill(alone, 0.0)


def _check(views: Floats, expected: int) -> None:
    if views.ndim != 2 or len(views) != expected or not np.isfinite(views).all():
        raise InputError(
            f"views: expected {expected} rows of finite scores, a column a response, got an array "
            f"of shape {views.shape}; leave out what has no score"
        )
