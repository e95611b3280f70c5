"""A judge behind an OpenAI-compatible chat endpoint."""

import math
import re
from collections.abc import Callable
from typing import Any

import httpx

from xlnb.common.endpoint import ChatEndpoint, shown
from xlnb.judges.model import FIRST, SECOND, ModelJudge, label_verdict
from xlnb.judges.protocol import Verdict
from xlnb.presets import Preset


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
    labels = _labels(choice.get("logprobs"))
    if labels is not None:
        return label_verdict(*labels, answer=hidden(text or ""))
    label = re.match(rf"\W*([{FIRST}{SECOND}])\b", text or "")
    if label is None:
        return Verdict(None, "text", hidden(text or ""))
    return Verdict(float(label[1] == FIRST), "text")


def _labels(logprobs: Any) -> tuple[float, float] | None:
    """P(m) and P(M) as the first token; None where neither is among its likeliest, where one is no
    number, or none are given."""
    mass = {FIRST: 0.0, SECOND: 0.0}
    try:
        for likely in logprobs["content"][0]["top_logprobs"]:
            token = str(likely["token"]).strip()
            if token in mass:
                mass[token] += math.exp(min(float(likely["logprob"]), 0.0))
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    first, second = mass.values()
    return (first, second) if first + second > 0 else None


def make(model: str, preset: Preset) -> ModelJudge:
    endpoint = Endpoint(model, workers=preset.evaluation.judge_workers)
    return ModelJudge(endpoint, preset.evaluation.judge_order)
