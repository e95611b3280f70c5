""""""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from xlnb.common.errors import InputError
from xlnb.models.batches import Budget, Pack, Rows, packs
from xlnb.models.output_head import Projection, replaced_forward, token_logps
from xlnb.models.sharding import causal_of, inference, is_sharded

ModelContext = Callable[[], AbstractContextManager[torch.nn.Module]]


def sequence_logprobs(
    model: torch.nn.Module,
    prompts: Rows,
    responses: Rows,
    *,
    batch_tokens: int | Budget = 16384,
    share_prefix: bool | None = None,
) -> list[Tensor]:
    """log π(y_t | x, y_<t) in nats for every token of every response: a list of fp32 CPU tensors of shape (|y|,).

    `prompts[i]` and `responses[i]` are token ids; a response that ended holds its end-of-turn token, a cut one does
    not. Sum a tensor for log π(y | x). Rows are grouped by length into batches of at most `batch_tokens` tokens,
    padding included, and come back in input order; where memory runs out batches get smaller, and the output says so.
    `share_prefix`: whether a prompt is run once for all its responses; None does so where it saves work.

    The log-softmax is in fp32 whatever the weights are. With fp32 weights every path and batch is within 1e-4 nats a
    token of a forward pass of the row alone. Measured on the lab's base, mean and largest deviation of a token: bf16
    weights, one path from the other, 0.003 and 0.1 nats, and from fp32 weights 0.005 and 0.13; NF4 weights, which are
    another model, from fp32 weights 0.04 and 1.8.

    Raises InputError for an empty prompt or response, for a row that alone does not fit into memory, and where a
    log-probability is not finite.
    """
    contexts = [lambda: nullcontext(model)]
    return logprobs_under(
        contexts, prompts, responses, batch_tokens=batch_tokens, share_prefix=share_prefix
    )[0]


def logprobs_under(
    models: Sequence[ModelContext],
    prompts: Rows,
    responses: Rows,
    *,
    batch_tokens: int | Budget = 16384,
    share_prefix: bool | None = None,
) -> list[list[Tensor]]:
    """`sequence_logprobs` under several models, in one pass over the data and in the same batches: a list a model.

    Each of `models` returns a context that holds the model, such as `partial(active, model, "dpo")`.
    """
    for index, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        if not len(prompt) or not len(response):
            raise InputError(f"row {index}: prompt and response must each hold at least one token")
    budget = batch_tokens if isinstance(batch_tokens, Budget) else Budget(batch_tokens)
    if share_prefix is not False and not _shareable(models):
        if share_prefix:
            print(
                "prompts are run with each response: this model keeps more than keys and values",
                flush=True,
            )
        share_prefix = False
    logprobs: list[list[Tensor]] = [[torch.empty(0)] * len(prompts) for _ in models]
    todo = set(range(len(prompts)))
    while todo:
        for pack in packs(sorted(todo), prompts, responses, budget.tokens, share_prefix):
            sides = _if_memory_suffices(models, pack, prompts, responses)
            if sides is None:
                if max(map(len, [pack.prefixes, *pack.batches])) == 1:
                    row = pack.batches[0][0]
                    raise InputError(
                        f"row {row}: its {pack.largest} tokens do not fit into memory; leave it out"
                    )
                budget.shrink(pack.largest)
                break  # what is left is packed anew
            for values, side in zip(logprobs, sides, strict=True):
                for row, value in side.items():
                    values[row] = value
            todo -= sides[0].keys()
    return logprobs


def _if_memory_suffices(
    models: Sequence[ModelContext], pack: Pack, prompts: Rows, responses: Rows
) -> list[dict[int, Tensor]] | None:
    """Log-probabilities of a pack's rows, a dictionary a model; None if memory runs out under any of the models."""
    sides = []
    try:
        for context in models:
            with context() as model, inference(model):
                sides.append(dict(_pack_logprobs(model, pack, prompts, responses)))
    except RuntimeError as error:
        # The second is what PyTorch says on a CPU.
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(
            error
        ):
            raise
    if len(sides) == len(models):
        return sides
    for context in models:
        with context() as model:
            if is_sharded(model):  # the others are in the middle of the same pass
                raise InputError(
                    f"out of memory with {pack.largest} tokens in a batch; lower scoring.batch_tokens"
                )
    torch.cuda.empty_cache()  # after the handler: the error held the tensors of the batch
    return None


def _pack_logprobs(
    model: Any, pack: Pack, prompts: Rows, responses: Rows
) -> Iterator[tuple[int, Tensor]]:
    causal = causal_of(model)
    body, device = causal.get_decoder(), next(causal.parameters()).device
    prefix = Prefix(body, [prompts[i] for i in pack.prefixes], device) if pack.prefixes else None
    for rows in pack.batches:
        batch = [prompts[i] for i in rows], [responses[i] for i in rows]
        states = prefix.states(*batch) if prefix else _states(body, *batch, device)
        tokens = torch.tensor([token for response in batch[1] for token in response], device=device)
        values = (
            token_logps(causal, body, states, tokens)
            .cpu()
            .split([len(response) for response in batch[1]])
        )
        for row, value in zip(rows, values, strict=True):
            if not torch.isfinite(value).all():
                raise InputError(
                    f"row {row}: the model gives a log-probability that is not finite (NaN or infinite)"
                )
            yield row, value.clone()


