"""Log-probabilities of responses given prompts. The only place where they are computed.

The state that the model's body has at one column gives the logits for the token at the next.
Scoring runs the body, and of all its states projects those alone that predict a response token, a
few at a time (`models.output_head`): the logits of the whole vocabulary never exist for more. Three
layouts:

    a row a response       x1 x2 x3 y1 y2 end pad     padded on the right, which no token sees: no
                                                      mask is needed
    shared prefix          pad x1 x2 x3 | y1 y2 end   prompts run once, padded on the left; their
                                                      keys and values serve all responses to them
    training               x1 x2 x3 | y1 y2 | z1      see `models.packing`; differentiable, as each
                                                      chunk leaves its slopes in place of its logits

Positions count real tokens and no token sees padding, so a row's result does not depend on its
neighbours.
"""

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xlnb.common.errors import InputError
from xlnb.models.batches import Budget, Pack, Rows, packs
from xlnb.models.caches import keeps_keys_alone
from xlnb.models.output_head import Forward, Projection, token_logps, within_forward
from xlnb.models.packing import collate, inputs_of
from xlnb.models.sharding import causal_of, inference, is_sharded

# Gives a context that holds a model.
ModelContext = Callable[[], AbstractContextManager[torch.nn.Module]]


def sequence_logprobs(
    model: torch.nn.Module,
    prompts: Rows,
    responses: Rows,
    *,
    batch_tokens: int | Budget = 16384,
    share_prefix: bool | None = None,
) -> list[Tensor]:
    """log π(y_t | x, y_<t) in nats for every token of every response: a list of fp32 CPU tensors of
    shape (|y|,).

    `prompts[i]` and `responses[i]` are token ids; a response that ended holds its end-of-turn
    token, a cut one does not. Sum a tensor for log π(y | x). Rows are grouped by length into
    batches of at most `batch_tokens` tokens, padding included, and come back in input order; where
    memory runs out batches get smaller, and the output says so. `share_prefix`: whether a prompt is
    run once for all its responses; None does so where it saves work.

    The log-softmax is in fp32 whatever the weights are. With fp32 weights every path and batch is
    within 1e-4 nats a token of a forward pass of the row alone. Measured on the lab's base, mean
    and largest deviation of a token: bf16 weights, one path from the other, 0.003 and 0.1 nats, and
    from fp32 weights 0.005 and 0.13; NF4 weights, which are another model, from fp32 weights 0.04
    and 1.8.

    Raises InputError for an empty prompt or response, for a row that alone does not fit into
    memory, and where a log-probability is not finite.
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
    """`sequence_logprobs` under several models, in one pass over the data and in the same batches:
    a list a model.

    Each of `models` returns a context that holds the model, such as
    `partial(active, model, "dpo")`.
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
                _refuse_a_single_row(pack)
                budget.shrink(pack.largest)
                # What is left is packed anew.
                break
            for values, side in zip(logprobs, sides, strict=True):
                for row, value in side.items():
                    values[row] = value
            todo -= sides[0].keys()
    return logprobs


def _if_memory_suffices(
    models: Sequence[ModelContext], pack: Pack, prompts: Rows, responses: Rows
) -> list[dict[int, Tensor]] | None:
    """Log-probabilities of a pack's rows, a dictionary a model; None if memory runs out under any
    of the models."""
    sides = []
    try:
        for context in models:
            with context() as model, inference(model):
                sides.append(dict(_pack_logprobs(model, pack, prompts, responses)))
    except RuntimeError as error:
        # of the CPU and of Apple's GPU, which have no type of their own
        no_room = re.search("can't allocate memory|MPS backend out of memory", str(error))
        if not no_room and not isinstance(error, torch.OutOfMemoryError):
            raise
    if len(sides) == len(models):
        return sides
    for context in models:
        with context() as model:
            # The other processes are in the middle of the same pass.
            if is_sharded(model):
                raise InputError(
                    f"out of memory with {pack.largest} tokens in a batch; lower "
                    "scoring.batch_tokens"
                )
    # Outside of the handler: the error held the tensors of the batch.
    torch.cuda.empty_cache()
    return None


def _refuse_a_single_row(pack: Pack) -> None:
    """Raises InputError where the pack cannot be made smaller."""
    if max(map(len, [pack.prefixes, *pack.batches])) == 1:
        row = pack.batches[0][0]
        raise InputError(
            f"row {row}: its {pack.largest} tokens do not fit into memory; leave it out"
        )


