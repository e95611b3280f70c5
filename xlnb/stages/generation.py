""""""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl
from xlnb.common.journal import Journal
from xlnb.models.adapters import active
from xlnb.models.chat import prompt_ids
from xlnb.models.vllm import PROMPTS_AT_ONCE as PROMPTS_IN_VLLM
from xlnb.models.vllm import VLLM
from xlnb.runs.layout import Run
from xlnb.sampling import batch_seed, sample_responses
from xlnb.stages.sharing import chunked, share_out


def generate(
    run: Run,
    model: Any,
    adapter: str,
    tokenizer: Any,
    records: list[dict],
    path: Path,
    *,
    n: int,
    config: Any,
    label: str,
) -> list[dict]:
    """Sample for prompts in length-sorted batches through a journal; the finished file's records (main process).

    Raises InputError for a prompt that fills the model's context, and says how many prompts leave less of it than
    `max_new_tokens`; of a model whose context is not known (vLLM's among them) neither."""
    journal = Journal(path)
    if path.exists():
        return read_jsonl(path)
    encoded = {
        record["prompt_id"]: prompt_ids(tokenizer, record["instruction"]) for record in records
    }
    ordered = sorted(records, key=lambda record: len(encoded[record["prompt_id"]]))
    lengths = {prompt_id: len(ids) for prompt_id, ids in encoded.items()}
    check_context(getattr(model, "config", None), lengths, config.max_new_tokens, label)

    def make(start: int, chunk: list[dict]) -> list[dict]:
        prompts = [encoded[record["prompt_id"]] for record in chunk]
        settings: dict[str, Any] = {
            "n": n,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_new_tokens": config.max_new_tokens,
            "seed": batch_seed(run.preset.seed, label, start),
        }
        if isinstance(model, VLLM):
            responses = model.sample(prompts, **settings)
        else:
            with active(model, adapter):
                responses = sample_responses(model, tokenizer, prompts, **settings)
        return [
            {
                "prompt_id": r["prompt_id"],
                "lang": r["lang"],
                "split": r["split"],
                "prompt": r["instruction"],
                "responses": rs,
            }
            for r, rs in zip(chunk, responses, strict=True)
        ]

    if isinstance(model, VLLM):
        batches = chunked(ordered, PROMPTS_IN_VLLM)
    else:
        batches = list(
            prompt_batches(
                ordered, encoded, n, config.max_new_tokens, run.preset.sampling.batch_tokens
            )
        )
    return share_out(
        batches, journal, make, [record["prompt_id"] for record in records], label, [model]
    )


def check_context(config: Any, lengths: dict[str, int], max_new_tokens: int, label: str) -> None:
    """Whether prompts of these lengths, in tokens by id, leave room for responses in a model of this config."""
    context = getattr(config, "max_position_embeddings", None)
    if not context or not lengths:
        return
    longest = max(lengths, key=lengths.__getitem__)
    if lengths[longest] >= context:
        raise InputError(
            f"{label}: the prompt of id {longest} has {lengths[longest]} tokens and the model's context {context}, "
            "which leaves no room for a response; leave it out of the prompts"
        )
    tight = sum(length + max_new_tokens > context for length in lengths.values())
    if tight and processes.is_main():
        print(
            f"NOTE: {label}: {tight} of {len(lengths)} prompts leave less than max_new_tokens ({max_new_tokens}) of "
            f"the model's context of {context} tokens (longest prompt: {lengths[longest]}); responses may run past it",
            flush=True,
        )


def prompt_batches(
    ordered: list[dict],
    encoded: dict[str, list[int]],
    n: int,
    max_new_tokens: int,
    batch_tokens: int,
) -> Iterator[tuple[int, list[dict]]]:
    """(first position, prompts) of each batch that fits `batch_tokens`, or of one prompt. `ordered` by length."""
    start = 0
    while start < len(ordered):
        stop = start + 1
        while stop < len(ordered):
            width = len(encoded[ordered[stop]["prompt_id"]]) + max_new_tokens
            if width * n * (stop + 1 - start) > batch_tokens:
                break
            stop += 1
        yield start, ordered[start:stop]
        start = stop
