"""Gradients of single pairs, by the adapter's weights, small enough to be compared.

A sketch adds every weight's gradient, with a random sign, to one of `dims` places, by a seed alone:
inner products and distances are kept in the mean. At π_ref = π a pair's DPO gradient is
−(β/2) ∇(log π(y⁺|x) − log π(y⁻|x)); of an adapter that has never been trained half is 0 (B = 0).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xlnb.common.columns import Floats
from xlnb.engine.rows import Row, collate_pairs
from xlnb.objective import Objective


def pair_gradients(
    model: Any, rows: Sequence[Row], objective: Objective, *, dims: int = 512, seed: int = 0
) -> Floats:
    """Sketches of every row's gradient, (n, dims), by the weights that have one. `rows`: of
    `tokenize_pairs`, with the reference's log-probabilities."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    stream = torch.Generator().manual_seed(seed)
    places, signs = [], []
    for weight in weights:
        size = (weight.numel(),)
        places.append(torch.randint(dims, size, generator=stream))
        signs.append(2.0 * torch.randint(2, size, generator=stream) - 1)
    was_training = model.training
    model.train()
    found = []
    for row in rows:
        batch = _on(collate_pairs([row]), weights[0].device)
        loss, _ = objective(model, batch, lambda tensor: tensor)
        sketch = torch.zeros(dims)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        for gradient, place, sign in zip(gradients, places, signs, strict=True):
            if gradient is not None:
                sketch.index_add_(0, place, sign * gradient.flatten().float().cpu())
        found.append(sketch.numpy())
    model.train(was_training)
    return np.stack(found).astype(float)


def _on(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
