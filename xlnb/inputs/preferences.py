"""English preferences from pairs in UltraFeedback's forms, which π^0 is made of.

A row holds `chosen` and `rejected` as texts or as messages [{"role", "content"}], and `prompt` as
text or messages, or nowhere but at the beginning of both (trl-lib's form); where it is there too
(HuggingFaceH4's), that beginning counts. `score_chosen` and `score_rejected`, and `prompt_id` or
`id`, may be missing or null; ids are then row numbers.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from xlnb.common.dropped import Dropped
from xlnb.common.errors import InputError, UnfitText
from xlnb.common.given import comparable, given_id, given_number, given_text, is_blank
from xlnb.common.records import Pair
from xlnb.common.thinking import thinks
from xlnb.inputs.reader import Row, missing_key
from xlnb.inputs.sifting import sift

Message = dict[str, str]

COLUMNS = ("prompt", "chosen", "rejected", "prompt_id", "id", "score_chosen", "score_rejected")

# in the report's order
REASONS = (
    Dropped.NOT_SINGLE_TURN,
    Dropped.PROMPTS_DIFFER,
    Dropped.EMPTY,
    Dropped.THINKING,
    Dropped.TIED,
    Dropped.CHOSEN_SCORED_LOWER,
    Dropped.DUPLICATE,
    Dropped.NOT_READ_BACK,
)

# The token ids of a response after its instruction. Raises UnfitText where they are not its text.
Read = Callable[[str, str], Sequence[int]]


class Side(NamedTuple):
    """One side of a preference: what is asked, and the answer."""

    asked: list[Message]
    answer: list[Message]


def preference_pairs(
    rows: Iterable[Row], limit: int = 0, read: Read | None = None
) -> tuple[list[Pair], dict[str, Any]]:
    """The first `limit` (0: all) usable pairs of `rows`, and a report of counts, in which rows =
    pairs + Σ dropped.

    What is dropped is of `REASONS`. With `read`, a model's: a response that it cannot read, or two
    that are the same to it, make no pair. Raises InputError naming the row for anything else, and
    where no pair is left.
    """
    seen: set[tuple[str, str, str]] = set()

    def use(where: str, row: dict[str, Any], number: int) -> Pair | Dropped:
        pair, reason = row_pair(where, row, number, seen, read)
        return reason or pair

    pairs, number, dropped = sift(rows, limit, REASONS, use)
    if not pairs:
        raise InputError(
            f"preferences.path: no usable pair among {number} rows; dropped: {dropped}"
        )
    return pairs, {"rows": number, "pairs": len(pairs), "dropped": dropped}


def row_pair(
    where: str,
    row: dict[str, Any],
    number: int,
    seen: set[tuple[str, str, str]],
    read: Read | None,
) -> tuple[Pair, Dropped | None]:
    """The pair of a row, and why it is none to use (None: it is). `seen`: the texts of those that
    are used, to which this one's are added."""
    chosen = _side(where, row, "chosen")
    rejected = _side(where, row, "rejected")
    pair = _pair(where, row, number, chosen, rejected)
    texts = (comparable(pair.instruction), comparable(pair.chosen), comparable(pair.rejected))
    reason = _sides_fault(chosen, rejected) or _pair_fault(pair)
    if not reason and texts in seen:
        reason = Dropped.DUPLICATE
    if not reason and read:
        reason = _reading_fault(pair, read)
    if not reason:
        seen.add(texts)
    return pair, reason


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
    if any(is_blank(text) for text in (pair.instruction, pair.chosen, pair.rejected)):
        return Dropped.EMPTY
    if thinks(pair.chosen) or thinks(pair.rejected):
        return Dropped.THINKING
    if comparable(pair.chosen) == comparable(pair.rejected):
        return Dropped.TIED
    if pair.score_chosen is None or pair.score_rejected is None:
        return None
    if pair.score_chosen == pair.score_rejected:
        return Dropped.TIED
    if pair.score_chosen < pair.score_rejected:
        return Dropped.CHOSEN_SCORED_LOWER
    return None


def _reading_fault(pair: Pair, read: Read) -> Dropped | None:
    """Why a model does not read two responses in the pair's."""
    try:
        chosen, rejected = (read(pair.instruction, text) for text in (pair.chosen, pair.rejected))
    except UnfitText:
        return Dropped.NOT_READ_BACK
    return Dropped.TIED if chosen == rejected else None


def _pair(where: str, row: dict[str, Any], number: int, chosen: Side, rejected: Side) -> Pair:
    score_chosen = _score(where, row, "score_chosen")
    score_rejected = _score(where, row, "score_rejected")
    margin = None
    if score_chosen is not None and score_rejected is not None:
        margin = score_chosen - score_rejected
    prompt_id = given_id(where, "prompt_id", row.get("prompt_id"))
    if prompt_id is None:
        prompt_id = given_id(where, "id", row.get("id"))
    return Pair(
        prompt_id=prompt_id or str(number),
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
    messages = messages_of(where, side, row[side], "assistant")
    roles = [message["role"] for message in messages]
    first = roles.index("assistant") if "assistant" in roles else 0
    if first:
        return Side(messages[:first], messages[first:])
    if "prompt" not in row:
        raise InputError(f"{where}: {side} begins with the answer and there is no prompt")
    return Side(messages_of(where, "prompt", row["prompt"], "user"), messages)


def messages_of(where: str, name: str, value: Any, role: str) -> list[Message]:
    """Text as one message of that role; messages as they are, without other keys."""
    if isinstance(value, str):
        return [{"role": role, "content": given_text(where, name, value)}]
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
        messages.append({"role": speaker, "content": given_text(where, name, text)})
    return messages


def _score(where: str, row: dict[str, Any], name: str) -> float | None:
    """A score; None where the row has none, or NaN for one."""
    value = row.get(name)
    if value is None or value == "" or value != value:
        return None
    return given_number(where, name, value)
