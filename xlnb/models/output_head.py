"""From the states of a model's body to log-probabilities of tokens, a few at a time.

A causal model is a body (its layers) and a head, which gives logits over the vocabulary:

    ids ──▶ body ──▶ states (n, H) ──▶ head ──▶ logits (n, V) ──▶ log-softmax ──▶ (n,)

Of the body's states we want logits for those alone that predict a response token, and never for
more than `CHUNK` of them at once: V is large. So the body is run by itself, and then the head on
chunks of its states. But no model offers its head as a function of its own. The output layer is not
all of it: Gemma-2 caps the logits after it, Granite and Cohere scale them. What does all that is
the model's own `forward`. We run it, while the body in it, for once, does nothing:

    as ever               forward( ids )    = head( body( ids ) )
    in `token_logps`      forward( states ) = head(      states )      CHUNK states at a time

The body does nothing because its `forward` is replaced for the time being by one that hands on what
it gets (`_handing_on`).

In training the model may be wrapped (DDP averages gradients over processes), and a wrapper must see
a single pass through the model. So there the causal model's own `forward` is replaced as well, by
one that does all of the work above (`within_forward`):

    wrapper( ids ) ──▶ forward, replaced: body, then head on chunks ──▶ log-probabilities
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import MoeModelOutputWithPast

# Response tokens whose logits exist at once: 16 MiB in fp32 at a vocabulary of 32,768.
CHUNK = 128

Forward = Callable[..., Any]


def token_logps(forward: Forward, body: Any, states: Tensor, tokens: Tensor) -> Tensor:
    """(n,) fp32 log-probabilities of `tokens`, (n,), each predicted by the state in its place of
    `states`, (n, H).

    `forward`: the causal model, or its own `forward`; `body`: what it calls first.
    """
    values = []
    with _handing_on(body):
        for chunk, targets in zip(states.split(CHUNK), tokens.split(CHUNK), strict=True):
            # (CHUNK, V)
            logits = forward(inputs_embeds=chunk[None], use_cache=False).logits[0]
            logps = logits.float().log_softmax(-1)
            values.append(logps.gather(-1, targets[:, None])[:, 0])
    return torch.cat(values)


class Projection(torch.autograd.Function):
    """`token_logps` with a derivative that keeps no logits.

    A log-probability depends on its own state alone, so its slopes, (n, H), are taken in the
    forward pass; the backward pass has but to scale them. The head itself gets no gradient.
    """

    @staticmethod
    def forward(ctx, forward: Forward, body: Any, states: Tensor, tokens: Tensor) -> Tensor:
        values = []
        slopes = []
        for chunk, targets in zip(states.split(CHUNK), tokens.split(CHUNK), strict=True):
            with torch.enable_grad():
                leaf = chunk.detach().requires_grad_()
                value = token_logps(forward, body, leaf, targets)
                slopes += torch.autograd.grad(value.sum(), leaf)
            values.append(value.detach())
        ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(values)

    @staticmethod
    def backward(ctx, gradient):
        (slopes,) = ctx.saved_tensors
        return None, None, (gradient[:, None] * slopes).to(slopes.dtype), None


def within_forward(
    model: Any, causal: Any, work: Callable[[Forward], Tensor], input_ids: Tensor
) -> Tensor:
    """What `work` gives, run in one pass through `model`, in place of the `forward` of the causal
    model that is in it. `work` is handed that `forward`, to call the head with."""
    own = causal.forward
    with _replaced_forward(causal, lambda *_, **__: work(own)):
        return model(input_ids=input_ids)


@contextmanager
def _handing_on(body: Any) -> Iterator[None]:
    """Inside, the body does nothing: the states it is given are its last ones."""

    def forward(*_: Any, inputs_embeds: Any, **__: Any) -> MoeModelOutputWithPast:
        # It has every field that a causal model, of a mixture of experts or not, may ask for.
        return MoeModelOutputWithPast(last_hidden_state=inputs_embeds)

    with _replaced_forward(body, forward):
        yield


@contextmanager
def _replaced_forward(module: Any, forward: Forward) -> Iterator[None]:
    """Inside, `module` runs `forward`."""
    # A model that was dispatched to a device has one on the instance, around the class's method.
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
