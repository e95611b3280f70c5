""""""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from xlnb.common.errors import InputError
from xlnb.common.records import Pair
from xlnb.logprobs import collate
from xlnb.models.chat import prompt_ids, response_ids

SIDES = ("chosen", "rejected")


def tokenize_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], max_tokens: int
) -> tuple[list[dict[str, Any]], int]:
    """Preference pairs as token ids, and how many were dropped as longer than `max_tokens`.

    What is trained on is what was sampled and scored: a pair's own ids, where it has them, however
    the tokenizer would cut its text and whichever of the model's end-of-turn tokens it ends with.
    Other pairs, such as those from files, are tokenised by the chat template. Nothing is truncated:
    a response without its end teaches to ramble.
    """
    rows = []
    for pair in pairs:
        asked = pair.instruction
        row = {
            "prompt_id": pair.prompt_id,
            "lang": pair.lang,
            "prompt_ids": prompt_ids(tokenizer, asked),
            "chosen_ids": pair.chosen_ids or response_ids(tokenizer, asked, pair.chosen),
            "rejected_ids": pair.rejected_ids or response_ids(tokenizer, asked, pair.rejected),
        }
        longest = max(len(row["chosen_ids"]), len(row["rejected_ids"]))
        if len(row["prompt_ids"]) + longest <= max_tokens:
            rows.append(row)
    return rows, len(pairs) - len(rows)


def hold_out(
    rows: list[dict[str, Any]], fraction: float, section: str = "training"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows to train on and rows kept out, by a hash of the prompt's id: a prompt is out in all languages or in none.
    `section`: the preset's."""

    def held(row: dict[str, Any]) -> bool:
        return int(hashlib.sha256(row["prompt_id"].encode()).hexdigest()[:8], 16) < fraction * 16**8

    kept, out = [row for row in rows if not held(row)], [row for row in rows if held(row)]
    if fraction and not (kept and out):
        raise InputError(
            f"{section}.eval_fraction {fraction}: it holds out {len(out)} of {len(rows)} pairs; change it"
        )
    return kept, out


def add_mismatched(rows: list[dict[str, Any]], max_tokens: int) -> None:
    """Give each row responses of another prompt, the next one's that fit, from which KTO estimates its KL term."""
    for start, row in enumerate(rows):
        space = max_tokens - len(row["prompt_ids"])
        for other in [*rows[start + 1 :], *rows[:start]]:
            if other["prompt_id"] != row["prompt_id"] and all(
                len(other[f"{side}_ids"]) <= space for side in SIDES
            ):
                row |= {f"other_{side}_ids": other[f"{side}_ids"] for side in SIDES}
                break
        else:
            others = len({other["prompt_id"] for other in rows}) - 1
            raise InputError(
                f"id {row['prompt_id']}: none of {others} other prompts here has a response that fits beside it, which "
                "KTO needs (held-out prompts are by themselves)"
            )


class PairCollator:
    """Rows of token ids as one batch for `response_logprobs`: all chosen responses, then all rejected ones. What KTO's
    KL term needs follows in the same form, its names with `other_` in front."""

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        prompts, sides = [row["prompt_ids"] for row in rows] * 2, sides_of(rows)
        batch: dict[str, Any] = {"ids": [f"{row['prompt_id']} ({row['lang']})" for row in rows]}
        for prefix in ("", "other_")[: len(sides) // 2]:
            laid_out = collate(
                prompts, [row[f"{prefix}{side}_ids"] for side in SIDES for row in rows]
            )
            batch |= {prefix + name: tensor for name, tensor in laid_out.items()}
        return batch | {
            f"ref_{side}_logps": torch.tensor([row[f"ref_{side}_logps"] for row in rows])
            for side in sides
        }


def sides_of(rows: list[dict[str, Any]]) -> list[str]:
    return [
        f"{prefix}{side}"
        for prefix in ("", "other_")
        for side in SIDES
        if f"{prefix}{side}_ids" in rows[0]
    ]
