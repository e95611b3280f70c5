"""Demonstrations, which π_I is made of: what was asked and a good answer, in the usual forms.

A row holds `messages` [{"role", "content"}], a user's turn and an assistant's; or `prompt` and
`completion` (TRL's), each a text or messages; or `instruction`, `output` and perhaps `input`, which
follows the instruction (Alpaca's).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from xlnb.common.dropped import Dropped
from xlnb.common.errors import InputError, UnfitText
from xlnb.common.given import comparable, given_text, is_blank
from xlnb.common.thinking import thinks
from xlnb.inputs.preferences import Message, messages_of
from xlnb.inputs.reader import Row, missing_key
from xlnb.inputs.sifting import sift

COLUMNS = ("messages", "prompt", "completion", "instruction", "input", "output")

# in the report's order
REASONS = (
    Dropped.NOT_SINGLE_TURN,
    Dropped.EMPTY,
    Dropped.THINKING,
    Dropped.DUPLICATE,
    Dropped.NOT_READ_BACK,
)

# The token ids of a prompt, and of a response after it. Raises UnfitText where they are not the
# texts.
Read = Callable[[str, str], tuple[Sequence[int], Sequence[int]]]


class Demonstration(NamedTuple):
    """In token ids."""

    prompt: Sequence[int]
    response: Sequence[int]


def demonstrations(
    rows: Iterable[Row], limit: int, read: Read
) -> tuple[list[Demonstration], dict[str, Any]]:
    """The first `limit` (0: all) usable demonstrations of `rows`, and a report of counts, in which
    rows = demonstrations + Σ dropped.

    What is dropped is of `REASONS`. Raises InputError naming the row for anything else, and where
    none is left.
    """
    seen: set[tuple[str, str]] = set()

    def use(where: str, row: dict[str, Any], number: int) -> Demonstration | Dropped:
        turns = _turns(where, row)
        reason = _fault(turns, seen)
        if reason:
            return reason
        asked, answer = (turn["content"] for turn in turns)
        seen.add((comparable(asked), comparable(answer)))
        try:
            return Demonstration(*read(asked, answer))
        except UnfitText:
            return Dropped.NOT_READ_BACK

    found, number, dropped = sift(rows, limit, REASONS, use)
    if not found:
        raise InputError(f"sft.path: no usable one among {number} rows; dropped: {dropped}")
    return found, {"rows": number, "demonstrations": len(found), "dropped": dropped}


def _turns(where: str, row: dict[str, Any]) -> list[Message]:
    if row.get("messages") is not None:
        return messages_of(where, "messages", row["messages"], "user")
    if "instruction" in row and "output" in row:
        asked = given_text(where, "instruction", row["instruction"])
        more = row.get("input")
        if more is not None and not is_blank(more):
            asked = f"{asked}\n\n{given_text(where, 'input', more)}"
        answer = given_text(where, "output", row["output"])
        return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    for name in ("prompt", "completion"):
        if name not in row:
            expected = "messages; prompt and completion; or instruction and output"
            raise missing_key(where, name, row, expected)
    prompt = messages_of(where, "prompt", row["prompt"], "user")
    return [*prompt, *messages_of(where, "completion", row["completion"], "assistant")]


def _fault(turns: Sequence[Message], seen: set[tuple[str, str]]) -> Dropped | None:
    """Why turns are no demonstration that is not there yet."""
    if [turn["role"] for turn in turns] != ["user", "assistant"]:
        return Dropped.NOT_SINGLE_TURN
    if any(is_blank(turn["content"]) for turn in turns):
        return Dropped.EMPTY
    if thinks(turns[-1]["content"]):
        return Dropped.THINKING
    asked, answer = (comparable(turn["content"]) for turn in turns)
    return Dropped.DUPLICATE if (asked, answer) in seen else None
