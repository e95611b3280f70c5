"""A judge behind an OpenAI-compatible chat endpoint."""

import math
import re
from collections.abc import Callable
from typing import Any

import httpx

from xlnb.common.endpoint import ChatEndpoint, shown
from xlnb.judges.model import FIRST, SECOND, ModelJudge
from xlnb.judges.protocol import Verdict
from xlnb.presets import Evaluation, Models


class Endpoint(ChatEndpoint):
    """A `LabelModel`: reads the first token's log-probabilities where the endpoint gives them, else
    the text."""

    paid = True
    # as long as the endpoint does not refuse them
    _logprobs = True

    def choose(self, prompt: str) -> Verdict:
        return self.ask(lambda: self._call(prompt), lambda body: read_verdict(body, shown))

    def _call(self, prompt: str) -> httpx.Response:
        """One call; an endpoint that refuses log-probabilities (400, 422) is asked without, from
        then on."""
        asked = self._logprobs
        if asked:
            response = self.post(prompt, max_tokens=1, logprobs=True, top_logprobs=5)
            if response.status_code not in (400, 422):
                return response
        response = self.post(prompt, max_tokens=8)
        if asked and response.status_code == 200 and self._logprobs:
            self._logprobs = False
            print(
                f"{self.name}: no log-probabilities from this endpoint; verdicts are read from the "
                "text",
                flush=True,
            )
        return response


def read_verdict(body: dict[str, Any], hidden: Callable[[str], str] = str) -> Verdict:
    """The verdict in a chat completion: by the first token's log-probabilities, or by the text.

    `hidden` is applied to an answer that is kept. Raises KeyError, IndexError, TypeError or
    ValueError where the body is no chat completion.
    """
    choice = body["choices"][0]
    text = choice["message"]["content"]
    if text is not None and not isinstance(text, str):
        raise TypeError("content is not text")
    p_first = _p_first(choice.get("logprobs"))
    if p_first is not None:
        return Verdict(p_first, "logprobs")
    label = re.match(rf"\W*([{FIRST}{SECOND}])\b", text or "")
    if label is None:
        return Verdict(None, "text", hidden(text or ""))
    return Verdict(float(label[1] == FIRST), "text")


def _p_first(logprobs: Any) -> float | None:
    """P(m) / (P(m) + P(M)) of the first token; None where neither is among its likeliest, or none
    are given."""
    try:
        candidates = [
            (str(likely["token"]).strip(), float(likely["logprob"]))
            for likely in logprobs["content"][0]["top_logprobs"]
        ]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    mass = {FIRST: 0.0, SECOND: 0.0}
    for token, logprob in candidates:
        if token in mass and not math.isnan(logprob):
            mass[token] += math.exp(min(logprob, 0.0))
    total = mass[FIRST] + mass[SECOND]
    return mass[FIRST] / total if total else None


def make(model: str, evaluation: Evaluation, models: Models) -> ModelJudge:
    endpoint = Endpoint(model, workers=evaluation.judge_workers)
    return ModelJudge(endpoint, evaluation.judge_order)
