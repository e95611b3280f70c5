"""Preference pairs as rows of token ids, and rows as batches.

A row is a dictionary, as `datasets` wants it: `prompt_id` and `lang`; `prompt_ids`, `chosen_ids`
and `rejected_ids`, token ids; once computed (`xlnb.training.add_reference`) `ref_chosen_logps` and
`ref_rejected_logps`, in nats. For a loss that reads responses to other prompts (KTO) it holds two
of those as well, with `other_` before `chosen` and `rejected`.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from xlnb.common.errors import InputError, UnfitText
from xlnb.common.records import Pair
from xlnb.models.chat import prompt_ids, response_ids
from xlnb.models.packing import collate

Row = dict[str, Any]

SIDES = ("chosen", "rejected")


def tokenize_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], max_tokens: int
) -> tuple[list[Row], int]:
    """Pairs as rows, and how many were dropped as longer than `max_tokens`, prompt and response.

    What is trained on is what was scored: a response sampled here comes with the ids that were
    sampled, and those are kept as they are. They may differ from the text's own: a model can spell
    a word in other tokens than the tokenizer, and begin with a space that the text has lost. They
    may also end differently: any of a model's end-of-turn tokens ends a response, while the chat
    template always writes the same one. A pair from a file has text alone, which is tokenised and
    ended by the template. Nothing is cut: a response without its end teaches to ramble. Raises
    InputError naming the pair whose text cannot be tokenised as it is.
    """
    rows = []
    for pair in pairs:
        row: Row = {"prompt_id": pair.prompt_id, "lang": pair.lang}
        asked = pair.instruction
        try:
            row["prompt_ids"] = prompt_ids(tokenizer, asked)
            row["chosen_ids"] = pair.chosen_ids or response_ids(tokenizer, asked, pair.chosen)
            row["rejected_ids"] = pair.rejected_ids or response_ids(tokenizer, asked, pair.rejected)
        except UnfitText as error:
            raise InputError(f"pair of id {pair.prompt_id} ({pair.lang}): {error}") from None
        longest = max(len(row["chosen_ids"]), len(row["rejected_ids"]))
        if len(row["prompt_ids"]) + longest <= max_tokens:
            rows.append(row)
    return rows, len(pairs) - len(rows)


def hold_out(
    rows: list[Row], fraction: float, section: str = "training"
) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows kept out, by a hash of the prompt's id: a prompt is out in all
    languages or in none. `section`: the preset's, for the error."""
    kept: list[Row] = []
    out: list[Row] = []
    for row in rows:
        digest = hashlib.sha256(row["prompt_id"].encode()).hexdigest()
        held = int(digest[:8], 16) < fraction * 16**8
        (out if held else kept).append(row)
    if fraction and not (kept and out):
        raise InputError(
            f"{section}.eval_fraction {fraction}: it holds out {len(out)} of {len(rows)} pairs; "
            "change it"
        )
    return kept, out


def add_mismatched(rows: list[Row], max_tokens: int) -> None:
    """Give each row responses of another prompt, the next one's that fit, from which KTO estimates
    its KL term."""
    for start, row in enumerate(rows):
        space = max_tokens - len(row["prompt_ids"])
        other = _next_that_fits(row, [*rows[start + 1 :], *rows[:start]], space)
        if other is None:
            others = len({other["prompt_id"] for other in rows}) - 1
            raise InputError(
                f"id {row['prompt_id']}: none of {others} other prompts here has a response that "
                "fits beside it, which KTO needs (held-out prompts are by themselves)"
            )
        for side in SIDES:
            row[f"other_{side}_ids"] = other[f"{side}_ids"]


def _next_that_fits(row: Row, rows: list[Row], space: int) -> Row | None:
    for other in rows:
        longest = max(len(other[f"{side}_ids"]) for side in SIDES)
        if other["prompt_id"] != row["prompt_id"] and longest <= space:
            return other
    return None


def sides_of(rows: list[Row]) -> list[str]:
    """The responses that rows hold: chosen and rejected, and those of another prompt if they do."""
    sides = [*SIDES, *(f"other_{side}" for side in SIDES)]
    return [side for side in sides if f"{side}_ids" in rows[0]]


def collate_pairs(rows: list[Row]) -> dict[str, Any]:
    """Rows as one batch for `response_logprobs`: the chosen responses, then the rejected ones, with
    their `ref_logps`, (2B,). What a loss reads of other prompts follows in the same form, its names
    with `other_` in front. `ids` says which pairs they are."""
    batch: dict[str, Any] = {"ids": [f"{row['prompt_id']} ({row['lang']})" for row in rows]}
    prompts = [row["prompt_ids"] for row in rows]
    for prefix in ("", "other_"):
        if f"{prefix}chosen_ids" not in rows[0]:
            continue
        responses, ref_logps = [], []
        for side in SIDES:
            responses += [row[f"{prefix}{side}_ids"] for row in rows]
            ref_logps += [row[f"ref_{prefix}{side}_logps"] for row in rows]
        for name, tensor in collate(prompts * 2, responses).items():
            batch[f"{prefix}{name}"] = tensor
        batch[f"{prefix}ref_logps"] = torch.tensor(ref_logps)
    return batch
