"""Preference pairs from scored responses: candidates, selection, and a report of what was dropped.

candidates   responses that ended by themselves, without thinking aloud, not blank, in the asked
             language, each text once
s' = s − α·c of each: s is its score, c its characters, α what `length_control` finds
chosen       argmax of s', below an upper bound where there is one; of equal ones the shorter
rejected     argmin of s'; of equal ones the longer
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xlnb.common.dropped import Dropped
from xlnb.common.errors import InputError
from xlnb.common.given import is_blank
from xlnb.common.joining import join_scores
from xlnb.common.records import Pair, Response, Sample, Score
from xlnb.length_control import Floats, Search, length_alpha, relative_length


class DroppedResponse(StrEnum):
    """Why a response is no candidate."""

    CUT_OFF = "cut_off"
    # a model thought aloud before it
    THINKING = "thinking"
    EMPTY = "empty"
    WRONG_LANGUAGE = "wrong_language"
    # it could not be translated, so that R_t has no value for it
    NOT_TRANSLATED = "not_translated"
    # the model's context does not hold it, its tokens do not give it back, or it is alone
    NOT_READ = "not_read"
    DUPLICATE = "duplicate"


# Why a score, of a translation or not, could not read a response.
UNREAD = {Dropped.TOO_LONG, Dropped.NOT_READ_BACK, Dropped.ALONE}


class DroppedPrompt(StrEnum):
    """Why a prompt gives no pair."""

    # one text, sampled several times, would be both
    CHOSEN_IS_REJECTED = "chosen_is_rejected"
    # or too few of them below the upper bound
    TOO_FEW_CANDIDATES = "too_few_candidates"
    # scores, or s', are all equal: only length or order would tell them apart
    TIED = "tied"
    BELOW_MIN_MARGIN = "below_min_margin"


class Candidates(NamedTuple):
    """The n responses to a prompt that may be chosen or rejected."""

    sample: Sample
    # places in the sample's responses
    places: list[int]
    # (n,), in β nats where the score is a reward
    scores: Floats
    # (n,)
    n_chars: Floats
    # how many others may not be, by `DroppedResponse`
    dropped: Counter[str]


class Choice(NamedTuple):
    """Which two responses of a prompt are its pair."""

    # places in the sample's responses
    chosen: int
    rejected: int
    # of s'
    score_chosen: float
    score_rejected: float
    # len(chosen) − len(rejected), characters
    gap: float


def candidates(
    sample: Sample,
    score: Score,
    scorer: str,
    wrong_language: Callable[[str], bool] | None = None,
    most: int | None = None,
) -> Candidates:
    """A prompt's candidates by the score named `scorer`, of each text the first response.

    `wrong_language` tells of a text whether it is surely not in the asked language. `most`: the
    first so many responses alone are looked at. Raises InputError naming prompt_id and response
    (from 0) for a score that is not finite, or for scores of other responses.
    """
    values = score.scores.get(scorer)
    where = f"prompt {sample.prompt_id} ({sample.lang})"
    if values is None:
        raise InputError(f"{where}: no score '{scorer}'; score again")
    for field, some in ((scorer, values), ("n_chars", score.n_chars)):
        if len(some) != len(sample.responses):
            raise InputError(
                f"{where}: {len(sample.responses)} responses, {len(some)} {field}; score again"
            )
    failures = (score.failures or {}).get(scorer) or [None] * len(values)
    first: dict[str, int] = {}
    dropped: Counter[str] = Counter()
    for i, response in enumerate(sample.responses[:most]):
        value = values[i]
        if not failures[i] and (value is None or not math.isfinite(value)):
            raise InputError(f"{where}, response {i}: {scorer} {value} is not finite; score again")
        if score.n_chars[i] != len(response.text):
            raise InputError(
                f"{where}, response {i}: n_chars {score.n_chars[i]}, text has "
                f"{len(response.text)}; score again"
            )
        reason = _fault(response, wrong_language)
        if reason:
            dropped[reason] += 1
        elif failures[i] in UNREAD:
            dropped[DroppedResponse.NOT_READ] += 1
        elif failures[i]:
            dropped[DroppedResponse.NOT_TRANSLATED] += 1
        elif response.text in first:
            dropped[DroppedResponse.DUPLICATE] += 1
        else:
            first[response.text] = i
    places = list(first.values())
    n_chars = np.array([len(text) for text in first], float)
    return Candidates(
        sample, places, np.array([values[i] for i in places], float), n_chars, dropped
    )


def _fault(
    response: Response, wrong_language: Callable[[str], bool] | None
) -> DroppedResponse | None:
    """Why a response by itself is no candidate."""
    if not response.ended:
        return DroppedResponse.CUT_OFF
    if response.thinking:
        return DroppedResponse.THINKING
    if is_blank(response.text):
        return DroppedResponse.EMPTY
    if wrong_language and wrong_language(response.text):
        return DroppedResponse.WRONG_LANGUAGE
    return None


def usable(prompts: Sequence[Candidates]) -> list[Candidates]:
    """The prompts that can give a pair: two candidates or more, whose scores are not all equal."""
    return [p for p in prompts if len(p.places) > 1 and np.ptp(p.scores) > 0]


def make_pairs(
    prompts: Sequence[Candidates],
    *,
    alpha: float,
    min_margin: float = 0.0,
    below: float = math.inf,
) -> tuple[list[Pair], dict[str, Any]]:
    """A pair a prompt, argmax and argmin of s' = score − alpha·n_chars; the argmax is that of the
    responses whose s' is less than `below`.

    Scores and margin of a pair are of s', in β nats where the score is a reward. Returns the pairs
    and {"dropped": prompts by `DroppedPrompt`, "length_gap": mean of len(chosen) − len(rejected)
    over the pairs in characters, None without any}.
    """
    chosen = [_select(prompt, alpha, min_margin, below) for prompt in prompts]
    pairs = list(pairs_of([prompt.sample for prompt in prompts], chosen))
    return pairs, _report(chosen)


def pairs_of(samples: Iterable[Sample], chosen: Iterable[Choice | DroppedPrompt]) -> Iterator[Pair]:
    """The pairs that were chosen, a choice a sample."""
    for sample, choice in zip(samples, chosen, strict=True):
        if isinstance(choice, Choice):
            better = sample.responses[choice.chosen]
            worse = sample.responses[choice.rejected]
            yield Pair(
                prompt_id=sample.prompt_id,
                lang=sample.lang,
                instruction=sample.instruction,
                chosen=better.text,
                rejected=worse.text,
                score_chosen=choice.score_chosen,
                score_rejected=choice.score_rejected,
                margin=choice.score_chosen - choice.score_rejected,
                chosen_ids=better.token_ids,
                rejected_ids=worse.token_ids,
            )


def _select(
    prompt: Candidates, alpha: float, min_margin: float, below: float, *, shorter: bool = False
) -> Choice | DroppedPrompt:
    if len(prompt.places) < 2:
        if prompt.dropped[DroppedResponse.DUPLICATE]:
            return DroppedPrompt.CHOSEN_IS_REJECTED
        return DroppedPrompt.TOO_FEW_CANDIDATES
    controlled = prompt.scores - alpha * prompt.n_chars
    if np.sum(controlled < below) < 2:
        return DroppedPrompt.TOO_FEW_CANDIDATES
    bounded = np.where(controlled < below, controlled, -np.inf)
    best = np.lexsort((prompt.n_chars, -bounded))[0]
    worst = np.lexsort((-prompt.n_chars, controlled))[0]
    margin = float(controlled[best]) - float(controlled[worst])
    tied = margin == 0 or np.ptp(prompt.scores) == 0
    if tied or margin < min_margin:
        if shorter:
            alike = prompt._replace(scores=relative_length(prompt.n_chars))
            return _select(alike, 0.0, 0.0, math.inf)
        return DroppedPrompt.TIED if tied else DroppedPrompt.BELOW_MIN_MARGIN
    return Choice(
        chosen=prompt.places[best],
        rejected=prompt.places[worst],
        score_chosen=float(controlled[best]),
        score_rejected=float(controlled[worst]),
        gap=float(prompt.n_chars[best] - prompt.n_chars[worst]),
    )


def _report(chosen: Iterable[Choice | DroppedPrompt]) -> dict[str, Any]:
    """What `make_pairs` says beside the pairs."""
    dropped = {str(reason): 0 for reason in DroppedPrompt}
    gaps = []
    for choice in chosen:
        if isinstance(choice, DroppedPrompt):
            dropped[choice] += 1
        else:
            gaps.append(choice.gap)
    return {"dropped": dropped, "length_gap": float(np.mean(gaps)) if gaps else None}


def pair_language(
    samples: Iterable[Sample],
    scores: Iterable[Score],
    *,
    scorer: str,
    find_alpha: Search | None = length_alpha,
    min_margin: float = 0,
    wrong_language: Callable[[str], bool] | None = None,
    most: int | None = None,
    below: float = math.inf,
    shorter: bool = False,
) -> tuple[Iterator[Pair], dict[str, Any]]:
    """The preference pairs of one language by the score named `scorer`, and a report on them.

    Samples are gone through twice, and no response is held: they may be more than memory holds. α
    (0 without `find_alpha`) is fitted on the prompts that can give a pair, over the responses that
    can be in it. `shorter`: prompts that tie, or lie within `min_margin`, have a pair by
    `relative_length`, counted as `by_length`. In the report prompts = pairs + Σ dropped; responses
    are counted apart; `length_gap` is as in `make_pairs`, `length_gap_before` that of α = 0. Raises
    InputError: see `join_scores` and `candidates`.
    """
    prompts: list[Candidates] = []
    responses = 0
    for sample, score in join_scores(samples, scores):
        found = candidates(sample, score, scorer, wrong_language, most)
        prompts.append(found._replace(sample=replace(sample, responses=[])))
        responses += len(sample.responses[:most])
    fitted_on = usable(prompts)
    alpha = 0.0
    at_edge = False
    if find_alpha and fitted_on:
        control = find_alpha([p.scores for p in fitted_on], [p.n_chars for p in fitted_on])
        alpha = control.alpha
        at_edge = control.at_edge
    select = partial(_select, min_margin=min_margin, below=below, shorter=shorter)
    chosen = [select(prompt, alpha) for prompt in prompts]
    before = _report(select(prompt, 0.0) for prompt in prompts)
    dropped = sum((prompt.dropped for prompt in prompts), Counter[str]())
    report = _report(chosen)
    report |= {
        "prompts": len(prompts),
        "pairs": len(prompts) - sum(report["dropped"].values()),
        "responses": responses,
        "dropped_responses": {str(reason): dropped[reason] for reason in DroppedResponse},
        "alpha": alpha,
        "at_edge": at_edge,
        "length_gap_before": before["length_gap"],
    }
    if shorter:
        without = _report(_select(prompt, alpha, min_margin, below) for prompt in prompts)
        report["by_length"] = report["pairs"] - len(prompts) + sum(without["dropped"].values())
    return pairs_of(samples, chosen), report
