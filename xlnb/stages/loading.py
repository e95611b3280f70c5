"""The models of a stage."""

from dataclasses import replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from xlnb.models.adapters import load_model
from xlnb.models.base import load_base
from xlnb.models.chat import check_same_tokens, load_tokenizer
from xlnb.runs.layout import Iteration, Run
from xlnb.sampling import SAMPLERS, Sampler, choose_backend


def reference_of(here: Iteration) -> str:
    """The model that an iteration's rewards compare the policy with."""
    if here.run.preset.scoring.reference == "initial":
        return "sft"
    return here.run.models[max(here.number - 1, 0)]


def policy_and_reference(
    run: Run, policy: str, reference: str = "sft", **changes: Any
) -> tuple[Any, Any, PreTrainedTokenizerBase]:
    """A policy's model, the reference's own model where that is another checkpoint (None: the same
    base, with the adapters of both), and the tokenizer.

    `changes`: fields of `Models` other than the preset's, such as dtype="float32".
    """
    base = replace(run.base(policy), **changes)
    other = replace(run.base(reference), **changes)
    tokenizer = load_tokenizer(base)
    if base == other:
        adapters = {name: run.adapter(name) for name in (policy, reference)}
        return load_model(base, adapters), None, tokenizer
    check_same_tokens(tokenizer, load_tokenizer(other), run.preset.models)
    # Of two checkpoints one is π_I, which has no adapter.
    return load_model(base, {policy: run.adapter(policy)}), load_base(other), tokenizer


def load_sampler(run: Run, name: str) -> tuple[Sampler, PreTrainedTokenizerBase]:
    """A model to sample from, by the back end of `sampling.backend`, and its tokenizer."""
    base = run.base(name)
    tokenizer = load_tokenizer(base)
    backend = choose_backend(run.preset.sampling.backend, base)
    return SAMPLERS[backend](base, run.adapter(name), tokenizer), tokenizer
