""""""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import MoeModelOutputWithPast

CHUNK = 128  # response tokens whose logits exist at once: 16 MiB in fp32 at a vocabulary of 32,768


def token_logps(causal: Any, body: Any, states: Tensor, tokens: Tensor) -> Tensor:
    """(n,) fp32 log-probabilities of `tokens`, (n,), each predicted by the state in its place, (n, H)."""
    values = []
    with handing_on(body):
        for chunk, targets in zip(states.split(CHUNK), tokens.split(CHUNK), strict=True):
            logits = causal(inputs_embeds=chunk[None], use_cache=False).logits[0]  # (CHUNK, V)
            values.append(logits.float().log_softmax(-1).gather(-1, targets[:, None])[:, 0])
    return torch.cat(values)


def handing_on(body: Any) -> AbstractContextManager[None]:
    """Inside, the body hands on what it gets as its last states. So logits come from the model's own forward pass,
    whatever it does to them after its output layer: Gemma-2 caps them, Granite and Cohere scale them."""
    return replaced_forward(
        body,
        lambda *_, inputs_embeds, **__: MoeModelOutputWithPast(last_hidden_state=inputs_embeds),
    )


@contextmanager
def replaced_forward(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside, `module` runs `forward`."""
    own = vars(module).get(
        "forward"
    )  # a wrapper around the class's method, if the model was dispatched to a device
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


class Projection(torch.autograd.Function):
    """`token_logps` with a derivative that keeps no logits. A log-probability depends on its own state alone, so its
    slopes, (n, H), are taken in the forward pass; the backward pass has but to scale them."""

    @staticmethod
    def forward(ctx, causal: Any, body: Any, states: Tensor, tokens: Tensor) -> Tensor:
        values, slopes = [], []
        for chunk, targets in zip(states.split(CHUNK), tokens.split(CHUNK), strict=True):
            with torch.enable_grad():
                leaf = chunk.detach().requires_grad_()
                value = token_logps(causal, body, leaf, targets)
                slopes += torch.autograd.grad(value.sum(), leaf)
            values.append(value.detach())
        ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(values)

    @staticmethod
    def backward(ctx, gradient):
        (slopes,) = ctx.saved_tensors
        return None, None, (gradient[:, None] * slopes).to(slopes.dtype), None
