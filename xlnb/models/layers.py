"""Which layers treat languages differently: a choice for `training.layers`, and its control."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from xlnb.common.errors import InputError
from xlnb.models.batches import Rows
from xlnb.models.sharding import causal_of, inference


def language_deviations(model: Any, prompts: Mapping[str, Rows]) -> list[float]:
    """How much each layer's activations differ across languages, 0 where they do not.

        d_k = mean over languages l and neurons i of (a_kli − mean_l a_kli)²

    a_kli: the share of tokens of l's prompts at which neuron i of layer k's feed-forward network is
    active (its activation function above 0). SLAM (arXiv 2501.03681) trains the layers whose
    activated neurons deviate most; its code for the selection is not released, and this is the
    measure by a description of it. `prompts`: token ids by language, parallel ones, in the order in
    which they are run, each by itself. Raises InputError for fewer than two languages, and for an
    architecture without `mlp.act_fn` in its layers.
    """
    if len(prompts) < 2:
        raise InputError(f"layers differ across languages; got {', '.join(prompts) or 'none'}")
    body = causal_of(model).get_decoder()
    device = next(body.parameters()).device
    shares = []
    for rows in prompts.values():
        with _active(body) as counts, inference(model):
            for row in rows:
                body(input_ids=torch.tensor([list(row)], device=device), use_cache=False)
        tokens = sum(len(row) for row in rows)
        # (layers, neurons)
        shares.append(torch.stack(counts) / tokens)
    # (languages, layers, neurons)
    by_language = torch.stack(shares)
    deviations = (by_language - by_language.mean(0)) ** 2
    return deviations.mean((0, 2)).tolist()


@contextmanager
def _active(body: Any) -> Iterator[list[Tensor]]:
    """Inside, counts for each layer at how many tokens each of its neurons is active, (neurons,)
    each."""
    counts: list[Tensor] = []
    handles = []
    for number, layer in enumerate(body.layers):
        function = getattr(getattr(layer, "mlp", None), "act_fn", None)
        if not isinstance(function, torch.nn.Module):
            raise InputError(f"{type(body).__name__}: its layers have no mlp.act_fn to look at")

        def count(_module: Any, _args: Any, output: Tensor, number: int = number) -> None:
            active = (output > 0).flatten(0, -2).sum(0).double().cpu()
            if number == len(counts):
                counts.append(active)
            else:
                counts[number] += active

        handles.append(function.register_forward_hook(count))
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def most_different(deviations: Sequence[float], n: int) -> str:
    """The n layers that deviate most, as `training.layers` takes them."""
    ranked = sorted(range(len(deviations)), key=lambda layer: (-deviations[layer], layer))
    return _named(ranked, n)


def random_layers(layers: int, n: int, seed: int) -> str:
    """As many layers by chance, of `layers` that there are: what a choice must beat."""
    order = list(range(layers))
    random.Random(f"{seed} layers").shuffle(order)
    return _named(order, n)


def _named(order: Sequence[int], n: int) -> str:
    if not 0 < n <= len(order):
        raise InputError(f"{n} layers: expected 1 to {len(order)}, as many as the model has")
    return "+".join(str(layer) for layer in sorted(order[:n]))
