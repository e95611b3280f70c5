"""Where the oracle meets the method: the English preferences, and how near scores come to the
truth."""

import random
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from xlnb.common.records import Pair, Sample, Score
from xlnb.lab.oracle import judge
from xlnb.lab.world import load_world

LAB_ONLY = (
    "skipped: this part needs the lab's oracle, which knows the truth of the lab's questions only"
)


def true_scores(sample: Sample, taste: str) -> list[float]:
    """The oracle's score of every response, in points of a taste."""
    fact = load_world().fact(sample.prompt_id)
    return [judge(fact, sample.lang, each.text).points(taste) for each in sample.responses]


def english_preferences(samples: Sequence[Sample], seed: int, taste: str) -> list[Pair]:
    """Pairs that stand for UltraFeedback: each prompt's responses two by two at random, ordered by
    the oracle's taste.

    Cut responses and pairs of equal score are left out. This is the only place where training meets
    the oracle.
    """
    pairs = []
    for sample in samples:
        truth = true_scores(sample, taste)
        scored = [
            (score, response.text, response.token_ids)
            for score, response in zip(truth, sample.responses, strict=True)
            if response.ended and response.text
        ]
        random.Random(f"{seed} {sample.prompt_id}").shuffle(scored)
        for first, second in zip(scored[::2], scored[1::2], strict=False):
            if first[0] == second[0]:
                continue
            better = max(first, second)
            worse = min(first, second)
            pairs.append(
                Pair(
                    prompt_id=sample.prompt_id,
                    lang="en",
                    instruction=sample.instruction,
                    chosen=better[1],
                    rejected=worse[1],
                    score_chosen=better[0],
                    score_rejected=worse[0],
                    margin=better[0] - worse[0],
                    chosen_ids=better[2],
                    rejected_ids=worse[2],
                )
            )
    return pairs


def reward_accuracy(
    samples: Sequence[Sample], scores: Sequence[Score], scorer: str, taste: str
) -> dict[str, float | int | None]:
    """How the score named `scorer` compares with the oracle's, over the prompts that have both.

    A response without a score (None: it could not be translated) does not count.
    `pair_accuracy`: share of prompts where the oracle prefers the score's best response to its
    worst, ties half. `rank_correlation`: Spearman's over a prompt's responses, averaged over the
    prompts where both vary.
    """
    by_id = {sample.prompt_id: sample for sample in samples}
    accuracy = []
    correlation = []
    for score in scores:
        if scorer not in score.scores:
            continue
        truth, found = _both(by_id[score.prompt_id], score.scores[scorer], taste)
        if not len(found):
            continue
        accuracy.append(0.5 + 0.5 * np.sign(truth[found.argmax()] - truth[found.argmin()]))
        if np.ptp(truth) > 0 and np.ptp(found) > 0:
            correlation.append(spearmanr(truth, found).statistic)
    return {
        "pair_accuracy": round(float(np.mean(accuracy)), 4) if accuracy else None,
        "rank_correlation": round(float(np.mean(correlation)), 4) if correlation else None,
        "n": len(accuracy),
    }


def ceiling(samples: Sequence[Sample], taste: str) -> dict[str, float | int | None]:
    """`reward_accuracy` of the oracle's own scores: below 1 by the prompts whose responses all have
    the same."""
    scores = []
    for sample in samples:
        values: dict[str, list[float | None]] = {"oracle": [*true_scores(sample, taste)]}
        scores.append(Score(sample.prompt_id, sample.lang, sample.split, [], values, None))
    return reward_accuracy(samples, scores, "oracle", taste)


def _both(
    sample: Sample, values: Sequence[float | None], taste: str
) -> tuple[np.ndarray, np.ndarray]:
    """The oracle's scores and another's, of the responses that have both."""
    truth = true_scores(sample, taste)
    has = [i for i, value in enumerate(values) if value is not None]
    return np.array([truth[i] for i in has]), np.array([values[i] for i in has], float)
