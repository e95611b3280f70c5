"""Where the oracle meets the method: the English preferences, and how near scores come to the
truth."""

import random
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from xlnb.common.records import Pair, Sample, Score
from xlnb.lab.oracle import judge
from xlnb.lab.world import load_world

# English pairs a prompt, at most.
REJECTED = 4

LAB_ONLY = (
    "skipped: this part needs the lab's oracle, which knows the truth of the lab's questions only"
)


def true_scores(sample: Sample, taste: str) -> list[float]:
    """The oracle's score of every response, in points of a taste."""
    fact = load_world().fact(sample.prompt_id)
    return [judge(fact, sample.lang, each.text).points(taste) for each in sample.responses]


def english_preferences(samples: Sequence[Sample], seed: int, taste: str) -> list[Pair]:
    """Pairs that stand for UltraFeedback's: of each prompt's responses the one that the oracle's
    taste likes best, before `REJECTED` others at random that it likes less.

    Cut responses are left out. This is the only place where training meets the oracle.
    """
    pairs = []
    for sample in samples:
        truth = true_scores(sample, taste)
        scored = [
            (score, response)
            for score, response in zip(truth, sample.responses, strict=True)
            if response.ended and response.text
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
