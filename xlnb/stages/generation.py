"""Responses to prompts, batch by batch, into a file of samples."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from xlnb.common import processes
from xlnb.common.errors import InputError, UnfitText
from xlnb.common.journal import is_finished
from xlnb.common.records import Prompt, Response, Sample
from xlnb.models.base import context_of
from xlnb.models.chat import prompt_ids, response_ids
from xlnb.presets import Evaluation, Sampling
from xlnb.runs.layout import Run
from xlnb.sampling import Sampler, batch_seed
from xlnb.stages.sharing import Batch, Work, batches_of


def generation(
    run: Run,
    sampler: Sampler,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    path: Path,
    *,
    n: int,
    config: Sampling | Evaluation,
    stream: str,
    label: str,
) -> Work | None:
    """n samples of every prompt into `path`, in length-sorted batches; None where it is finished.

    `config`: temperature, top_p and max_new_tokens. `stream`: names the random numbers that are
    drawn here; another name, another seed or another place among the prompts, other samples.
    `label` is for the eye alone. A training prompt's `reference` is one more response, the last.

    Raises InputError for a prompt that the model cannot be given as it is, or that fills the
    model's context, and says how many prompts leave less of it than `max_new_tokens`; of a model
    whose context is not known (vLLM's among them) neither.
    """
    order = [prompt.prompt_id for prompt in prompts]
    if is_finished(path, order):
        return None
    encoded = {}
    given = {}
    for prompt in prompts:
        try:
            encoded[prompt.prompt_id] = prompt_ids(tokenizer, prompt.instruction)
        except UnfitText as error:
            raise InputError(
                f"{label}: the prompt of id {prompt.prompt_id} cannot be asked: {error}; leave it "
                "out of the prompts"
            ) from None
        given[prompt.prompt_id] = _reference(tokenizer, prompt)
    lengths = {prompt_id: len(ids) for prompt_id, ids in encoded.items()}
    check_context(getattr(sampler.model, "config", None), lengths, config.max_new_tokens, label)

    def make(batch: Batch) -> list[Sample]:
        ids = [encoded[prompt.prompt_id] for prompt in batch.records]
        responses = sampler.sample(
            ids,
            n=n,
            temperature=config.temperature,
            top_p=config.top_p,
            max_new_tokens=config.max_new_tokens,
            seed=batch_seed(run.preset.seed, stream, batch.start),
        )
        samples = []
        for prompt, sampled in zip(batch.records, responses, strict=True):
            names = (prompt.prompt_id, prompt.lang, prompt.split, prompt.instruction)
            samples.append(Sample(*names, [*sampled, *given[prompt.prompt_id]]))
        return samples

    ordered = sorted(prompts, key=lambda prompt: lengths[prompt.prompt_id])
    if sampler.prompts_at_once:
        batches = batches_of(ordered, sampler.prompts_at_once)
    else:
        most = run.preset.sampling.batch_tokens
        batches = list(batches_within(ordered, lengths, n, config.max_new_tokens, most))
    return Work(path, batches, make, order, label)


def _reference(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[Response]:
    """A training prompt's given response, as if it had been sampled; none where it has none. So
    prompts of which every sample is wrong have something to prefer (2506.04913's injection)."""
    if prompt.reference is None or prompt.split != "train":
        return []
    try:
        ids = response_ids(tokenizer, prompt.instruction, prompt.reference)
    except UnfitText as error:
        raise InputError(
            f"id {prompt.prompt_id} ({prompt.lang}): the reference cannot be read: {error}; leave "
            "it out"
        ) from None
    return [Response(prompt.reference, ids, "stop")]


def check_context(
    config: PretrainedConfig | None, lengths: dict[str, int], max_new_tokens: int, label: str
) -> None:
    """Whether prompts of these lengths, in tokens by id, leave room for responses in a model of
    this config."""
    context = context_of(config)
    if not lengths:
        return
    longest = max(lengths, key=lengths.__getitem__)
    if lengths[longest] >= context:
        raise InputError(
            f"{label}: the prompt of id {longest} has {lengths[longest]} tokens and the model's "
            f"context {context}, which leaves no room for a response; leave it out of the prompts"
        )
    tight = sum(length + max_new_tokens > context for length in lengths.values())
    if tight and processes.is_main():
        print(
            f"NOTE: {label}: {tight} of {len(lengths)} prompts leave less than max_new_tokens "
            f"({max_new_tokens}) of the model's context of {context} tokens (longest prompt: "
            f"{lengths[longest]}); responses may run past it",
            flush=True,
        )


def batches_within(
    ordered: Sequence[Prompt], lengths: dict[str, int], n: int, max_new_tokens: int, most: int
) -> Iterator[Batch]:
    """Batches of prompts, `ordered` by length, whose n responses fit `most` tokens side by side; or
    of a single prompt."""
    start = 0
    while start < len(ordered):
        stop = start + 1
        while stop < len(ordered):
            width = lengths[ordered[stop].prompt_id] + max_new_tokens
            if width * n * (stop + 1 - start) > most:
                break
            stop += 1
        yield Batch(start, ordered[start:stop])
        start = stop
