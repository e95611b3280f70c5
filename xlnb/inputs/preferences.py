"""English preferences from pairs in UltraFeedback's forms, which π^0 is made of."""

import math
from collections.abc import Iterable
from typing import Any

from xlnb.common.errors import InputError
from xlnb.inputs.sources import Row, missing_key

Record = dict[str, Any]

COLUMNS = ("prompt", "chosen", "rejected", "prompt_id", "id", "score_chosen", "score_rejected")

REASONS = ("not_single_turn", "prompts_differ", "empty", "tied", "chosen_scored_lower", "duplicate")


def preference_pairs(rows: Iterable[Row], limit: int = 0) -> tuple[list[Record], Record]:
    """The first `limit` (0: all) usable pairs of `rows`, in TRL's conversational form, and a report
    of counts.

    A row holds `chosen` and `rejected` as texts or as messages [{"role", "content"}], and `prompt`
    as text or messages, or nowhere but at the beginning of both (trl-lib's form); where it is there
    too (HuggingFaceH4's), that beginning counts. `score_chosen` and `score_rejected`, and
    `prompt_id` or `id`, may be missing; ids are then row numbers. Dropped: what is not one user
    turn and its answer (`not_single_turn`: more turns, or a system's), answers to two prompts,
    blank texts, ties (equal texts or scores), chosen responses that scored lower, and repeated
    pairs. In the report rows = pairs + Σ dropped. Raises InputError naming the row for anything
    else, and where no pair is left.
    """
    pairs: list[Record] = []
    seen: set[tuple[str, str, str]] = set()
    dropped, read = dict.fromkeys(REASONS, 0), 0
    for where, row in rows:
        if limit and len(pairs) == limit:
            break
        read += 1
        (asked, chosen), (asked_too, rejected) = (
            _conversation(where, row, side) for side in ("chosen", "rejected")
        )
        scores = [_score(where, row, name) for name in ("score_chosen", "score_rejected")]
        texts = (asked[0]["content"] if asked else "", chosen[0]["content"], rejected[0]["content"])
        roles = [[message["role"] for message in part] for part in (asked, chosen, rejected)]
        if roles != [["user"], ["assistant"], ["assistant"]]:
            dropped["not_single_turn"] += 1
        elif asked != asked_too:
            dropped["prompts_differ"] += 1
        elif not all(text.strip() for text in texts):
            dropped["empty"] += 1
        elif texts[1] == texts[2] or (scores[0] is not None and scores[0] == scores[1]):
            dropped["tied"] += 1
        elif None not in scores and scores[0] < scores[1]:
            dropped["chosen_scored_lower"] += 1
        elif texts in seen:
            dropped["duplicate"] += 1
        else:
            seen.add(texts)
            pair: Record = {
                "prompt_id": str(row.get("prompt_id", row.get("id", read))),
                "lang": "en",
            }
            pair |= {"prompt": asked, "chosen": chosen, "rejected": rejected}
            pair |= {"score_chosen": scores[0], "score_rejected": scores[1]}
            pairs.append(pair | {"margin": None if None in scores else scores[0] - scores[1]})
    if not pairs:
        raise InputError(f"preferences.path: no usable pair among {read} rows; dropped: {dropped}")
    return pairs, {"rows": read, "pairs": len(pairs), "dropped": dropped}


def _conversation(where: str, row: Record, side: str) -> tuple[list[Record], list[Record]]:
    """What is asked and the answer of one side, as messages."""
    for name in (side, "prompt"):
        if name not in row and (name == side or not isinstance(row[side], list)):
            raise missing_key(where, name, row, "prompt, chosen and rejected")
    answer = _messages(where, side, row[side], "assistant")
    first = next((i for i, message in enumerate(answer) if message["role"] == "assistant"), 0)
    if first:
        return answer[:first], answer[first:]
    if "prompt" not in row:
        raise InputError(f"{where}: {side} begins with the answer and there is no prompt")
    return _messages(where, "prompt", row["prompt"], "user"), answer


def _messages(where: str, name: str, value: Any, role: str) -> list[Record]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: {name} is neither text nor a list of messages")
    for message in value:
        if not (
            isinstance(message, dict)
            and all(isinstance(message.get(k), str) for k in ("role", "content"))
        ):
            raise InputError(
                f"{where}: {name} holds something else than messages with role and content"
            )
    return [{"role": message["role"], "content": message["content"]} for message in value]


def _score(where: str, row: Record, name: str) -> Any:
    """A score as a float; None where the row has none."""
    value = row.get(name)
    try:
        score = None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {name} is {value!r}, expected a number") from None
    return None if score is None or math.isnan(score) else score
