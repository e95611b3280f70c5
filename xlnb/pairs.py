""""""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xlnb.common.errors import InputError
from xlnb.length_control import Floats, Search, length_alpha

Record = dict[str, Any]


class Candidates(NamedTuple):
    """The n responses to a prompt that may be chosen or rejected, and how many others may not, by reason."""

    sample: Record
    texts: list[str]
    rewards: Floats  # (n,), β nats
    n_chars: Floats  # (n,)
    dropped: Counter[str]  # cut_off, empty, wrong_language, not_translated, duplicate


def join_scores(samples: Sequence[Record], scores: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Samples with their scores, by prompt_id and language, in the order of the samples.

    Raises InputError naming a prompt_id and language without exactly one record of each kind.
    """
    found: dict[tuple[str, str], tuple[list[Record], list[Record]]] = {}
    for side, records in enumerate((samples, scores)):
        for record in records:
            found.setdefault((record["prompt_id"], record["lang"]), ([], []))[side].append(record)
    for (prompt_id, lang), (a, b) in found.items():
        if len(a) != 1 or len(b) != 1:
            counts = f"{len(a)} sample and {len(b)} score records"
            raise InputError(
                f"prompt {prompt_id} ({lang}) has {counts}, expected one of each; score again"
            )
    return [(sample, score) for (sample,), (score,) in found.values()]


def candidates(
    sample: Record, score: Record, wrong_language: Callable[[str], bool] | None = None
) -> Candidates:
    """The candidates of a prompt: responses that ended by themselves, not blank, each text once (the first).

    `wrong_language` tells of a text whether it is surely not in the asked language; such are no candidates. Nor are
    those without a reward because they could not be translated, which the score record says (`translation_failure`).
    Raises InputError naming prompt_id and response (from 0) for a reward not finite or scores of other responses.
    """
    responses, where = sample["responses"], f"prompt {sample['prompt_id']} ({sample['lang']})"
    for field in ("reward", "n_chars"):
        if len(score[field]) != len(responses):
            raise InputError(
                f"{where}: {len(responses)} responses, {len(score[field])} {field}; score again"
            )
    index: dict[str, int] = {}
    dropped: Counter[str] = Counter()
    failures = score.get("translation_failure") or [None] * len(responses)
    for i, response in enumerate(responses):
        text, reward, n_chars = response["text"], score["reward"][i], score["n_chars"][i]
        if not failures[i] and (reward is None or not math.isfinite(reward)):
            raise InputError(f"{where}, response {i}: reward {reward} is not finite; score again")
        if n_chars != len(text):
            raise InputError(
                f"{where}, response {i}: n_chars {n_chars}, text has {len(text)}; score again"
            )
        if response["finish_reason"] != "stop":
            dropped["cut_off"] += 1
        elif not text.strip():
            dropped["empty"] += 1
        elif wrong_language and wrong_language(text):
            dropped["wrong_language"] += 1
        elif failures[i]:
            dropped["not_translated"] += 1
        elif index.setdefault(text, i) != i:
            dropped["duplicate"] += 1
    rewards = np.array([score["reward"][i] for i in index.values()], float)
    return Candidates(
        sample, list(index), rewards, np.array([len(text) for text in index], float), dropped
    )


def make_pairs(
    prompts: Sequence[Candidates], *, alpha: float, min_margin: float = 0.0
) -> tuple[list[Record], Record]:
    """A pair a prompt, argmax and argmin of s' = reward - alpha·n_chars, in TRL's conversational form.

    Scores and margin are of s', in β nats. No pair comes of one text sampled several times, which would be both chosen
    and rejected (`chosen_is_rejected`), of otherwise fewer than two candidates (`too_few_candidates`), of rewards or s'
    all equal (`tied`: only length or order would tell them apart), or of a margin below `min_margin`
    (`below_min_margin`). Returns the pairs and {"dropped": prompts by reason, "length_gap": mean of len(chosen) -
    len(rejected) over the pairs in characters, None without any}.
    """
    pairs: list[Record] = []
    dropped, gaps = (
        dict.fromkeys(("chosen_is_rejected", "too_few_candidates", "tied", "below_min_margin"), 0),
        [],
    )
    for prompt in prompts:
        if len(prompt.texts) < 2:
            dropped[
                "chosen_is_rejected" if prompt.dropped["duplicate"] else "too_few_candidates"
            ] += 1
            continue
        c, s = prompt.n_chars, prompt.rewards - alpha * prompt.n_chars
        chosen, rejected = np.lexsort((c, -s))[0], np.lexsort((-c, s))[0]
        score_chosen, score_rejected = float(s[chosen]), float(s[rejected])
        margin = score_chosen - score_rejected
        if margin == 0 or np.ptp(prompt.rewards) == 0:
            dropped["tied"] += 1
        elif margin < min_margin:
            dropped["below_min_margin"] += 1
        else:
            gaps.append(c[chosen] - c[rejected])
            pair: Record = {"prompt_id": prompt.sample["prompt_id"], "lang": prompt.sample["lang"]}
            pair["prompt"] = [{"role": "user", "content": prompt.sample["prompt"]}]
            pair["chosen"] = [{"role": "assistant", "content": prompt.texts[chosen]}]
            pair["rejected"] = [{"role": "assistant", "content": prompt.texts[rejected]}]
            pair |= {
                "score_chosen": score_chosen,
                "score_rejected": score_rejected,
                "margin": margin,
            }
            pairs.append(pair)
    return pairs, {"dropped": dropped, "length_gap": float(np.mean(gaps)) if gaps else None}


def pair_language(
    samples: Sequence[Record],
    scores: Sequence[Record],
    *,
    find_alpha: Search | None = length_alpha,
    min_margin: float = 0,
    wrong_language: Callable[[str], bool] | None = None,
) -> tuple[list[Record], Record]:
    """The preference pairs of one language, from its sample and score records, and a report on them.

    α (0 without `find_alpha`) is fitted on the prompts that can give a pair, over the responses that can
    be in it. In the report prompts = pairs + Σ dropped; responses are counted apart; `length_gap` is as in
    `make_pairs`, `length_gap_before` that of α = 0. Raises InputError: see `join_scores` and `candidates`.
    """
    prompts = [
        candidates(sample, score, wrong_language) for sample, score in join_scores(samples, scores)
    ]
    usable = [p for p in prompts if len(p.texts) > 1 and np.ptp(p.rewards) > 0]
    alpha, at_edge = 0.0, False
    if find_alpha and usable:
        alpha, _, _, at_edge = find_alpha([p.rewards for p in usable], [p.n_chars for p in usable])
    pairs, report = make_pairs(prompts, alpha=alpha, min_margin=min_margin)
    reasons = ("cut_off", "empty", "wrong_language", "not_translated", "duplicate")
    return pairs, report | {
        "prompts": len(prompts),
        "pairs": len(pairs),
        "responses": sum(len(sample["responses"]) for sample in samples),
        "dropped_responses": {
            reason: sum(p.dropped[reason] for p in prompts) for reason in reasons
        },
        "alpha": alpha,
        "at_edge": at_edge,
        "length_gap_before": make_pairs(prompts, alpha=0.0, min_margin=min_margin)[1]["length_gap"],
    }
