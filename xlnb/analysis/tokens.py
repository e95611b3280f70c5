"""A reward token by token, for one prompt's responses."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from torch import Tensor

from xlnb.analysis.read import Record
from xlnb.models.chat import prompt_ids
from xlnb.rewards import score_responses
from xlnb.runs.layout import Run
from xlnb.stages.loading import policy_and_reference


class Parts(NamedTuple):
    """For each response its tokens' log-probabilities, in nats."""

    policy_logps: list[list[float]]
    ref_logps: list[list[float]]


Logprob = Callable[[str, str], float]
# A response's `tokens` (texts) and `rewards` (β nats), as many.
Line = dict[str, list]


class Reader:
    """π^0 and π_I of a run, loaded once."""

    def __init__(self, run: Run) -> None:
        self.adapter = run.adapter_name(run.models[1])
        self.model, self.ref_model, self.tokenizer = policy_and_reference(run, run.models[1])

    def parts(self, record: Record, prompt: str) -> Parts:
        """What both models give to every token of a record's responses, read under `prompt`."""
        sampled = [response["token_ids"] for response in record["responses"]]
        asked = [prompt_ids(self.tokenizer, prompt)] * len(sampled)
        models = (self.model, self.adapter, None)
        policy, ref = score_responses(
            *models, asked, sampled, batch_tokens=16384, ref_model=self.ref_model
        )
        return Parts(_lists(policy), _lists(ref))

    def functions(self, record: Record) -> tuple[Logprob, Logprob]:
        """log π^0(response | prompt) and log π_I, in nats, of a record's responses, any prompt."""
        texts = [response["text"] for response in record["responses"]]
        read = cache(lambda prompt: self.parts(record, prompt))

        def policy(prompt: str, response: str) -> float:
            return sum(read(prompt).policy_logps[texts.index(response)])

        def reference(prompt: str, response: str) -> float:
            return sum(read(prompt).ref_logps[texts.index(response)])

        return policy, reference

    def coloured(self, record: Record, prompt: str, beta: float) -> list[Line]:
        """A line a different response: its tokens, and what each earned."""
        lines = {}
        both = zip(*self.parts(record, prompt), strict=True)
        for response, (policy, ref) in zip(record["responses"], both, strict=True):
            texts = [self.tokenizer.decode([token]) for token in response["token_ids"]]
            earned = (beta * np.subtract(policy, ref)).tolist()
            lines[response["text"]] = {"tokens": texts, "rewards": earned}
        return list(lines.values())


def _lists(rows: Sequence[Tensor]) -> list[list[float]]:
    return [row.tolist() for row in rows]


def where(lines: Sequence[Mapping[str, list]]) -> str:
    """How much of what tokens earn, its sign left out, lies in the first and the last token."""
    sizes = [np.abs(line["rewards"]) for line in lines]
    whole = sum(row.sum() for row in sizes) or 1.0
    first = sum(row[0] for row in sizes)
    last = sum(row[-1] for row in sizes)
    tokens = sum(map(len, sizes))
    return (
        f"{len(lines)} responses of {tokens} tokens: {100 * first / whole:.0f}% of all that tokens "
        f"earn or lose lies in the first token, {100 * last / whole:.0f}% in the last"
    )
