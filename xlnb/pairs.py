"""Preference pairs from scored responses: length control, selection, and a report of what was dropped.

The better of two responses has the higher length-controlled score s' = s - α·c: s is the implicit reward in
β nats, c the characters. Of equal scores the shorter response is chosen, the longer one rejected.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xlnb.errors import InputError

Record = dict[str, Any]
Floats = NDArray[np.float64]
Rows = Sequence[NDArray[Any] | Sequence[float]]  # one array a prompt, of any size


class LengthControl(NamedTuple):
    alpha: float  # reward (β nats) per character
    gap: float  # mean over prompts of len(chosen) - len(rejected) at alpha, characters
    gap_before: float  # the same at α = 0
    at_edge: bool  # the sign of the gap asks for an α outside the range searched


Search = Callable[[Rows, Rows], LengthControl]


def _tables(rewards: Rows, n_chars: Rows) -> tuple[Floats, Floats]:
    """Ragged rows as (P, N) tables. Short rows repeat their last response: a copy changes no argmax."""
    sizes = [len(row) for row in rewards]
    if not sizes or 0 in sizes or sizes != [len(row) for row in n_chars]:
        raise ValueError("length control needs prompts, each with responses, each with a reward and a length")
    ends = np.cumsum(sizes)[:, None]
    index = np.minimum(ends - np.array(sizes)[:, None] + np.arange(max(sizes)), ends - 1)
    s, c = (np.concatenate(list(rows)).astype(float)[index] for rows in (rewards, n_chars))
    if not np.isfinite(s).all():
        raise ValueError("length control needs finite rewards")
    return s, c


def _argmax_lengths(rewards: Floats, lengths: Floats) -> tuple[float, Floats, Floats]:
    """Follow the length of argmax_i(s_i - α c_i) of every prompt, (P, N), as α grows from -∞ to +∞.

    Each response is a line in α of slope -c, and the best follow their upper envelope: from one by the
    nearest crossing to a shorter one, at most N - 1 times. Returns the sum of lengths over prompts at α = -∞,
    the crossings, (K,) in no order, and the change of the sum at each, (K,), negative.
    """
    rows, best = np.arange(len(rewards)), np.lexsort((-rewards, -lengths))[:, 0]
    start, crossings, changes = float(lengths[rows, best].sum()), [], []
    while len(rows):
        s, c = rewards[rows, best, None], lengths[rows, best, None]
        ahead = np.divide(s - rewards, c - lengths, out=np.full_like(rewards, np.inf), where=lengths < c)
        best = ahead.argmin(axis=1)
        going = ahead[rows, best] < np.inf
        crossings.append(ahead[rows, best][going])
        changes.append((lengths[rows, best] - c[:, 0])[going])
        rewards, lengths, best, rows = rewards[going], lengths[going], best[going], rows[: going.sum()]
    return start, np.concatenate(crossings), np.concatenate(changes)


def length_gap_curve(rewards: Rows, n_chars: Rows) -> tuple[Floats, Floats]:
    """The mean over prompts of len(chosen) - len(rejected) as a function of α: exact, a falling staircase.

    As α grows the chosen response gets shorter and the rejected one longer. Returns `(alphas, gaps)`, both (K,), in
    reward per character and characters: the gap is gaps[k] for alphas[k] <= α < alphas[k + 1]; alphas[0] is -inf.
    Raises ValueError without prompts or responses, for unlike sizes, NaN and inf.
    """
    s, c = _tables(rewards, n_chars)
    # argmin(s - α c) = argmax(-s - α (-c)): the rejected response is the chosen one of the negated problem,
    # whose negated length is just what the gap adds.
    chosen, rejected = _argmax_lengths(s, c), _argmax_lengths(-s, -c)
    alphas, step = np.unique(np.concatenate([[-np.inf], chosen[1], rejected[1]]), return_inverse=True)
    changes = np.concatenate([[chosen[0] + rejected[0]], chosen[2], rejected[2]])
    # Summed before dividing: sums of whole characters are exact.
    return alphas, np.cumsum(np.bincount(step, weights=changes)) / len(s)


def length_alpha(rewards: Rows, n_chars: Rows, *, allow_negative: bool = False) -> LengthControl:
    """The α >= 0 at which the mean of len(chosen) - len(rejected) is nearest 0: exact, with no grid.

    All α within a step of the gap's staircase select the same pairs. Of the best step the answer is 0 if the step
    holds it, else the middle, away from ties; of two equally good, the one nearer 0. `at_edge`: the gap is negative at
    α = 0, so short responses are preferred and only α < 0, which `allow_negative` searches too, could correct it.
    """
    left, gaps = length_gap_curve(rewards, n_chars)
    right = np.append(left[1:], np.inf)
    zero = (left <= 0) & (right > 0)
    # Crossings equal on paper can differ by rounding: a step so narrow is not one. Unbounded steps fail this test
    # too and are not needed: no |gap| is greater than that of longest against shortest everywhere.
    wide = right - left > 1e-12 * np.maximum(np.abs(left), np.abs(right))
    keep = zero | (wide & (allow_negative | (left > 0)))
    middles = (np.where(zero, 0.0, left)[keep] + np.where(zero, 0.0, right)[keep]) / 2
    best = np.lexsort((np.abs(middles), np.abs(gaps[keep])))[0]
    alpha, gap, gap_before = float(middles[best]), float(gaps[keep][best]), float(gaps[zero][0])
    return LengthControl(alpha, gap, gap_before, at_edge=not allow_negative and gap_before < 0)


def grid_alpha(rewards: Rows, n_chars: Rows, *, beta: float = 1.0) -> LengthControl:
    """The paper's release: the best α of the grid 0, 0.001β … 0.999β, for comparison with `length_alpha`.

    The release's scores lack β, and its α is the one found here / β.
    """
    alphas, gaps = length_gap_curve(rewards, n_chars)
    grid = beta * np.arange(1000) / 1000
    gaps = gaps[np.searchsorted(alphas, grid, side="right") - 1]
    best = int(np.abs(gaps).argmin())
    at_edge = bool(gaps[0] < 0 or gaps[-1] > 0)  # the gap falls, so the end of that sign is the best
    return LengthControl(float(grid[best]), float(gaps[best]), float(gaps[0]), at_edge)


def alpha_search(name: str, beta: float) -> Search | None:
    """The search for α that a preset names: exact (α >= 0), signed (exact, of either sign), grid (the release's), or
    none: no length control."""
    searches: dict[str, Search | None] = {
        "exact": length_alpha,
        "signed": partial(length_alpha, allow_negative=True),
        "grid": partial(grid_alpha, beta=beta),
        "none": None,
    }
    if name not in searches:
        raise InputError(f"pairing.alpha '{name}': expected one of {', '.join(searches)}")
    return searches[name]


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
            raise InputError(f"prompt {prompt_id} ({lang}) has {counts}, expected one of each; score again")
    return [(sample, score) for (sample,), (score,) in found.values()]


def candidates(sample: Record, score: Record, wrong_language: Callable[[str], bool] | None = None) -> Candidates:
    """The candidates of a prompt: responses that ended by themselves, not blank, each text once (the first).

    `wrong_language` tells of a text whether it is surely not in the asked language; such are no candidates. Nor are
    those without a reward because they could not be translated, which the score record says (`translation_failure`).
    Raises InputError naming prompt_id and response (from 0) for a reward not finite or scores of other responses.
    """
    responses, where = sample["responses"], f"prompt {sample['prompt_id']} ({sample['lang']})"
    for field in ("reward", "n_chars"):
        if len(score[field]) != len(responses):
            raise InputError(f"{where}: {len(responses)} responses, {len(score[field])} {field}; score again")
    index: dict[str, int] = {}
    dropped: Counter[str] = Counter()
    failures = score.get("translation_failure") or [None] * len(responses)
    for i, response in enumerate(responses):
        text, reward, n_chars = response["text"], score["reward"][i], score["n_chars"][i]
        if not failures[i] and (reward is None or not math.isfinite(reward)):
            raise InputError(f"{where}, response {i}: reward {reward} is not finite; score again")
        if n_chars != len(text):
            raise InputError(f"{where}, response {i}: n_chars {n_chars}, text has {len(text)}; score again")
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
    return Candidates(sample, list(index), rewards, np.array([len(text) for text in index], float), dropped)


def make_pairs(prompts: Sequence[Candidates], *, alpha: float, min_margin: float = 0.0) -> tuple[list[Record], Record]:
    """A pair a prompt, argmax and argmin of s' = reward - alpha·n_chars, in TRL's conversational form.

    Scores and margin are of s', in β nats. No pair comes of one text sampled several times, which would be both chosen
    and rejected (`chosen_is_rejected`), of otherwise fewer than two candidates (`too_few_candidates`), of rewards or s'
    all equal (`tied`: only length or order would tell them apart), or of a margin below `min_margin`
    (`below_min_margin`). Returns the pairs and {"dropped": prompts by reason, "length_gap": mean of len(chosen) -
    len(rejected) over the pairs in characters, None without any}.
    """
    pairs: list[Record] = []
    dropped, gaps = dict.fromkeys(("chosen_is_rejected", "too_few_candidates", "tied", "below_min_margin"), 0), []
    for prompt in prompts:
        if len(prompt.texts) < 2:
            dropped["chosen_is_rejected" if prompt.dropped["duplicate"] else "too_few_candidates"] += 1
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
            pair |= {"score_chosen": score_chosen, "score_rejected": score_rejected, "margin": margin}
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
    prompts = [candidates(sample, score, wrong_language) for sample, score in join_scores(samples, scores)]
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
        "dropped_responses": {reason: sum(p.dropped[reason] for p in prompts) for reason in reasons},
        "alpha": alpha,
        "at_edge": at_edge,
        "length_gap_before": make_pairs(prompts, alpha=0.0, min_margin=min_margin)[1]["length_gap"],
    }
