"""Log-probabilities of responses given prompts. The only place where they are computed.

Each row is laid out as `[pad … prompt | response … pad]`, so that all responses of a batch begin in one column:

    columns   0 …            P-1 | P        …        P+R-1
    row 0     pad pad p1 p2  p3  | y1  y2  end  pad
    row 1     p1  p2  p3 p4  p5  | y1  end pad  pad

The logits at column t predict the token at column t+1. The model therefore has to return logits for the last R+1
columns only, less the very last: never over the prompt. Padding on either side is masked out of attention, and
positions count real tokens, so a row's result does not depend on its neighbours.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from xlnb.errors import InputError

Rows = Sequence[Sequence[int]]


def sequence_logprobs(
    model: torch.nn.Module, prompts: Rows, responses: Rows, *, batch_tokens: int = 16384
) -> list[Tensor]:
    """log π(y_t | x, y_<t) in nats for every token of every response: a list of fp32 CPU tensors of shape (|y|,).

    `prompts[i]` and `responses[i]` are token ids; a response that ended holds its end-of-turn token, a cut one does
    not. Sum a tensor for log π(y | x). Rows are grouped by length into batches of at most `batch_tokens` tokens,
    padding included, and come back in input order. Raises InputError for an empty prompt or response, and where a
    log-probability is not finite.
    """
    for index, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        if not len(prompt) or not len(response):
            raise InputError(f"row {index}: prompt and response must each hold at least one token")
    device = next(model.parameters()).device
    logprobs: list[Tensor] = [torch.empty(0)] * len(prompts)
    with torch.inference_mode():
        for rows in batches([len(p) for p in prompts], [len(r) for r in responses], batch_tokens):
            batch = collate([prompts[i] for i in rows], [responses[i] for i in rows])
            values = response_logprobs(model, {name: tensor.to(device) for name, tensor in batch.items()}).cpu()
            for i, row in zip(rows, values, strict=True):
                logprobs[i] = row[: len(responses[i])].clone()
                if not torch.isfinite(logprobs[i]).all():
                    raise InputError(f"row {i}: the model gives a log-probability that is not finite (NaN or infinite)")
    return logprobs


def batches(prompt_lengths: Sequence[int], response_lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers in batches whose padded size, rows × (longest prompt + longest response), fits `batch_tokens`.

    Rows are taken by length, longest first, so that a batch that is too large shows at once; a single row may
    exceed the budget.
    """
    order = sorted(
        range(len(prompt_lengths)), key=lambda i: (-prompt_lengths[i] - response_lengths[i], -prompt_lengths[i])
    )
    batch: list[int] = []
    longest_prompt = longest_response = 0
    for i in order:
        widest = max(longest_prompt, prompt_lengths[i]) + max(longest_response, response_lengths[i])
        if batch and widest * (len(batch) + 1) > batch_tokens:
            yield batch
            batch, longest_prompt, longest_response = [], 0, 0
        batch.append(i)
        longest_prompt = max(longest_prompt, prompt_lengths[i])
        longest_response = max(longest_response, response_lengths[i])
    if batch:
        yield batch


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
    """(B, R) log-probabilities in fp32, 0 where `response_mask` is 0. Differentiable."""
    width = batch["response_mask"].shape[1]
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        position_ids=batch["position_ids"],
        use_cache=False,
        logits_to_keep=width + 1,
    ).logits[:, :-1]  # (B, R, V): columns P-1 … P+R-2 predict columns P … P+R-1
    targets = batch["input_ids"][:, -width:, None]  # (B, R, 1)
    logprobs = logits.float().log_softmax(-1).gather(-1, targets).squeeze(-1)
    return logprobs.masked_fill(batch["response_mask"] == 0, 0.0)
