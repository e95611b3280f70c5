"""English preferences from pairs in UltraFeedback's forms, which π^0 is made of.

A row holds `chosen` and `rejected` as texts or as messages [{"role", "content"}], and `prompt` as
text or messages, or nowhere but at the beginning of both (trl-lib's form); where it is there too
(HuggingFaceH4's), that beginning counts. `score_chosen` and `score_rejected`, and `prompt_id` or
`id`, may be missing; ids are then row numbers.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from xlnb.common.dropped import Dropped
from xlnb.common.errors import InputError
from xlnb.common.records import Pair
from xlnb.inputs.reader import Row, missing_key

Message = dict[str, str]

COLUMNS = ("prompt", "chosen", "rejected", "prompt_id", "id", "score_chosen", "score_rejected")

# in the report's order
REASONS = (
    Dropped.NOT_SINGLE_TURN,
    Dropped.PROMPTS_DIFFER,
    Dropped.EMPTY,
    Dropped.TIED,
    Dropped.CHOSEN_SCORED_LOWER,
    Dropped.DUPLICATE,
)


class Side(NamedTuple):
    """One side of a preference: what is asked, and the answer."""

    asked: list[Message]
    answer: list[Message]


def preference_pairs(rows: Iterable[Row], limit: int = 0) -> tuple[list[Pair], dict[str, Any]]:
    """The first `limit` (0: all) usable pairs of `rows`, and a report of counts, in which rows =
    pairs + Σ dropped.

    What is dropped is of `REASONS`. Raises InputError naming the row for anything else, and where
    no pair is left.
    """
    pairs: list[Pair] = []
    seen: set[tuple[str, str, str]] = set()
    dropped = dict.fromkeys(REASONS, 0)
    read = 0
    for where, row in rows:
        if limit and len(pairs) == limit:
            break
        read += 1
        chosen = _side(where, row, "chosen")
        rejected = _side(where, row, "rejected")
        pair = _pair(where, row, read, chosen, rejected)
        texts = (pair.instruction, pair.chosen, pair.rejected)
        reason = _sides_fault(chosen, rejected) or _pair_fault(pair)
        if not reason and texts in seen:
            reason = Dropped.DUPLICATE
        if reason:
            dropped[reason] += 1
        else:
            seen.add(texts)
            pairs.append(pair)
    if not pairs:
        raise InputError(f"preferences.path: no usable pair among {read} rows; dropped: {dropped}")
    return pairs, {"rows": read, "pairs": len(pairs), "dropped": dropped}


def _sides_fault(chosen: Side, rejected: Side) -> Dropped | None:
    """Why two sides are not two answers to one question."""
    messages = [*chosen.asked, *chosen.answer, *rejected.answer]
    if [message["role"] for message in messages] != ["user", "assistant", "assistant"]:
        return Dropped.NOT_SINGLE_TURN
    if chosen.asked != rejected.asked:
        return Dropped.PROMPTS_DIFFER
    return None


def _pair_fault(pair: Pair) -> Dropped | None:
    """Why the one response is not known to be better than the other."""
    if not all(text.strip() for text in (pair.instruction, pair.chosen, pair.rejected)):
        return Dropped.EMPTY
    if pair.chosen == pair.rejected:
        return Dropped.TIED
    if pair.score_chosen is None or pair.score_rejected is None:
        return None
    if pair.score_chosen == pair.score_rejected:
        return Dropped.TIED
    if pair.score_chosen < pair.score_rejected:
        return Dropped.CHOSEN_SCORED_LOWER
    return None


def _pair(where: str, row: dict[str, Any], number: int, chosen: Side, rejected: Side) -> Pair:
    score_chosen = _score(where, row, "score_chosen")
    score_rejected = _score(where, row, "score_rejected")
    margin = None
    if score_chosen is not None and score_rejected is not None:
        margin = score_chosen - score_rejected
    return Pair(
        prompt_id=str(row.get("prompt_id", row.get("id", number))),
        lang="en",
        instruction=chosen.asked[0]["content"],
        chosen=chosen.answer[0]["content"],
        rejected=rejected.answer[0]["content"],
        score_chosen=score_chosen,
        score_rejected=score_rejected,
        margin=margin,
    )


def _side(where: str, row: dict[str, Any], side: str) -> Side:
    if side not in row:
        raise missing_key(where, side, row, "prompt, chosen and rejected")
    if "prompt" not in row and not isinstance(row[side], list):
        raise missing_key(where, "prompt", row, "prompt, chosen and rejected")
    messages = _messages(where, side, row[side], "assistant")
    roles = [message["role"] for message in messages]
    first = roles.index("assistant") if "assistant" in roles else 0
    if first:
        return Side(messages[:first], messages[first:])
    if "prompt" not in row:
        raise InputError(f"{where}: {side} begins with the answer and there is no prompt")
    return Side(_messages(where, "prompt", row["prompt"], "user"), messages)


def _messages(where: str, name: str, value: Any, role: str) -> list[Message]:
    """Text as one message of that role; messages as they are, without other keys."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: {name} is neither text nor a list of messages")
    messages = []
    for message in value:
        known = message if isinstance(message, dict) else {}
        speaker = known.get("role")
        text = known.get("content")
        if not (isinstance(speaker, str) and isinstance(text, str)):
            raise InputError(
                f"{where}: {name} holds something else than messages with role and content"
            )
        messages.append({"role": speaker, "content": text})
    return messages


def _score(where: str, row: dict[str, Any], name: str) -> float | None:
    """A score; None where the row has none."""
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {name} is {value!r}, expected a number") from None
    return None if math.isnan(score) else score
