"""The models of a stage."""

from dataclasses import replace
from typing import Any

from xlnb.models.adapters import load_model
from xlnb.models.base import is_to_be_sharded, load_base
from xlnb.models.chat import check_same_tokens, load_tokenizer
from xlnb.models.vllm import VLLM, use_vllm
from xlnb.runs.layout import Run


def policy_and_reference(run: Run, policy: str, **changes: Any) -> tuple[Any, Any, Any]:
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


def load_sampler(run: Run, name: str) -> tuple[Any, Any]:
    """A model to sample from, by vLLM or transformers (`sampling.backend`), and its tokenizer."""
    base = run.base(name)
    adapter = run.adapter(name)
    tokenizer = load_tokenizer(base)
    backend = run.preset.sampling.backend
    # vLLM would hold a base whole that is to be sharded.
    whole = backend == "auto" and is_to_be_sharded(base)
    if use_vllm(backend) and not whole:
        return VLLM(base, adapter, tokenizer), tokenizer
    return load_model(base, {name: adapter}), tokenizer
