"""A model's first layers as a model: the final norm and the answer head read what they say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xlnb.common.errors import InputError
from xlnb.models.sharding import causal_of, is_sharded


@contextmanager
def first_layers(model: Any, layers: int) -> Iterator[Any]:
    """Inside, the model is its first so many layers, the final norm and the answer head; 0: all of
    it.

    Nothing was trained for it: early exit without joint optimisation (arXiv 2412.01455). All layers
    named are all layers, to the last bit. Raises InputError for more layers than there are, and for
    a model whose layers are shared out over processes, which all run them together.
    """
    if not layers:
        yield model
        return
    body = causal_of(model).get_decoder()
    own = body.layers
    if not 0 < layers <= len(own):
        raise InputError(f"scoring.layers {layers}: expected 0 to {len(own)}, the model's layers")
    if is_sharded(model):
        raise InputError("scoring.layers: set it to 0, or models.shard=false")
    body.layers = own[:layers]
    try:
        yield model
    finally:
        body.layers = own
