"""Log-probabilities of responses given prompts. The only place where they are computed.

The state that the model's body has at one column gives the logits for the token at the next. Scoring runs the body, and
of all its states projects those alone that predict a response token, `CHUNK` at a time: the logits of the whole
vocabulary never exist for more. Three layouts:

    a row a response       x1 x2 x3 y1 y2 end pad     padded on the right, which no token sees: no mask is needed
    shared prefix          pad x1 x2 x3 | y1 y2 end   prompts run once, padded on the left; their keys and values serve
                                                      all responses to them
    training (`collate`)   pad x1 x2 x3 | y1 y2 end   all responses of a batch begin in one column; differentiable, as
                                                      each chunk leaves its slopes in place of its logits

Positions count real tokens and no token sees padding, so a row's result does not depend on its neighbours.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_outputs import MoeModelOutputWithPast

from xlnb.errors import InputError
from xlnb.sharding import causal_of, inference, is_sharded

Rows = Sequence[Sequence[int]]
ModelContext = Callable[[], AbstractContextManager[torch.nn.Module]]

CHUNK = 128  # response tokens whose logits exist at once: 16 MiB in fp32 at a vocabulary of 32,768
# Prompts are shared where at most this part of the tokens is left to run. Sharing needs a mask and copies of keys and
# values, which cost something too: on two CPU cores a share of 0.82 took 0.86 to 1.02 of the time.
SAVING = 0.8


class Budget:
    """How many tokens a batch may hold, padding included. It shrinks, saying so, where memory runs out, and stays small
    for the next call that is given it."""

    def __init__(self, tokens: int):
        self.tokens = tokens

    def shrink(self, failed: int) -> None:
        """To half of `failed`, the tokens of a batch for which memory did not suffice."""
        self.tokens = min(self.tokens, failed) // 2
        print(f"out of memory with {failed} tokens in a batch; going on with at most {self.tokens}", flush=True)


class Pack(NamedTuple):
    """Rows that are computed together."""

    prefixes: list[int]  # a row of each prompt that is run once for all its responses; empty: none is shared
    batches: list[list[int]]
    run: int  # tokens to run, padding included
    largest: int  # tokens of the largest batch, padding and shared prefixes included


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
    return logprobs_under(contexts, prompts, responses, batch_tokens=batch_tokens, share_prefix=share_prefix)[0]


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
            print("prompts are run with each response: this model keeps more than keys and values", flush=True)
        share_prefix = False
    logprobs: list[list[Tensor]] = [[torch.empty(0)] * len(prompts) for _ in models]
    todo = set(range(len(prompts)))
    while todo:
        for pack in packs(sorted(todo), prompts, responses, budget.tokens, share_prefix):
            sides = _if_memory_suffices(models, pack, prompts, responses)
            if sides is None:
                if max(map(len, [pack.prefixes, *pack.batches])) == 1:
                    row = pack.batches[0][0]
                    raise InputError(f"row {row}: its {pack.largest} tokens do not fit into memory; leave it out")
                budget.shrink(pack.largest)
                break  # what is left is packed anew
            for values, side in zip(logprobs, sides, strict=True):
                for row, value in side.items():
                    values[row] = value
            todo -= sides[0].keys()
    return logprobs


def packs(
    rows: Sequence[int], prompts: Rows, responses: Rows, batch_tokens: int, share_prefix: bool | None
) -> list[Pack]:
    """All `rows` in packs whose batches fit `batch_tokens`; None shares prompts if that leaves `SAVING` of the work."""
    alone = []
    for batch in batches([len(prompts[i]) + len(responses[i]) for i in rows], batch_tokens):
        members = [rows[i] for i in batch]
        size = len(members) * (len(prompts[members[0]]) + len(responses[members[0]]))
        alone.append(Pack([], [members], size - len(members), size))  # the last token predicts nothing
    if share_prefix is False:
        return alone
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for i in rows:
        by_prompt.setdefault(tuple(prompts[i]), []).append(i)
    groups, shared = list(by_prompt.values()), []
    # A pack's keys and values are kept while its batches run, so prompts get a part of the budget only. Several prompts
    # in a pack let its batches be of one length each.
    for together in batches([len(prompts[group[0]]) for group in groups], batch_tokens // 4):
        prefixes = [groups[g][0] for g in together]
        members = [i for g in together for i in groups[g]]
        width = len(prompts[prefixes[0]])
        made = [[members[i] for i in b] for b in batches([width + len(responses[i]) for i in members], batch_tokens)]
        run = [len(batch) * (len(responses[batch[0]]) - 1) for batch in made]
        sizes = [len(batch) * (width + len(responses[batch[0]])) for batch in made]
        shared.append(Pack(prefixes, made, len(prefixes) * width + sum(run), max(sizes)))
    if share_prefix or sum(pack.run for pack in shared) <= SAVING * sum(pack.run for pack in alone):
        return shared
    return alone


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers in batches whose padded size, rows × the longest, fits `batch_tokens`.

    Rows are taken longest first, so that a batch that is too large shows at once; a single row may exceed the budget.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


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
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
    if len(sides) == len(models):
        return sides
    for context in models:
        with context() as model:
            if is_sharded(model):  # the others are in the middle of the same pass
                raise InputError(f"out of memory with {pack.largest} tokens in a batch; lower scoring.batch_tokens")
    torch.cuda.empty_cache()  # after the handler: the error held the tensors of the batch
    return None


def _pack_logprobs(model: Any, pack: Pack, prompts: Rows, responses: Rows) -> Iterator[tuple[int, Tensor]]:
    causal = causal_of(model)
    body, device = causal.get_decoder(), next(causal.parameters()).device
    prefix = _Prefix(body, [prompts[i] for i in pack.prefixes], device) if pack.prefixes else None
    for rows in pack.batches:
        batch = [prompts[i] for i in rows], [responses[i] for i in rows]
        states = prefix.states(*batch) if prefix else _states(body, *batch, device)
        tokens = torch.tensor([token for response in batch[1] for token in response], device=device)
        values = _project(causal, body, states, tokens).cpu().split([len(response) for response in batch[1]])
        for row, value in zip(rows, values, strict=True):
            if not torch.isfinite(value).all():
                raise InputError(f"row {row}: the model gives a log-probability that is not finite (NaN or infinite)")
            yield row, value.clone()


def _states(body: Any, prompts: Rows, responses: Rows, device: torch.device) -> Tensor:
    """(Σ|y|, H): the states that predict the responses' tokens, one response after the other."""
    rows = [torch.tensor([*prompt, *response[:-1]]) for prompt, response in zip(prompts, responses, strict=True)]
    states = body(input_ids=pad_sequence(rows, batch_first=True).to(device), use_cache=False).last_hidden_state
    spans = [slice(len(x) - 1, len(x) - 1 + len(y)) for x, y in zip(prompts, responses, strict=True)]
    return torch.cat([row[span] for row, span in zip(states, spans, strict=True)])


