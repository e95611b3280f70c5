"""Where the oracle meets the method: the English preferences, and how near rewards come to the truth."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from xlnb.lab.oracle import judge
from xlnb.lab.world import load_world

LAB_ONLY = (
    "skipped: this part needs the lab's oracle, which knows the truth of the lab's questions only"
)


def english_preferences(samples: Sequence[dict], seed: int) -> list[dict[str, Any]]:
    """Pairs that stand for UltraFeedback: each prompt's responses two by two at random, ordered by the oracle.

    `samples` are sample records of English prompts; cut responses and pairs of equal score are left out. This is
    the only place where training meets the oracle.
    """
    world, pairs = load_world(), []
    for record in samples:
        fact = world.fact(record["prompt_id"])
        scored = [
            (judge(fact, "en", response["text"]).score, response["text"])
            for response in record["responses"]
            if response["finish_reason"] == "stop" and response["text"]
        ]
        random.Random(f"{seed} {record['prompt_id']}").shuffle(scored)
        for first, second in zip(scored[::2], scored[1::2], strict=False):
            if first[0] == second[0]:
                continue
            (high, chosen), (low, rejected) = max(first, second), min(first, second)
            pair: dict[str, Any] = {"prompt_id": record["prompt_id"], "lang": "en"}
            pair["prompt"] = [{"role": "user", "content": record["prompt"]}]
            pair["chosen"] = [{"role": "assistant", "content": chosen}]
            pair["rejected"] = [{"role": "assistant", "content": rejected}]
            pairs.append(pair | {"score_chosen": high, "score_rejected": low, "margin": high - low})
    return pairs


def reward_accuracy(
    samples: Sequence[dict], scores: Sequence[dict]
) -> dict[str, float | int | None]:
    """How rewards compare with the oracle's scores, over the prompts that have both. A response without a reward (None:
    it could not be translated) does not count.

    `pair_accuracy`: share of prompts where the oracle prefers the reward's best response to its worst, ties half.
    `rank_correlation`: Spearman's over a prompt's responses, averaged over the prompts where both vary.
    """
    world, by_id = load_world(), {record["prompt_id"]: record for record in samples}
    accuracy, correlation = [], []
    for score in scores:
        record = by_id[score["prompt_id"]]
        fact = world.fact(score["prompt_id"])
        both = [
            pair
            for pair in zip(record["responses"], score["reward"], strict=True)
            if pair[1] is not None
        ]
        if not both:
            continue
        truth = np.array(
            [judge(fact, record["lang"], response["text"]).score for response, _ in both]
        )
        reward = np.array([reward for _, reward in both])
        accuracy.append(0.5 + 0.5 * np.sign(truth[reward.argmax()] - truth[reward.argmin()]))
        if np.ptp(truth) > 0 and np.ptp(reward) > 0:
            correlation.append(spearmanr(truth, reward).statistic)
    return {
        "pair_accuracy": round(float(np.mean(accuracy)), 4) if accuracy else None,
        "rank_correlation": round(float(np.mean(correlation)), 4) if correlation else None,
        "n": len(accuracy),
    }
