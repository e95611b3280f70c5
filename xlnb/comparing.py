"""A generative reward model (GRAM, arXiv 2506.14175): π_I with an adapter of its own says which of
two responses is better, by the label that it would answer with.

    p(y ≻ y' | x) = ½ [σ(z_A − z_B)(x, A: y, B: y')  +  σ(z_B − z_A)(x, A: y', B: y)]
    score(y)      = mean over its opponents y' of p(y ≻ y' | x)

z: logits of the two labels, each one token. Trained in two parts, of which the first may be left
out (`comparer.unlabelled_steps`):

    unlabelled      −log p(y_a, y_b | x), a token
    English pairs   −(1 − s) log σ(Δ) − s log σ(−Δ),   Δ = z_better − z_worse, in both orders

The second is the cross-entropy of the two labels alone, smoothed by ε = 2s: `losses.smoothed` DPO
with β = 1 and a reference that prefers neither label. x is the English instruction, as R_c has it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from xlnb.common.errors import InputError, UnfitText
from xlnb.common.records import Pair
from xlnb.common.text import wording
from xlnb.models.chat import prompt_ids, response_ids

LABELS = ("A", "B")


def both(first: str, second: str) -> str:
    """Two responses under their labels."""
    shown = zip(LABELS, (first, second), strict=True)
    return "\n\n".join(f"{label}: {text}" for label, text in shown)


def question(instruction: str, first: str, second: str) -> str:
    """What the comparer is asked."""
    return f"{instruction}\n\n{both(first, second)}\n\nWhich is better, {' or '.join(LABELS)}?"


def question_fields() -> dict[str, str]:
    """What a comparer depends on of the kit's own words."""
    return wording("comparer_question", question("", "", ""), "63fdcd7e9d8a8df0")


class Labels(NamedTuple):
    """How an answer begins in token ids: alike (with nothing, or a space), then with a label."""

    before: list[int]
    first: int
    second: int


def label_ids(tokenizer: PreTrainedTokenizerBase) -> Labels:
    """Raises InputError unless each label is one token of its own."""
    asked = question("a", "b", "c")
    # A response's ids end in the end of turn.
    first, second = (response_ids(tokenizer, asked, label)[:-1] for label in LABELS)
    if first[:-1] != second[:-1] or first == second:
        raise InputError(
            f"score comparer: this tokenizer writes its labels {' and '.join(LABELS)} as tokens "
            f"{first} and {second}, and each must be one of its own; leave the score out"
        )
    return Labels(first[:-1], first[-1], second[-1])


def comparison_rows(
    tokenizer: PreTrainedTokenizerBase, pairs: Iterable[Pair], max_tokens: int
) -> tuple[list[dict[str, Any]], int]:
    """Rows of `engine.rows` of English pairs, two a pair: the better response shown first and
    second, the right label chosen before the other one, both as likely under the reference. And how
    many of those are left out that are longer than `max_tokens`."""
    labels = label_ids(tokenizer)
    rows = []
    dropped = 0
    for pair in pairs:
        shown = (pair.chosen, pair.rejected)
        tokens = (labels.first, labels.second)
        for responses, (right, wrong) in ((shown, tokens), (shown[::-1], tokens[::-1])):
            ids = question_ids(tokenizer, labels, pair.prompt_id, pair.instruction, *responses)
            if len(ids) >= max_tokens:
                dropped += 1
                continue
            rows.append(
                {
                    "prompt_id": pair.prompt_id,
                    "lang": pair.lang,
                    "prompt_ids": ids,
                    "chosen_ids": [right],
                    "rejected_ids": [wrong],
                    "ref_chosen_logps": 0.0,
                    "ref_rejected_logps": 0.0,
                }
            )
    return rows, dropped


def question_ids(
    tokenizer: PreTrainedTokenizerBase,
    labels: Labels,
    prompt_id: str,
    instruction: str,
    first: str,
    second: str,
) -> list[int]:
    """Token ids of `question` up to the label. Raises UnfitText naming the prompt where they do not
    hold it."""
    try:
        return [*prompt_ids(tokenizer, question(instruction, first, second)), *labels.before]
    except UnfitText as error:
        raise UnfitText(f"id {prompt_id}: two responses cannot be compared: {error}") from None


def ring(n: int, opponents: int) -> list[tuple[int, int]]:
    """Which of n responses are compared, each two once: all (0), or each with the nearest so many,
    half of them before it and half behind it, the last one before the first."""
    half = opponents // 2 or n
    found = []
    for i in range(n):
        for j in range(i + 1, n):
            if min(j - i, n - (j - i)) <= half:
                found.append((i, j))
    return found


def win_probabilities(p_first: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Each response's mean probability of being the better one, over both orders and all that it
    was compared with; None where it was with none. `p_first`: see `records.Comparisons`."""
    wins: list[float | None] = []
    for i, row in enumerate(p_first):
        found = []
        for j, shown_first in enumerate(row):
            shown_second = p_first[j][i]
            if shown_first is not None and shown_second is not None:
                found.append((shown_first + 1 - shown_second) / 2)
        wins.append(sum(found) / len(found) if found else None)
    return wins