class _Prefix:
    """Prompts that have been run: the last state of each and the keys and values of all."""

    def __init__(self, body: Any, prompts: Rows, device: torch.device):
        batch = {name: tensor.to(device) for name, tensor in collate(prompts, [[]] * len(prompts)).items()}
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
        states, rest = self.last[at], pad_sequence([torch.tensor(y[:-1]) for y in responses], batch_first=True)
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
        return torch.cat([row[: len(response)] for row, response in zip(states, responses, strict=True)])


def _shareable(models: Sequence[ModelContext]) -> bool:
    """Whether all that the models keep of a prefix are keys and values, which can be repeated and go on."""
    for context in models:
        with context() as model:
            causal = causal_of(model)
            if not isinstance(causal, PreTrainedModel):
                return False
            layers = DynamicCache(config=causal.config).layers
            if any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
                return False
    return True


def _project(causal: Any, body: Any, states: Tensor, tokens: Tensor) -> Tensor:
    """(n,) fp32 log-probabilities of `tokens`, (n,), each predicted by the state in its place, (n, H)."""
    values = []
    with _handing_on(body):
        for chunk, targets in zip(states.split(CHUNK), tokens.split(CHUNK), strict=True):
            logits = causal(inputs_embeds=chunk[None], use_cache=False).logits[0]  # (CHUNK, V)
            values.append(logits.float().log_softmax(-1).gather(-1, targets[:, None])[:, 0])
    return torch.cat(values)


def _handing_on(body: Any) -> AbstractContextManager[None]:
    """Inside, the body hands on what it gets as its last states. So logits come from the model's own forward pass,
    whatever it does to them after its output layer: Gemma-2 caps them, Granite and Cohere scale them."""
    return _forward(body, lambda *_, inputs_embeds, **__: MoeModelOutputWithPast(last_hidden_state=inputs_embeds))


@contextmanager
def _forward(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside, `module` runs `forward`."""
    own = vars(module).get("forward")  # a wrapper around the class's method, if the model was dispatched to a device
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


class _Projection(torch.autograd.Function):
    """`_project` with a derivative that keeps no logits. A log-probability depends on its own state alone, so its
    slopes, (n, H), are taken in the forward pass; the backward pass has but to scale them."""

    @staticmethod
    def forward(ctx, causal: Any, body: Any, states: Tensor, tokens: Tensor) -> Tensor:
        values, slopes = [], []
        for chunk, targets in zip(states.split(CHUNK), tokens.split(CHUNK), strict=True):
            with torch.enable_grad():
                leaf = chunk.detach().requires_grad_()
                value = _project(causal, body, leaf, targets)
                slopes += torch.autograd.grad(value.sum(), leaf)
            values.append(value.detach())
        ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(values)

    @staticmethod
    def backward(ctx, gradient):
        (slopes,) = ctx.saved_tensors
        return None, None, (gradient[:, None] * slopes).to(slopes.dtype), None


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
    given = ["input_ids"] if batch["attention_mask"][:, 0].all() else ["input_ids", "attention_mask", "position_ids"]
    frozen = not any(parameter.requires_grad for parameter in causal.get_output_embeddings().parameters())

    def logprobs(*_: Any, **__: Any) -> Tensor:
        output = body(**{name: batch[name] for name in given}, use_cache=False)
        states = output.last_hidden_state[:, -width - 1 : -1][mask]  # columns P-1 … P+R-2 predict columns P … P+R-1
        project = _Projection.apply if frozen and states.requires_grad else _project
        return project(own, body, states, tokens)

    with _forward(causal, logprobs):
        values = model(input_ids=batch["input_ids"])
    return values.new_zeros(mask.shape).masked_scatter(mask, values)