def _pack_logprobs(
    model: Any, pack: Pack, prompts: Rows, responses: Rows
) -> Iterator[tuple[int, Tensor]]:
    """(row, (|y|,) log-probabilities) of every row of the pack."""
    causal = causal_of(model)
    body = causal.get_decoder()
    device = next(causal.parameters()).device
    prefix = Prefix(body, [prompts[i] for i in pack.prefixes], device) if pack.prefixes else None
    for rows in pack.batches:
        asked = [prompts[i] for i in rows]
        said = [responses[i] for i in rows]
        states = prefix.states(asked, said) if prefix else _states(body, asked, said, device)
        tokens = torch.tensor([token for response in said for token in response], device=device)
        logps = token_logps(causal, body, states, tokens).cpu()
        by_row = logps.split([len(response) for response in said])
        for row, values in zip(rows, by_row, strict=True):
            if not torch.isfinite(values).all():
                remedy = ""
                if states.dtype == torch.float16:
                    remedy = "; float16 may be too narrow for it, set models.dtype=float32"
                raise InputError(
                    f"row {row}: the model gives a log-probability that is not finite (NaN or "
                    f"infinite){remedy}"
                )
            yield row, values.clone()


def _states(body: Any, prompts: Rows, responses: Rows, device: torch.device) -> Tensor:
    """(Σ|y|, H): the states that predict the responses' tokens, one response after the other."""
    both = list(zip(prompts, responses, strict=True))
    rows = [torch.tensor([*prompt, *response[:-1]]) for prompt, response in both]
    ids = pad_sequence(rows, batch_first=True).to(device)
    states = body(input_ids=ids, use_cache=False).last_hidden_state
    found = []
    for row, (prompt, response) in zip(states, both, strict=True):
        first = len(prompt) - 1
        found.append(row[first : first + len(response)])
    return torch.cat(found)


class Prefix:
    """Prompts that have been run: the last state of each and the keys and values of all."""

    def __init__(self, body: Any, prompts: Rows, device: torch.device):
        batch = collate(prompts, [[]] * len(prompts))
        self.body = body
        self.mask = batch["attention_mask"].to(device)
        output = body(
            input_ids=batch["input_ids"].to(device),
            attention_mask=self.mask,
            position_ids=batch["position_ids"].to(device),
            use_cache=True,
        )
        self.cache = output.past_key_values
        self.last = output.last_hidden_state[:, -1:]
        self.at = {tuple(prompt): position for position, prompt in enumerate(prompts)}

    def states(self, prompts: Rows, responses: Rows) -> Tensor:
        """As `_states`; each of `prompts` is one that has been run."""
        at = torch.tensor([self.at[tuple(prompt)] for prompt in prompts], device=self.last.device)
        states = self.last[at]
        # Each response's first token is predicted by its prompt's last state, and its last token
        # predicts nothing.
        rest = pad_sequence([torch.tensor(y[:-1]) for y in responses], batch_first=True)
        if rest.shape[1]:
            mask = self.mask[at]
            steps = torch.arange(rest.shape[1], device=at.device)
            output = self.body(
                input_ids=rest.to(at.device),
                attention_mask=torch.cat([mask, mask.new_ones(rest.shape)], 1),
                position_ids=mask.sum(1, keepdim=True) + steps,
                past_key_values=self._cache_of(at),
                use_cache=True,
            )
            states = torch.cat([states, output.last_hidden_state], 1)
        by_row = zip(states, responses, strict=True)
        return torch.cat([row[: len(response)] for row, response in by_row])

    def _cache_of(self, at: Tensor) -> Any:
        """Keys and values of the prompts at these positions, which may be written to."""
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        # It gives the copy tensors of its own.
        cache.batch_select_indices(at)
        return cache


def _shareable(models: Sequence[ModelContext]) -> bool:
    """Whether what the models keep of a prefix can serve several rows."""
    for context in models:
        with context() as model:
            if not keeps_keys_alone(causal_of(model)):
                return False
    return True


def response_logprobs(model: torch.nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """(B, R) log-probabilities in fp32 of a batch of `collate`, 0 where `response_mask` is 0.

    Differentiable, and still without more than a chunk of logits, unless the output layer is
    trained. `model` may be wrapped for several processes: its own forward pass is called, with the
    body and the projection inside.
    """
    causal: Any = next(module for module in model.modules() if hasattr(type(module), "get_decoder"))
    body = causal.get_decoder()
    mask = batch["response_mask"].bool()
    # (n,) response tokens
    tokens = batch["input_ids"][:, -mask.shape[1] :][mask]
    given = inputs_of(causal, batch)
    head = causal.get_output_embeddings().parameters()
    frozen = not any(parameter.requires_grad for parameter in head)

    def logps(forward: Forward) -> Tensor:
        output = body(**given.body, use_cache=False)
        states = output.last_hidden_state.flatten(0, 1)[given.predictors]
        project = Projection.apply if frozen and states.requires_grad else token_logps
        return project(forward, body, states, tokens)

    values = within_forward(model, causal, logps, batch["input_ids"])
    return values.new_zeros(mask.shape).masked_scatter(mask, values)
