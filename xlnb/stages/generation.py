"""Responses to prompts, batch by batch, into a file of samples."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from xlnb.common import processes
from xlnb.common.errors import InputError, UnfitText
from xlnb.common.journal import is_finished
from xlnb.common.records import Prompt, Sample
from xlnb.models.chat import prompt_ids
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
    `label` is for the eye alone.

    Raises InputError for a prompt that the model cannot be given as it is, or that fills the
    model's context, and says how many prompts leave less of it than `max_new_tokens`; of a model
    whose context is not known (vLLM's among them) neither.
    """
    order = [prompt.prompt_id for prompt in prompts]
    if is_finished(path, order):
        return None
    encoded = {}
    for prompt in prompts:
        try:
            encoded[prompt.prompt_id] = prompt_ids(tokenizer, prompt.instruction)
        except UnfitText as error:
            raise InputError(
                f"{label}: the prompt of id {prompt.prompt_id} cannot be asked: {error}; leave it "
                "out of the prompts"
            ) from None
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
        return [
            Sample(prompt.prompt_id, prompt.lang, prompt.split, prompt.instruction, sampled)
            for prompt, sampled in zip(batch.records, responses, strict=True)
        ]

    ordered = sorted(prompts, key=lambda prompt: lengths[prompt.prompt_id])
    if sampler.prompts_at_once:
        batches = batches_of(ordered, sampler.prompts_at_once)
    else:
        most = run.preset.sampling.batch_tokens
        batches = list(batches_within(ordered, lengths, n, config.max_new_tokens, most))
    return Work(path, batches, make, order, label)


def check_context(
    config: PretrainedConfig | None, lengths: dict[str, int], max_new_tokens: int, label: str
) -> None:
    """Whether prompts of these lengths, in tokens by id, leave room for responses in a model of
    this config."""
    context = getattr(config, "max_position_embeddings", None)
    if not context or not lengths:
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
