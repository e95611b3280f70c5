"""Where a truth meets the method: the English preferences, and how near scores come to it. It is
the lab's oracle, or what a program verifies of responses to prompts that carry checks."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import spearmanr

from xlnb.common.records import Pair, Sample, Score, Truth
from xlnb.evaluation.alpaca_eval import preference_of

# English pairs a prompt, at most.
REJECTED = 4


def english_preferences(samples: Sequence[Sample], seed: int, truth: Truth) -> list[Pair]:
    """Pairs that stand for UltraFeedback's: of each prompt's responses the truly best one, before
    `REJECTED` others at random that are worse.

    Cut responses are left out, and those with thinking. This is the only place where training meets
    the truth, but for the score `oracle_ceiling`, which says so.
    """
    pairs = []
    for sample in samples:
        scored = [
            (score, response)
            for score, response in zip(truth(sample), sample.responses, strict=True)
            if response.ended and response.text and not response.thinking
        ]
        random.Random(f"{seed} {sample.prompt_id}").shuffle(scored)
        best, chosen = max(scored, key=lambda each: each[0], default=(0.0, None))
        worse = [each for each in scored if each[0] < best]
        for score, rejected in worse[:REJECTED]:
            assert chosen is not None, "what is worse is worse than some response"
            pairs.append(
                Pair(
                    prompt_id=sample.prompt_id,
                    lang="en",
                    instruction=sample.instruction,
                    chosen=chosen.text,
                    rejected=rejected.text,
                    score_chosen=best,
                    score_rejected=score,
                    margin=best - score,
                    chosen_ids=chosen.token_ids,
                    rejected_ids=rejected.token_ids,
                )
            )
    return pairs


def flip(pairs: Sequence[Pair], share: float, seed: int) -> list[Pair]:
    """The pairs, of which each has changed sides with probability `share`, as labels that are
    wrong. What a share flips, a greater one of the same seed flips too."""
    stream = random.Random(f"{seed} flipped")
    return [_turned(pair) if stream.random() < share else pair for pair in pairs]


def _turned(pair: Pair) -> Pair:
    return replace(
        pair,
        chosen=pair.rejected,
        rejected=pair.chosen,
        score_chosen=pair.score_rejected,
        score_rejected=pair.score_chosen,
        margin=None if pair.margin is None else -pair.margin,
        chosen_ids=pair.rejected_ids,
        rejected_ids=pair.chosen_ids,
    )


def reward_accuracy(
    samples: Sequence[Sample], scores: Sequence[Score], scorer: str, truth: Truth
) -> dict[str, float | int | None]:
    """How the score named `scorer` compares with the truth, over the prompts that have both.

    A response without a score (None: it could not be translated) does not count.
    `pair_accuracy`: share of prompts where the score's best response is truly better than its
    worst, ties half. `rank_correlation`: Spearman's over a prompt's responses, averaged over the
    prompts where both vary.
    """
    by_id = {sample.prompt_id: sample for sample in samples}
    accuracy = []
    correlation = []
    for score in scores:
        if scorer not in score.scores:
            continue
        true, found = _both(truth(by_id[score.prompt_id]), score.scores[scorer])
        if not len(found):
            continue
        accuracy.append(preference_of(true[found.argmax()], true[found.argmin()]) - 1)
        if np.ptp(true) > 0 and np.ptp(found) > 0:
            correlation.append(spearmanr(true, found).statistic)
    return {
        "pair_accuracy": round(float(np.mean(accuracy)), 4) if accuracy else None,
        "rank_correlation": round(float(np.mean(correlation)), 4) if correlation else None,
        "n": len(accuracy),
    }


def ceiling(samples: Sequence[Sample], truth: Truth) -> dict[str, float | int | None]:
    """`reward_accuracy` of the truth's own scores: below 1 by the prompts whose responses all have
    the same."""
    scores = []
    for sample in samples:
        values: dict[str, list[float | None]] = {"oracle": [*truth(sample)]}
        scores.append(Score(sample.prompt_id, sample.lang, sample.split, [], values, None))
    return reward_accuracy(samples, scores, "oracle", truth)


def _both(true: Sequence[float], values: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """The truth's scores and another's, of the responses that have both."""
    has = [i for i, value in enumerate(values) if value is not None]
    return np.array([true[i] for i in has]), np.array([values[i] for i in has], float)
