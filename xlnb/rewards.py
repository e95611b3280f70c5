"""What a response is worth: the implicit reward, and the plain scores that it must beat.

    r(x, y) = β (log π(y|x) − log π_I(y|x))

DPO's optimum satisfies r(x, y) = β log π*(y|x)/π_ref(y|x) + β log Z(x) (Rafailov et al. 2023,
eq. 5); Z depends on the prompt alone and cancels between responses to one prompt. Scoring under the
English instruction is what carries the English preference over to other languages
(arXiv 2503.04647).

A score is a line in `SCORERS`: the prompt under which models read the responses, and a function of
what they gave, or of the scores beside it. Costly log-probabilities are kept on disk, so that
another β or another score runs no model again.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from xlnb.common.dropped import first_reasons
from xlnb.common.errors import InputError
from xlnb.common.records import Comparisons, Logps, Sample, Score
from xlnb.comparing import win_probabilities
from xlnb.decay import decayed
from xlnb.fusion import Gate, fused
from xlnb.lab.truth import lab_truth
from xlnb.logprobs import logprobs_under
from xlnb.models.adapters import active
from xlnb.models.batches import Budget, Rows
from xlnb.models.early_exit import first_layers

Values = list[float | None]


@dataclass(frozen=True)
class Given:
    """What a score may be made of: a sample and, where models have read it, log-probabilities."""

    sample: Sample
    logps: Logps | Comparisons | None
    beta: float
    seed: int
    # what token t of a response counts in its reward is γ^(t−1)
    gamma: float = 1.0
    # by which the oracle goes, where the prompts are the lab's
    taste: str = ""
    # what is fused, and how the English preferences have taught to weigh it
    views: Mapping[str, Values] = field(default_factory=dict)
    gate: Gate | None = None


@dataclass(frozen=True)
class Scorer:
    """`reads`: the prompt under which models read the responses, of `prompts.scorer_prompt` or the
    comparer's; empty: none do. `score`: a value a response, None for one that could not be read.
    `is_truth`: the lab's truth itself, as a ceiling. `fuses`: made of the scores beside it."""

    reads: str
    score: Callable[[Given], Values]
    is_truth: bool = False
    fuses: bool = False


def implicit_reward(
    policy_logps: Sequence[float | None], ref_logps: Sequence[float | None], beta: float
) -> Values:
    """β (log π − log π_ref), elementwise, in β nats; None where either is."""
    return [
        None if policy is None or ref is None else beta * (policy - ref)
        for policy, ref in zip(policy_logps, ref_logps, strict=True)
    ]


def reward(given: Given) -> Values:
    """The implicit reward of every response that was read, in β nats, decayed by γ."""
    logps = _read(given)
    if given.gamma == 1:
        return implicit_reward(logps.policy_logps, logps.ref_logps, given.beta)
    policy_logps = _decayed(logps.policy_token_logps, given.gamma)
    ref_logps = _decayed(logps.ref_token_logps, given.gamma)
    return implicit_reward(policy_logps, ref_logps, given.beta)


def reward_per_token(given: Given) -> Values:
    """The implicit reward / |y|, β nats a token: another way to take length out of it."""
    return _per_token(reward(given), _read(given).n_tokens)


def likelihood(given: Given) -> Values:
    """log π_I(y|x) / |y|, nats a token: the base's, without a preference (or the reference's)."""
    return _per_token(_read(given).ref_logps, _read(given).n_tokens)


def likelihood_sum(given: Given) -> Values:
    """log π_I(y|x), nats: see `likelihood`."""
    return list(_read(given).ref_logps)


def policy_likelihood(given: Given) -> Values:
    """log π(y|x) / |y|, nats a token: the policy's."""
    return _per_token(_read(given).policy_logps, _read(given).n_tokens)


def win_probability(given: Given) -> Values:
    """Of the comparer's own: the mean probability of being better than others of the prompt."""
    assert isinstance(given.logps, Comparisons), "a comparer's score is given what it compared"
    return win_probabilities(given.logps.p_first)


def brevity(given: Given) -> Values:
    """−characters."""
    return [-float(len(response.text)) for response in given.sample.responses]


def chance(given: Given) -> Values:
    """Uniform in [0, 1), of a stream of its own for every prompt and language."""
    sample = given.sample
    stream = random.Random(f"{given.seed} random score {sample.lang} {sample.prompt_id}")
    return [stream.random() for _ in sample.responses]


def mean(given: Given) -> Values:
    """The plain mean of the scores beside it, each standardised within the prompt."""
    return fused(given.views, Gate.mean(len(given.views)))


def gated(given: Given) -> Values:
    """The scores beside it, weighed by the gate: see `xlnb.fusion`."""
    assert given.gate, "a preset with the gate among its scores has one fitted"
    return fused(given.views, given.gate)


def oracle_ceiling(given: Given) -> Values:
    """What the lab's oracle says: what pairs could be worth at best."""
    return [*lab_truth(given.taste)(given.sample)]


SCORERS: dict[str, Scorer] = {
    "cross_lingual": Scorer("cross_lingual", reward),
    "multilingual": Scorer("multilingual", reward),
    "translated": Scorer("translated", reward),
    "cross_lingual_per_token": Scorer("cross_lingual", reward_per_token),
    "likelihood": Scorer("cross_lingual", likelihood),
    "likelihood_sum": Scorer("cross_lingual", likelihood_sum),
    "policy_likelihood": Scorer("cross_lingual", policy_likelihood),
    "comparer": Scorer("comparer", win_probability),
    "brevity": Scorer("", brevity),
    "random": Scorer("", chance),
    "mean": Scorer("", mean, fuses=True),
    "gate": Scorer("", gated, fuses=True),
    "oracle_ceiling": Scorer("", oracle_ceiling, is_truth=True),
}


