"""The models of a stage."""

from dataclasses import replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from xlnb.models.adapters import load_model
from xlnb.models.base import load_base
from xlnb.models.chat import check_same_tokens, load_tokenizer
from xlnb.runs.layout import Run
from xlnb.sampling import SAMPLERS, Sampler, choose_backend


def policy_and_reference(
    run: Run, policy: str, **changes: Any
) -> tuple[Any, Any, PreTrainedTokenizerBase]:
    """A policy's model, π_I's own model where that is another checkpoint (None: the same base), and
    the tokenizer.

    `changes`: fields of `Models` other than the preset's, such as dtype="float32".
    """
    base = replace(run.base(policy), **changes)
    sft = replace(run.base("sft"), **changes)
    model = load_model(base, {policy: run.adapter(policy)})
    tokenizer = load_tokenizer(base)
    if base == sft:
        return model, None, tokenizer
    check_same_tokens(tokenizer, load_tokenizer(sft), run.preset.models)
    return model, load_base(sft), tokenizer


def load_sampler(run: Run, name: str) -> tuple[Sampler, PreTrainedTokenizerBase]:
    """A model to sample from, by the back end of `sampling.backend`, and its tokenizer."""
    base = run.base(name)
    tokenizer = load_tokenizer(base)
    backend = choose_backend(run.preset.sampling.backend, base)
    return SAMPLERS[backend](base, run.adapter(name), tokenizer), tokenizer
