"""What a model keeps of tokens that it has run."""

from typing import Any

from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


def layers_of(causal: Any) -> list[Any]:
    """The layers of an empty cache for this model."""
    return list(DynamicCache(config=causal.config).layers)


def keeps_keys_alone(causal: Any) -> bool:
    """Whether all that the model keeps are keys and values, which can be repeated and go on."""
    if not isinstance(causal, PreTrainedModel):
        return False
    kinds = {type(layer) for layer in layers_of(causal)}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer}