def split_scorers(names: str) -> list[str]:
    """'cross_lingual, likelihood' as a list. The first makes the pairs, the others are compared.

    Raises InputError for a name that `SCORERS` has not, and for one that fuses fewer than two
    others.
    """
    found = [name.strip() for name in names.split(",")]
    for name in found:
        if name not in SCORERS:
            raise InputError(f"scoring.scorers '{name}': expected one of {', '.join(SCORERS)}")
        if SCORERS[name].fuses and len(views_of(found)) < 2:
            raise InputError(
                f"scoring.scorers: {name} fuses the other scores; name two or more beside it, as "
                f"{name},cross_lingual,likelihood"
            )
    return found


def views_of(names: Iterable[str]) -> list[str]:
    """The scores that are fused, where one of these names fuses."""
    return [name for name in names if not SCORERS[name].fuses]


def check_truth(names: Sequence[str], *, is_lab: bool) -> None:
    """Raises InputError for a score that is the lab's truth, anywhere else."""
    truths = [name for name in names if SCORERS[name].is_truth]
    if truths and not is_lab:
        raise InputError(
            f"score '{truths[0]}' is the lab's truth, which is known of its own questions only; "
            "leave it out"
        )


def prompts_read(names: str) -> dict[str, list[str]]:
    """The prompts under which models read responses for these scores, and of which splits.

    What the first score needs (or the scores that it fuses) is read of all samples, the rest of the
    held-out `reward` prompts.
    """
    found: dict[str, list[str]] = {}
    first, *others = split_scorers(names)
    makes_pairs = [first, *(others if SCORERS[first].fuses else [])]
    for name in (first, *others):
        if reads := SCORERS[name].reads:
            found.setdefault(reads, ["train", "reward"] if name in makes_pairs else ["reward"])
    return found


def score_sample(
    sample: Sample,
    logps: Mapping[str, Logps | Comparisons],
    names: Sequence[str],
    *,
    beta: float,
    seed: int,
    gamma: float = 1.0,
    taste: str = "",
    gate: Gate | None = None,
) -> Score:
    """The scores of a sample's responses that can be had of `logps`, by the prompt read."""
    scores: dict[str, Values] = {}
    failures = {}
    views = views_of(names)
    for name in views:
        scorer = SCORERS[name]
        found = logps.get(scorer.reads)
        if scorer.reads and found is None:
            continue
        scores[name] = scorer.score(Given(sample, found, beta, seed, gamma, taste))
        if found is not None and found.failures:
            failures[name] = found.failures
    if len(scores) == len(views):
        failed = first_reasons(failures.values())
        given = Given(sample, None, beta, seed, gamma, taste, dict(scores), gate)
        for name in (name for name in names if name not in views):
            scores[name] = SCORERS[name].score(given)
            failures |= {name: failed} if failed else {}
    n_chars = [len(response.text) for response in sample.responses]
    return Score(sample.prompt_id, sample.lang, sample.split, n_chars, scores, failures or None)


def score_responses(
    model: PreTrainedModel | PeftModel,
    policy: str | None,
    ref: str | None,
    prompts: Rows,
    responses: Rows,
    *,
    batch_tokens: int | Budget,
    share_prefix: bool | None = None,
    ref_model: PreTrainedModel | PeftModel | None = None,
    layers: int = 0,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Token log-probabilities of the responses under two models, in one pass and the same batches.

    `policy` and `ref` name adapters of `model`, None its bare base; `ref_model` is `ref`'s base
    where that is another. The same model twice gives a reward of exactly 0. What a prompt has twice
    is scored once. Others: see `sequence_logprobs`; `layers`: see `first_layers`.
    """
    keys = [(tuple(prompt), tuple(said)) for prompt, said in zip(prompts, responses, strict=True)]
    once = {key: position for position, key in enumerate(dict.fromkeys(keys))}
    policy_side, ref_side = logprobs_under(
        [
            partial(_reading, model, policy, layers),
            partial(_reading, ref_model or model, ref, layers),
        ],
        [prompt for prompt, _ in once],
        [response for _, response in once],
        batch_tokens=batch_tokens,
        share_prefix=share_prefix,
    )
    policy_logps = [policy_side[once[key]] for key in keys]
    ref_logps = [ref_side[once[key]] for key in keys]
    return policy_logps, ref_logps


@contextmanager
def _reading(
    model: PreTrainedModel | PeftModel, adapter: str | None, layers: int
) -> Iterator[PreTrainedModel | PeftModel]:
    with active(model, adapter) as whole, first_layers(whole, layers) as found:
        yield found


def _read(given: Given) -> Logps:
    assert isinstance(given.logps, Logps), "a scorer that reads a prompt is given what was read"
    return given.logps


def _decayed(tokens: Sequence[list[float] | None] | None, gamma: float) -> Values:
    assert tokens is not None, "a preset with scoring.gamma has the tokens kept"
    return [
        None if values is None else decayed(torch.tensor(values), gamma).item() for values in tokens
    ]


def _per_token(logps: Sequence[float | None], n_tokens: Sequence[int | None]) -> Values:
    return [
        None if value is None or not n else value / n
        for value, n in zip(logps, n_tokens, strict=True)
    ]