def _states(body: Any, prompts: Rows, responses: Rows, device: torch.device) -> Tensor:
    """(Σ|y|, H): the states that predict the responses' tokens, one response after the other."""
    rows = [
        torch.tensor([*prompt, *response[:-1]])
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    states = body(
        input_ids=pad_sequence(rows, batch_first=True).to(device), use_cache=False
    ).last_hidden_state
    spans = [
        slice(len(x) - 1, len(x) - 1 + len(y)) for x, y in zip(prompts, responses, strict=True)
    ]
    return torch.cat([row[span] for row, span in zip(states, spans, strict=True)])


class Prefix:
    """Prompts that have been run: the last state of each and the keys and values of all."""

    def __init__(self, body: Any, prompts: Rows, device: torch.device):
        batch = {
            name: tensor.to(device)
            for name, tensor in collate(prompts, [[]] * len(prompts)).items()
        }
        self.body, self.mask = body, batch["attention_mask"]
        output = body(
            input_ids=batch["input_ids"],
            attention_mask=self.mask,
            position_ids=batch["position_ids"],
            use_cache=True,
        )
        self.cache, self.last = output.past_key_values, output.last_hidden_state[:, -1:]
        self.at = {tuple(prompt): position for position, prompt in enumerate(prompts)}

    def states(self, prompts: Rows, responses: Rows) -> Tensor:
        """As `_states`; each of `prompts` is one that has been run."""
        at = torch.tensor([self.at[tuple(prompt)] for prompt in prompts], device=self.last.device)
        states, rest = (
            self.last[at],
            pad_sequence([torch.tensor(y[:-1]) for y in responses], batch_first=True),
        )
        if rest.shape[1]:
            mask = self.mask[at]
            steps = torch.arange(rest.shape[1], device=at.device)
            cache = copy.copy(self.cache)
            cache.layers = [copy.copy(layer) for layer in self.cache.layers]
            cache.batch_select_indices(at)  # gives the copy tensors of its own
            output = self.body(
                input_ids=rest.to(at.device),
                attention_mask=torch.cat([mask, mask.new_ones(rest.shape)], 1),
                position_ids=mask.sum(1, keepdim=True) + steps,
                past_key_values=cache,
                use_cache=True,
            )
            states = torch.cat([states, output.last_hidden_state], 1)
        return torch.cat(
            [row[: len(response)] for row, response in zip(states, responses, strict=True)]
        )


def _shareable(models: Sequence[ModelContext]) -> bool:
    """Whether all that the models keep of a prefix are keys and values, which can be repeated and go on."""
    for context in models:
        with context() as model:
            causal = causal_of(model)
            if not isinstance(causal, PreTrainedModel):
                return False
            layers = DynamicCache(config=causal.config).layers
            if any(
                type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers
            ):
                return False
    return True


def collate(prompts: Rows, responses: Rows) -> dict[str, Tensor]:
    """Lay rows out as in the module's docstring: `input_ids`, `attention_mask` and `position_ids`, each (B, P + R),
    and `response_mask` (B, R). Padding ids are 0; nothing reads them."""
    before, after = max(map(len, prompts)), max(map(len, responses))
    input_ids = torch.zeros(len(prompts), before + after, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        span = slice(before - len(prompt), before + len(response))
        input_ids[row, span] = torch.tensor([*prompt, *response])
        attention_mask[row, span] = 1
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "position_ids": (attention_mask.cumsum(1) - 1).clamp(min=0),
        "response_mask": attention_mask[:, before:].float(),
    }


def response_logprobs(model: torch.nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """(B, R) log-probabilities in fp32, 0 where `response_mask` is 0. Differentiable, and still without more than
    `CHUNK` rows of logits, unless the output layer is trained.

    `model` may be wrapped for several processes: its own forward pass is called, with the body and the projection
    inside.
    """
    causal: Any = next(module for module in model.modules() if hasattr(type(module), "get_decoder"))
    body, own = causal.get_decoder(), causal.forward
    mask = batch["response_mask"].bool()
    width = mask.shape[1]
    tokens = batch["input_ids"][:, -width:][mask]  # (n,)
    # Without padding on the left no token sees any, and attention needs no mask: faster on most devices.
    given = (
        ["input_ids"]
        if batch["attention_mask"][:, 0].all()
        else ["input_ids", "attention_mask", "position_ids"]
    )
    frozen = not any(
        parameter.requires_grad for parameter in causal.get_output_embeddings().parameters()
    )

    def logprobs(*_: Any, **__: Any) -> Tensor:
        output = body(**{name: batch[name] for name in given}, use_cache=False)
        states = output.last_hidden_state[:, -width - 1 : -1][
            mask
        ]  # columns P-1 … P+R-2 predict columns P … P+R-1
        project = Projection.apply if frozen and states.requires_grad else token_logps
        return project(own, body, states, tokens)

    with replaced_forward(causal, logprobs):
        values = model(input_ids=batch["input_ids"])
    return values.new_zeros(mask.shape).masked_scatter(mask, values)
